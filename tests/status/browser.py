"""A real browser: Debian's chromium, started once in a session, driven by playwright. No test of its own.

Playwright lives in a thread with a loop of its own, since its blocking interface would keep the loop of whoever tests
with anyio after it. A test hands in what it wants done:

    from tests.status.browser import chromium, needs_chromium  # noqa: F401 - the fixture

    @needs_chromium
    def test_the_page_has_a_title(chromium: Chromium) -> None:
        async def look(seen: Seen) -> str:
            await seen.page.goto(url)
            return await seen.page.title()

        assert chromium.run(look, color_scheme="dark").startswith("ok")

Wait with `expect` and locators: the page's policy forbids what `wait_for_function` does. What the console complained of
and what was asked of anybody but `allowed` is an AssertionError at the end of `run`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

EXECUTABLE: Final = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PATIENCE_MS: Final = 15_000

needs_chromium = pytest.mark.skipif(
    EXECUTABLE is None and not os.environ.get("CI"), reason="no chromium here (apt-get install chromium)"
)
"""The project's own check installs one, and fails where it is missing."""

T = TypeVar("T")


@dataclass
class Seen:
    """A fresh context with one page in it, and what it has done that it should not."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    """Of the console: errors and warnings; exceptions of scripts; what the policy has refused."""
    elsewhere: list[str] = field(default_factory=list)
    """URLs that were asked for of anybody but those allowed."""

    def watch(self, allowed: Sequence[str]) -> None:
        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"{message.type}: {message.text}")

        def asked(request: Request) -> None:
            url = urlsplit(request.url)
            if url.scheme not in ("data", "about", "blob") and url.hostname not in allowed:
                self.elsewhere.append(request.url)

        self.context.on("console", console)
        self.context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        self.context.on("request", asked)


class Chromium:
    def __init__(self, portal: BlockingPortal, browser: Browser) -> None:
        self._portal = portal
        self._browser = browser

    def run(
        self,
        look: Callable[[Seen], Awaitable[T]],
        *,
        java_script_enabled: bool = True,
        color_scheme: Literal["light", "dark", "no-preference"] = "light",
        viewport: tuple[int, int] = (1280, 900),
        allowed: Sequence[str] = ("127.0.0.1", "localhost"),
        complaints: bool = False,
        **options: Any,
    ) -> T:
        """What `look` returns. Raises AssertionError for a request to elsewhere, and for complaints unless they are the
        test's own business; `options` are those of playwright's `new_context`."""
        told = {
            "java_script_enabled": java_script_enabled,
            "color_scheme": color_scheme,
            "viewport": {"width": viewport[0], "height": viewport[1]},
            **options,
        }
        return self._portal.call(partial(self._run, look, allowed, complaints, told))

    async def _run(
        self, look: Callable[[Seen], Awaitable[T]], allowed: Sequence[str], complaints: bool, told: dict[str, Any]
    ) -> T:
        context = await self._browser.new_context(**told)
        try:
            context.set_default_timeout(PATIENCE_MS)
            seen = Seen(context, await context.new_page())
            seen.watch(allowed)
            result = await look(seen)
        finally:
            await context.close()
        assert not seen.elsewhere, seen.elsewhere
        assert complaints or not seen.complaints, seen.complaints
        return result


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with started() as browser:
        yield browser


class started:  # noqa: N801 - reads as a function
    """For whoever wants a browser without pytest."""

    def __enter__(self) -> Chromium:
        self._portal_of = start_blocking_portal("asyncio")
        portal = self._portal_of.__enter__()
        self._playwright_of = portal.wrap_async_context_manager(async_playwright())
        driver = self._playwright_of.__enter__()
        browser = portal.call(partial(driver.chromium.launch, executable_path=EXECUTABLE, args=list(ARGUMENTS)))
        self._close = partial(portal.call, browser.close)
        return Chromium(portal, browser)

    def __exit__(self, *exc: object) -> None:
        self._close()
        self._playwright_of.__exit__(None, None, None)
        self._portal_of.__exit__(None, None, None)
