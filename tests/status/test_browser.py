"""An operator's browser at the status page of a gateway that serves: what turns, what recovers, what is told.

The gateway, its server, its providers and the browser are real; a provider fails when the test says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import anyio.to_thread
import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from example_apps._serving import served
from ogw_asgi import Breaker, Gateway, OpenAI, OpenAICompatible, bearer_tokens
from ogw_asgi.testing import RecordedRequest, Script, ScriptedUpstream, chat, error
from tests.status.browser import Chromium, Seen, chromium, needs_chromium
from tests.status.examples import EXAMPLES, OUTAGE
from tests.status.serving import served as served_example

__all__ = ["chromium"]
pytestmark = needs_chromium

TOKEN = "a-token-of-more-than-thirty-two-characters"
SOON_MS = 2000
"""In this time an operator sees it."""


class Moody:
    """A provider that fails as long as it is told to."""

    def __init__(self) -> None:
        self.failing = False
        self.upstream = ScriptedUpstream(self._reply)

    def _reply(self, request: RecordedRequest) -> Script:
        return error(500) if self.failing else chat("Hello there")


class Stage:
    """A host app with the gateway at /llm. `page`: the URL of its status page."""

    def __init__(self, url: str, moody: Moody) -> None:
        self.url = url
        self.page = f"{url}/llm/_status"
        self.moody = moody
        self._client = httpx.Client(base_url=url, trust_env=False, headers={"authorization": f"Bearer {TOKEN}"})

    def ask(self, times: int = 1) -> list[str]:
        """Who answered."""
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        replies = [self._client.post("/llm/chat/completions", json=body) for _ in range(times)]
        assert [reply.status_code for reply in replies] == [201] * times
        return [reply.headers["x-opengateway-provider"] for reply in replies]


@contextmanager
def staged(**options: Any) -> Iterator[Stage]:
    moody = Moody()
    with ExitStack() as stack:
        moody_url = stack.enter_context(served(moody.upstream))
        well_url = stack.enter_context(served(ScriptedUpstream(chat("Hello from the other one"))))
        gateway = Gateway(
            providers=[
                OpenAI(api_key="k", base_url=f"{moody_url}/v1"),
                OpenAICompatible("backup", api_key="k", base_url=f"{well_url}/v1"),
            ],
            failover_sequence=("openai", "backup"),
            models=["gpt-4o"],
            breaker=Breaker(failures=3, open_s=0.2, open_max_s=0.2),
            status=True,
            **options,
        )
        app = Starlette(routes=[Mount("/llm", app=gateway)], lifespan=gateway.lifespan)
        stage = Stage(stack.enter_context(served(app)), moody)
        stack.enter_context(stage._client)
        yield stage


def tile(seen: Seen, provider: str) -> Locator:
    return seen.page.locator(".tile").filter(has=seen.page.locator(".provider", has_text=provider))


async def live(seen: Seen, stage: Stage) -> None:
    reply = await seen.page.goto(stage.page)
    assert reply is not None
    assert reply.status == 200
    await expect(seen.page.locator("#link")).to_have_text("live")


def test_a_target_that_starts_failing_turns_its_tile_within_two_seconds_and_recovers(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await live(seen, stage)
        openai = tile(seen, "openai")
        await expect(openai).to_have_attribute("data-health", "idle")
        assert await asked() == ["openai"]
        await expect(openai).to_have_attribute("data-health", "ok", timeout=SOON_MS)
        assert (await seen.page.title()).startswith("ok")

        stage.moody.failing = True
        assert await asked() == ["backup"]
        await expect(openai).to_have_attribute("data-health", "failing", timeout=SOON_MS)
        await expect(openai).to_contain_text("500 server_error")
        await expect(tile(seen, "backup")).to_have_attribute("data-health", "ok")
        await expect(seen.page.locator("#failovers")).to_contain_text("1")

        assert set(await asked(3)) == {"backup"}
        await expect(openai).to_have_attribute("data-health", "open", timeout=SOON_MS)
        await expect(seen.page.locator("#verdict")).to_contain_text("openai")
        await expect(seen.page).to_have_title("1 down - ogw_asgi")

        stage.moody.failing = False
        while (await asked())[0] == "backup":  # until its breaker lets a probe through, a fifth of a second later
            pass
        assert set(await asked(3)) == {"openai"}
        await expect(openai).to_have_attribute("data-health", "recovering", timeout=SOON_MS)

    async def asked(times: int = 1) -> list[str]:
        return await anyio.to_thread.run_sync(stage.ask, times)

    with staged() as stage:
        chromium.run(look)


def test_the_waterfall_shows_a_failover_attempt_by_attempt(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await live(seen, stage)
        row = seen.page.locator("#requests li").filter(has_text="backup")
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text("ok 201")
        said = " ".join((await row.inner_text()).split())
        assert "openai 500" in said
        assert "failover backup 200" in said
        bars = row.locator("svg rect[class*='s-']")
        widths = [float((await one.get_attribute("width") or "").rstrip("%")) for one in await bars.all()]
        starts = [float((await one.get_attribute("x") or "").rstrip("%")) for one in await bars.all()]
        assert len(widths) == 2
        assert all(width > 0 for width in widths)
        assert starts == sorted(starts)
        kinds = [await one.get_attribute("class") for one in await bars.all()]
        assert kinds == ["s-failed", "s-complete"]

    with staged() as stage:
        stage.moody.failing = True
        stage.ask()
        chromium.run(look)


def test_without_javascript_the_page_still_tells_all(chromium: Chromium) -> None:
    async def look(seen: Seen) -> str:
        await seen.page.goto(stage.page)
        return " ".join((await seen.page.locator("main").inner_text()).split())

    with staged() as stage:
        stage.moody.failing = True
        stage.ask(4)
        said = chromium.run(look, java_script_enabled=False)
    for part in (
        "openai gpt-4o",
        "backup gpt-4o",
        "open",
        "500 server_error",
        "p50",
        "providers.openai.api_key",
        "***",
    ):
        assert part in said, part
    assert said.count("failover backup 200") == 3
    assert "authentication" in said, "a warning"


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_as_it_is_served(chromium: Chromium, color_scheme: Any) -> None:
    async def look(seen: Seen) -> list[str]:
        await live(seen, stage)
        return await judged(seen)

    with staged() as stage:
        stage.moody.failing = True
        stage.ask(4)
        assert chromium.run(look, color_scheme=color_scheme) == []


@pytest.mark.parametrize("name", ["outage", "hostile"])
def test_axe_finds_nothing_on_a_phone_and_nothing_is_wider_than_it(chromium: Chromium, name: str) -> None:
    async def look(seen: Seen) -> list[str]:
        await seen.page.goto(server.url)
        assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        return await judged(seen)

    with served_example(EXAMPLES[name]) as server:
        assert chromium.run(look, viewport=(390, 844)) == []


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_a_request_is_told_wholly_on_any_screen(chromium: Chromium, width: int) -> None:
    async def look(seen: Seen) -> list[str]:
        await seen.page.goto(server.url)
        await expect(seen.page.locator("#requests li p").first).to_be_visible()
        cut: list[str] = await seen.page.evaluate(
            """[...document.querySelectorAll("#requests li p")]
              .filter((one) => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 1)
              .map((one) => one.textContent)"""
        )
        return cut

    recent = tuple(replace(line, model="smollm2-135m-instruct", request_id="5f" * 16) for line in OUTAGE.recent)
    with served_example(replace(OUTAGE, recent=recent)) as server:
        assert chromium.run(look, viewport=(width, 800)) == []


async def judged(seen: Seen) -> list[str]:
    """What axe finds, with everything unfolded."""
    await seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    violations = (await Axe().run(seen.page)).response["violations"]
    return [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in violations]


def test_axe_would_find_something(chromium: Chromium) -> None:
    async def look(seen: Seen) -> list[str]:
        await seen.page.goto(server.url)
        await seen.page.evaluate("document.querySelector('h1').insertAdjacentHTML('afterend', '<img src=\"data:,\">')")
        return await judged(seen)

    with served_example(EXAMPLES["nothing_yet"]) as server:
        assert [found.split(":")[0] for found in chromium.run(look, complaints=True)] == ["image-alt"]


def test_a_token_is_the_password_and_opens_the_stream_too(chromium: Chromium) -> None:
    async def let_in(seen: Seen) -> None:
        await live(seen, stage)
        await expect(tile(seen, "openai")).to_have_attribute("data-health", "ok")

    async def kept_out(seen: Seen) -> int:
        reply = await seen.page.goto(stage.page)
        assert reply is not None
        return reply.status

    with staged(authenticate=bearer_tokens([TOKEN])) as stage:
        stage.ask()
        chromium.run(let_in, http_credentials={"username": "ops", "password": TOKEN})
        credentials = {"username": "ops", "password": TOKEN[:-1]}
        assert chromium.run(kept_out, complaints=True, http_credentials=credentials) == 401
