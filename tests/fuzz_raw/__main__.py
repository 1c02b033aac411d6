"""`python -m tests.fuzz_raw`: the table and the fuzz by hand.

--record          runs every payload at every server and writes outcomes.py anew: what is new in it is to be looked at
--table           writes the table of docs/servers.md from it
--fuzz N [SEED]   N mutated requests at each server; `--server NAME` for one alone
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import anyio

from .document import OUTCOMES_FILE, rendered_outcomes, write_table
from .outcomes import OUTCOMES
from .payloads import PAYLOADS
from .run import TAKEN_BACK, stand
from .servers import SERVERS


async def record() -> None:
    found: dict[str, dict[tuple[str, str], str]] = {server: {} for server in SERVERS}

    async def learn(server: str, into: dict[tuple[str, str], str]) -> None:
        async with stand(server) as at:
            for payload in PAYLOADS:
                try:
                    outcome = await at.try_payload(payload, "/native")
                except (AssertionError, TimeoutError) as error:
                    outcome = f"WRONG: {error!r}"
                    sys.stdout.write(f"{server}: {payload.group}: {payload.name}: {outcome}\n")
                known = OUTCOMES.get(payload.group, {}).get(payload.name, ("",) * len(SERVERS))
                kept = f"{outcome}{TAKEN_BACK}" in known  # whether one reaches the provider is a race
                into[payload.group, payload.name] = f"{outcome}{TAKEN_BACK}" if kept else outcome
            await at.assert_unharmed()

    async with anyio.create_task_group() as group:
        for server, into in found.items():
            group.start_soon(learn, server, into)
    OUTCOMES_FILE.write_text(rendered_outcomes(found), encoding="utf-8")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--record"]:
            anyio.run(record)
        case ["--table"]:
            write_table()
        case ["--fuzz", count, *rest]:
            from .fuzz import report

            options: Mapping[str, str] = dict(zip(rest[::2], rest[1::2], strict=True))
            return anyio.run(report, int(count), int(options.get("--seed", "1")), options.get("--server"))
        case _:
            sys.stdout.write(f"{__doc__}\n")
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
