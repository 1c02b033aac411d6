"""The page's script in a real browser: it touches what has changed, and says what it cannot know any more."""

from __future__ import annotations

import queue
from dataclasses import replace

import pytest
from playwright.async_api import expect

from ogw_asgi._status.page import render_page, render_parts
from tests.status.browser import Chromium, Seen, chromium, needs_chromium
from tests.status.examples import ALL_WELL, OUTAGE
from tests.status.serving import NONCE, Server, frame, served

__all__ = ["chromium"]
pytestmark = needs_chromium

LATER = replace(
    ALL_WELL,
    number=513,
    at_s=ALL_WELL.at_s + 1,
    recent=(*OUTAGE.recent[:1], *ALL_WELL.recent[:-1]),
    targets=(replace(OUTAGE.targets[0], provider="openai"), *ALL_WELL.targets[1:]),
)


async def opened(seen: Seen, server: Server) -> queue.Queue[bytes | None]:
    await seen.page.goto(server.url)
    await expect(seen.page.locator("#link")).to_have_text("live")
    return server.streams.get(timeout=10)


WATCH = """() => {
  window.changes = [];
  new MutationObserver((all) => window.changes.push(...all)).observe(document.getElementById("main"),
    { childList: true, subtree: true, attributes: true, characterData: true });
}"""
NOTE = """(id) => {
  window.noted = [];
  const one = document.getElementById(id);
  new MutationObserver(() => window.noted.push(one.textContent)).observe(one, { childList: true });
}"""
PLACE = """() => {
  document.getElementById("settings-all").open = true;
  document.querySelector("#settings-all summary").focus();
  const row = document.querySelectorAll("#requests ol:last-of-type .id bdi")[3];
  getSelection().selectAllChildren(row);
  window.kept = [row, document.activeElement, ...document.querySelectorAll(".tile")];
  window.scrollTo(0, 900);
}"""
PLACES = """() => ({
  kept: window.kept.every((one) => one.isConnected),
  focus: document.activeElement === window.kept[1],
  open: document.getElementById("settings-all").open,
  selected: getSelection().toString(),
})"""


def test_a_frame_leaves_the_readers_place_and_touches_only_what_has_changed(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        frames = await opened(seen, server)
        await seen.page.evaluate(PLACE)
        await seen.page.evaluate(WATCH)
        before = await seen.page.evaluate(PLACES)
        assert before == {"kept": True, "focus": True, "open": True, "selected": ALL_WELL.recent[3].request_id}
        frames.put(frame(ALL_WELL))
        later = replace(ALL_WELL, in_flight=5)
        frames.put(frame(later))
        await expect(seen.page.locator(".vital dd").first).to_have_text("5")
        texts = await seen.page.evaluate("window.changes.map((one) => one.target.data || one.target.outerHTML)")
        assert texts[0] == "5"
        assert len(texts) == 3, "in flight, the number that run, and how many more do"
        frames.put(frame(LATER))
        await expect(seen.page.locator(".h-open.tile")).to_have_count(1)
        assert await seen.page.evaluate(PLACES) == before
        ids = await seen.page.evaluate("[...document.querySelectorAll('#requests .id')].map((one) => one.textContent)")
        assert ids == [one.request_id for one in (*LATER.running, *LATER.recent)]
        shown = await seen.page.evaluate("document.getElementById('main').innerHTML")
        meant = await seen.page.evaluate(
            "(html) => { const one = document.createElement('main'); one.innerHTML = html; return one.innerHTML; }",
            render_parts(LATER),
        )
        assert shown.replace(' open=""', "") == meant

    with served(ALL_WELL) as server:
        chromium.run(look)


def test_a_change_of_health_is_announced_once_and_stands_in_the_title(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        frames = await opened(seen, server)
        await seen.page.evaluate(NOTE, "told")
        assert (await seen.page.title()) == "ok - ogw_asgi"
        for one in (replace(ALL_WELL, in_flight=9), LATER, replace(LATER, in_flight=77)):
            frames.put(frame(one))
        await expect(seen.page.locator(".vital dd").first).to_have_text("77")
        assert await seen.page.evaluate("noted") == ["openai gpt-4o is open."]
        assert (await seen.page.title()) == "1 down - ogw_asgi"

    with served(ALL_WELL) as server:
        chromium.run(look)


def test_a_focus_that_is_gone_goes_to_what_is_left(chromium: Chromium) -> None:
    async def look(seen: Seen) -> str:
        frames = await opened(seen, server)
        frames.put(frame(OUTAGE))
        await seen.page.locator(".troubled a").first.focus()
        frames.put(frame(ALL_WELL))
        await expect(seen.page.locator(".troubled")).to_have_count(0)
        focused: str = await seen.page.evaluate("document.activeElement.id")
        return focused

    with served(ALL_WELL) as server:
        assert chromium.run(look) == "main"


def test_a_lost_connection_is_told_and_comes_back(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        server.status = 503
        frames.put(None)
        link = seen.page.locator("#link")
        await expect(link).to_contain_text("not connected since ")
        assert await link.is_visible()
        server.status = 200
        # An answer that is no stream closes it, and it is opened again after five seconds.
        while server.streams.empty():
            await seen.page.clock.run_for(1000)
        await expect(seen.page.locator("#link")).to_have_text("live")

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


def test_where_as_many_follow_as_may_the_page_is_fetched_instead(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        server.full, server.page = True, render_page(LATER, NONCE)
        frames.put(None)
        await expect(seen.page.locator("#link")).to_have_text("live every 5 s")
        await expect(seen.page).to_have_title("1 down - ogw_asgi")
        server.page = render_page(replace(LATER, in_flight=77), NONCE)
        while await seen.page.locator(".vital dd").first.inner_text() != "77":
            await seen.page.clock.run_for(1000)
        server.full = False
        while server.streams.empty():
            await seen.page.clock.run_for(1000)
        await expect(seen.page.locator("#link")).to_have_text("live")

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


def test_while_the_page_is_fetched_it_is_not_said_to_be_lost(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        await seen.page.evaluate(NOTE, "link")
        server.full = True
        frames.put(None)
        await expect(seen.page.locator("#link")).to_have_text("live every 5 s")
        await seen.page.clock.run_for(4000)
        assert await seen.page.evaluate("noted") == ["live every 5 s"]

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


def test_a_page_that_is_fetched_and_does_not_come_is_told(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        server.full = True
        frames.put(None)
        await expect(seen.page.locator("#link")).to_have_text("live every 5 s")
        server.answers.clear()
        async with seen.page.expect_request(server.url):
            await seen.page.clock.run_for(5000)
        await seen.page.clock.run_for(4000)
        await expect(seen.page.locator("#link")).to_contain_text("not connected since ")

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


@pytest.mark.parametrize("page", [b"<p>Sign in", b'<main id="main">Sign in</main>'])
def test_a_page_of_the_hosts_that_comes_instead_is_not_shown_as_ours(chromium: Chromium, page: bytes) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        shown = await seen.page.locator("#main").inner_html()
        server.instead = page
        frames.put(None)
        await expect(seen.page.locator("#link")).to_contain_text("not connected since ")
        assert await seen.page.locator("#main").inner_html() == shown
        assert not [one for one in seen.complaints if one.startswith("exception")]

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


def test_a_stream_that_the_server_ends_and_opens_again_is_no_alarm(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        frames = await opened(seen, server)
        await seen.page.evaluate(NOTE, "link")
        frames.put(None)
        server.streams.get(timeout=10).put(frame(LATER))
        await expect(seen.page).to_have_title("1 down - ogw_asgi")
        assert [one for one in await seen.page.evaluate("noted") if one != "live"] == []

    with served(ALL_WELL) as server:
        chromium.run(look)


def test_a_server_that_falls_silent_without_closing_is_told_and_asked_again(chromium: Chromium) -> None:
    async def look(seen: Seen) -> None:
        await seen.page.clock.install()
        frames = await opened(seen, server)
        await seen.page.clock.run_for(9000)
        frames.put(frame(LATER))
        await expect(seen.page).to_have_title("1 down - ogw_asgi")
        await seen.page.clock.run_for(9000)
        await expect(seen.page.locator("#link")).to_have_text("live")
        server.status = 503
        await seen.page.clock.run_for(1500)
        await expect(seen.page.locator("#link")).to_contain_text("not connected since ")
        server.status = 200
        while server.streams.empty():
            await seen.page.clock.run_for(1000)
        await expect(seen.page.locator("#link")).to_have_text("live")

    with served(ALL_WELL) as server:
        chromium.run(look, complaints=True)


def test_a_hidden_tab_closes_its_stream_and_opens_it_again(chromium: Chromium) -> None:
    become = "(how) => { Object.defineProperty(document, 'visibilityState', { value: how, configurable: true });"

    async def look(seen: Seen) -> None:
        await opened(seen, server)
        turn = f"{become} document.dispatchEvent(new Event('visibilitychange')); }}"
        await seen.page.evaluate(turn, "hidden")
        server.ended.get(timeout=10)
        assert server.streams.empty()
        assert (await seen.page.title()) == "not watching - ogw_asgi"
        await seen.page.evaluate(turn, "visible")
        frames = server.streams.get(timeout=10)
        frames.put(frame(LATER))
        await expect(seen.page).to_have_title("1 down - ogw_asgi")

    with served(ALL_WELL) as server:
        chromium.run(look)


def test_without_javascript_the_page_tells_all_and_asks_for_nothing_more(chromium: Chromium) -> None:
    async def look(seen: Seen) -> str:
        await seen.page.goto(server.url)
        assert await seen.page.locator(".link noscript").is_visible()
        return await seen.page.locator("#verdict h2").inner_text()

    with served(ALL_WELL) as server:
        assert chromium.run(look, java_script_enabled=False) == "All 3 targets answer."
        assert server.streams.empty()
