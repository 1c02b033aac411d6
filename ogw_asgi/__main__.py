"""python -m ogw_asgi check: what is in force, where it comes from, what is wrong with it, and who answers."""

from __future__ import annotations

import sys

from ._check.command import run

if __name__ == "__main__":
    sys.exit(run())
