"""PURE: bytes and headers <-> values. Standard library only; no clock, no I/O, and no decision what to do next."""
