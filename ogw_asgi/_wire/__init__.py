"""PURE: bytes and headers <-> values. Standard library only; no clock, no I/O, and no decision about what to do next."""
