"""Looks at the examples with a browser, by hand: screenshots into a folder, and axe's opinion of each.

python -m tests.status.look FOLDER [EXAMPLE ...]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.status.browser import Seen, started
from tests.status.examples import EXAMPLES
from tests.status.serving import served

LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": (390, 844)},
    "narrow": {"viewport": (320, 640), "color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
    "plain": {"java_script_enabled": False},
}


async def look(seen: Seen, url: str, path: Path, judged: bool) -> list[str]:
    """What is wrong with it."""
    await seen.page.goto(url)
    if judged:
        await expect(seen.page.locator("#link")).to_have_text("live")
    await seen.page.screenshot(path=path, full_page=True)
    if not judged:
        return []
    wide = await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    await seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    violations = (await Axe().run(seen.page)).response["violations"]
    told = [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in violations]
    return [*told, *([f"wider than the window by {wide}"] if wide > 0 else [])]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.status.look")
    parser.add_argument("folder", type=Path)
    parser.add_argument("examples", nargs="*")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with started() as chromium:
        for name in wanted.examples or EXAMPLES:
            with served(EXAMPLES[name]) as server:
                for how, options in LOOKS.items():
                    path = wanted.folder / f"{name}-{how}.png"
                    found = chromium.run(partial(look, url=server.url, path=path, judged=how != "plain"), **options)
                    wrong += len(found)
                    size = len(server.page) / 1000
                    print(f"{name:12} {how:7} {size:5.0f} kB: {', '.join(found) or 'nothing is wrong'}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
