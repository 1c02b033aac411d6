"""Measuring scripts, run by hand: no part of the wheel, and no tests."""
