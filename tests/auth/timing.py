"""python -m tests.auth.timing: does the time of a refusal tell how near a wrong token came?

Two kinds of wrong tokens are tried in random turns, 10^5 of each, and Welch's t is printed: above 4.5 the kinds can be
told apart. The last line is the proof that this could be seen: a comparison that stops at the first difference. By
hand, on a quiet machine; what CI can hold is the work that is done (test_bearer.py), not the time that it takes.
"""

from __future__ import annotations

import gc
import math
import random
import secrets
import string
import sys
import time
from collections.abc import Callable, Sequence
from statistics import fmean, variance

from starlette.requests import HTTPConnection

from ogw_asgi import bearer_tokens

SAMPLES = 100_000
THRESHOLD = 4.5
BATCH = 500
KEPT = 0.99
"""Of the samples, the fastest: the others were interrupted, and say nothing of the code."""

LETTERS = string.ascii_letters + string.digits
Check = Callable[[HTTPConnection], object]
Kind = Callable[[], str]


def welch_t(first: Sequence[float], second: Sequence[float]) -> float:
    spread = variance(first) / len(first) + variance(second) / len(second)
    return abs(fmean(first) - fmean(second)) / math.sqrt(spread)


def connection(token: str) -> HTTPConnection:
    headers = [(b"host", b"gateway.test"), (b"authorization", f"Bearer {token}".encode())]
    return HTTPConnection({"type": "http", "method": "POST", "path": "/", "headers": headers})


def compare(check: Check, kinds: tuple[Kind, Kind], samples: int, seed: int = 1) -> float:
    """The t of two kinds of tokens, so many of each."""
    shuffled = random.Random(seed)
    took_ns: tuple[list[int], list[int]] = ([], [])
    for _ in range(samples // BATCH):
        turns = [0, 1] * BATCH
        shuffled.shuffle(turns)
        # All made before, and then all prepared alike: how a token was made must not be what is measured.
        tokens = [kinds[which]() for which in turns]
        asking = [connection(token) for token in tokens]
        for which, each in zip(turns, asking, strict=True):
            began_ns = time.perf_counter_ns()
            check(each)
            took_ns[which].append(time.perf_counter_ns() - began_ns)
    both = sorted(took_ns[0] + took_ns[1])
    longest = both[int(len(both) * KEPT)]
    first, second = ([each for each in took if each <= longest] for took in took_ns)
    return welch_t(first, second)


def kinds_of(valid: str) -> dict[str, tuple[Kind, Kind]]:
    """What an attacker could try to tell apart who looks for `valid`."""

    def other(letter: str) -> str:
        return secrets.choice(LETTERS.replace(letter, ""))

    def wrong_first() -> str:
        return other(valid[0]) + valid[1:]

    def wrong_last() -> str:
        return valid[:-1] + other(valid[-1])

    def known_prefix() -> str:
        return valid[:20] + "".join(secrets.choice(LETTERS) for _ in valid[20:])

    def unknown() -> str:
        return "".join(secrets.choice(LETTERS) for _ in valid)

    return {
        "wrong in the first byte, in the last": (wrong_first, wrong_last),
        "a known beginning, an unknown one": (known_prefix, unknown),
        "one byte wrong, all of them": (wrong_last, unknown),
    }


def stops_at_the_first_difference(valid: str) -> Check:
    def check(asking: HTTPConnection) -> bool:
        token = asking.headers["authorization"].removeprefix("Bearer ")
        return all(one == another for one, another in zip(token, valid, strict=True))

    return check


def main() -> int:
    tokens = ["".join(secrets.choice(LETTERS) for _ in range(43)) for _ in range(100)]
    check, valid = bearer_tokens(tokens), tokens[50]
    kinds = kinds_of(valid)
    gc.disable()  # its pauses are nobody's token
    worst = 0.0
    for name, pair in kinds.items():
        t = compare(check, pair, SAMPLES)
        worst = max(worst, t)
        sys.stdout.write(f"{name:40} t = {t:6.2f}\n")
    t = compare(stops_at_the_first_difference(valid), kinds["wrong in the first byte, in the last"], SAMPLES // 10)
    sys.stdout.write(f"{'one that stops at the first difference':40} t = {t:6.2f}\n")
    return 0 if worst < THRESHOLD < t else 1


if __name__ == "__main__":
    sys.exit(main())
