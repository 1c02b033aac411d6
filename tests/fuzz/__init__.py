"""Bytes that nobody meant well, for everything that reads bytes: `python -m tests.fuzz --help`."""
