"""python -m ogw_asgi.testing: the crash-test provider on a port, for apps that are not Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import anyio

from ._faults import CRASH_TEST_MODELS
from .crash import CrashTestProvider


def table() -> str:
    """The models and what each of them does, a line each, with a heading."""
    rows = [("model", "streamed", "plain"), *((m.name, m.streamed, m.plain) for m in CRASH_TEST_MODELS.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ogw_asgi.testing",
        description="An OpenAI-compatible provider that breaks as the model's name says.",
        epilog=table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8999, help="0: any that is free")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every time; 0.05 makes 20 s one")
    return parser.parse_args(argv)


async def _serve(provider: CrashTestProvider) -> None:
    async with provider:
        sys.stdout.write(f"{table()}\n\nbase_url: {provider.base_url}\n")
        sys.stdout.write(f"log: GET {provider.url}/calls; DELETE forgets it, and makes every call a first one\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted."""
    arguments = _arguments(argv)
    try:
        anyio.run(_serve, CrashTestProvider(scale=arguments.scale, host=arguments.host, port=arguments.port))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise SystemExit(f"{arguments.host}:{arguments.port}: {error.strerror}") from None
    except (ValueError, OverflowError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
