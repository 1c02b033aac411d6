"""Looks at the examples with a browser, by hand: screenshots into a folder, and axe's opinion of each.

python -m tests.status.look FOLDER [EXAMPLE ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Route

from ogw_asgi._status.page import render_page
from tests.status.browser import Seen, started
from tests.status.examples import EXAMPLES

URL = "http://localhost/v1/_status"
POLICY = (
    "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": (390, 844)},
    "narrow": {"viewport": (320, 640), "color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
    "plain": {"java_script_enabled": False},
}


async def serve(seen: Seen, page: bytes, nonce: str) -> None:
    """The page at URL, under its policy; its stream stays silent."""

    async def answer(route: Route) -> None:
        if route.request.url == URL:
            headers = {"content-security-policy": POLICY.format(nonce), "content-type": "text/html; charset=utf-8"}
            await route.fulfill(body=page, headers=headers)
        else:
            await route.fulfill(body=b": nothing\n\n", headers={"content-type": "text/event-stream"})

    await seen.page.route("**/*", answer)
    await seen.page.goto(URL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.status.look")
    parser.add_argument("folder", type=Path)
    parser.add_argument("examples", nargs="*")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with started() as chromium:
        for name in wanted.examples or EXAMPLES:
            page = render_page(EXAMPLES[name], "n0nce")
            for how, options in LOOKS.items():

                async def look(seen: Seen, name: str = name, how: str = how, page: bytes = page) -> list[Any]:
                    await serve(seen, page, "n0nce")
                    path = wanted.folder / f"{name}-{how}"
                    await seen.page.screenshot(path=f"{path}.png", full_page=True)
                    if how == "plain":
                        return []
                    wide = await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    await seen.page.evaluate(
                        "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
                    )
                    told = (await Axe().run(seen.page)).response["violations"]
                    return [*told, *([{"id": f"wider by {wide}", "nodes": []}] if wide > 0 else [])]

                found = chromium.run(look, **options)
                wrong += len(found)
                print(f"{name:12} {how:7} {len(page) / 1000:5.0f} kB: {len(found)} violations")  # noqa: T201
                for one in found:
                    print(" ", one["id"], [node["html"][:160] for node in one["nodes"][:3]])  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
