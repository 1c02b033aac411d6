"""One endpoint, three providers, two of them in trouble: the answers come all the same.

    python -m example_apps.demo [--once] [--port N] [--model NAME]

A Starlette app with the gateway mounted at /llm: `openai` is down, `azure` says nothing, `vllm` is a real model
on this machine (see local_llm.py). While it serves, its status page shows all of them, and one more that fails and
recovers, for a question goes out every other second. With OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT or VLLM_ENDPOINT in the
environment, those providers are asked instead. Needs the extra `demo`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from example_apps._screen import Screen
from example_apps._serving import served
from example_apps.local_llm import MODEL_NAME, LocalModelUnavailable, curl_lines, local_llm
from ogw_asgi import (
    VLLM,
    Azure,
    ConfigurationError,
    Gateway,
    OpenAI,
    OpenAICompatible,
    Timeouts,
    allow_anyone,
)
from ogw_asgi.testing import RecordedRequest, Reply, ScriptedUpstream, chat, dead_port, error, hang, stream

REAL_PROVIDERS = ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "VLLM_ENDPOINT")
PORT = 8000
COMPLETIONS = "/chat/completions"
FIRST_CHUNK_S = 1.0
MOOD_S = 15.0
EVERY_S = 2.0
PLAIN_QUESTION = "What is the capital of France? Answer in one short sentence."
STREAM_QUESTION = "Write two sentences about a lighthouse keeper."
SCRIPTED_ANSWER = "This answer comes from a scripted upstream, word by word, as a real model would send it."


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo talks to, and what it says about it."""

    gateway: Gateway
    model: str
    remarks: tuple[str, ...]
    # The plain request's own order: its limit is that of a whole answer, too long to wait for a silent provider.
    plain_sequence: tuple[str, ...] = ()
    cast: tuple[tuple[str, str], ...] = field(default=())
    # Whom to ask while the page is looked at; nobody where each question costs money.
    traffic: tuple[tuple[str, ...], ...] = ()


def real_stage(model: str | None) -> Stage:
    found = ", ".join(name for name in REAL_PROVIDERS if os.environ.get(name))
    remarks = (
        f"The environment names real providers ({found}): they are asked, in their default order.",
        "To see a failover without them and without a key, run: "
        + " ".join(f"env -u {name}" for name in found.split(", "))
        + " python -m example_apps.demo",
    )
    return Stage(Gateway.from_env(authenticate=allow_anyone, status=True), model or "gpt-4o-mini", remarks)


@contextmanager
def played_stage(screen: Screen) -> Iterator[Stage]:
    """`openai` refuses connections, `azure` accepts them and stays silent, `vllm` works."""
    with ExitStack() as stack:
        closed_port = stack.enter_context(dead_port())
        silent = stack.enter_context(served(ScriptedUpstream(hang())))
        moody = stack.enter_context(served(ScriptedUpstream(moods())))
        try:
            working = stack.enter_context(local_llm())
            played_by = f"well: SmolLM2-135M, a real model, in llama.cpp at {address(working)}"
        except LocalModelUnavailable as error:
            screen.paragraph(f"No local model, a scripted upstream plays it: {error.reason}.", "yellow")
            working = stack.enter_context(served(ScriptedUpstream(chat(SCRIPTED_ANSWER))))
            played_by = f"well: a scripted upstream at {address(working)}"
        yield Stage(
            gateway=Gateway(
                providers=[
                    OpenAI(api_key="no-key-needed", base_url=f"http://127.0.0.1:{closed_port}/v1"),
                    Azure(api_key="no-key-needed", endpoint=silent),
                    VLLM(endpoint=working),
                    OpenAICompatible("moody", api_key="no-key-needed", base_url=f"{moody}/v1"),
                ],
                failover_sequence=("openai", "azure", "vllm"),
                timeouts=Timeouts(first_chunk_s=FIRST_CHUNK_S),
                authenticate=allow_anyone,  # of this machine: the port is not open to others
                status=True,
            ),
            model=MODEL_NAME,
            cast=(
                ("openai", "down: nothing listens there"),
                ("azure", "too slow: accepts the request, then says nothing"),
                ("vllm", played_by),
            ),
            remarks=(
                f"A provider has {FIRST_CHUNK_S:.0f} s for the first token of a stream here (by default 30 s), "
                "then the next one is asked.",
            ),
            plain_sequence=("openai", "vllm"),
            traffic=(("moody", "vllm"), ("openai", "vllm"), ("moody", "azure", "vllm")),
        )


def moods() -> Callable[[RecordedRequest], Reply]:
    """Well for a while from its first question on, and then not, and so on."""
    began_s: float | None = None

    def answer(request: RecordedRequest) -> Reply:
        nonlocal began_s
        now_s = time.monotonic()
        began_s = now_s if began_s is None else began_s
        if int((now_s - began_s) / MOOD_S) % 2:
            return error(500)
        return stream(SCRIPTED_ANSWER.split(" "))

    return answer


def address(url: str) -> str:
    return url.removeprefix("http://")


def status_page(url: str) -> str:
    return f"{url}/llm/_status"


def host_app(gateway: Gateway) -> Starlette:
    """The app that was there before the gateway came: its own route, and one mount."""

    async def index(request: Request) -> PlainTextResponse:
        return PlainTextResponse("The host app. Its gateway answers POST /llm/chat/completions.\n")

    return Starlette(routes=[Route("/", index), Mount("/llm", app=gateway)], lifespan=gateway.lifespan)


def payload(stage: Stage, question: str, *, stream: bool) -> dict[str, object]:
    body: dict[str, object] = {"model": stage.model, "messages": [{"role": "user", "content": question}]}
    return body | {"max_tokens": 90, "temperature": 0} | ({"stream": True} if stream else {})


def ask_plain(screen: Screen, client: httpx.Client, stage: Stage) -> bool:
    """Whether text came."""
    screen.heading("1. A plain completion")
    headers = {}
    if stage.plain_sequence:
        order = json.dumps(stage.plain_sequence)
        screen.paragraph(
            "A plain answer comes in one piece, so its limit is long (600 s). This request leaves the slow provider "
            "out by naming its own order:"
        )
        screen.line(f"   x-opengateway-failover-sequence: {order}")
        headers["x-opengateway-failover-sequence"] = order
    screen.asked(PLAIN_QUESTION)
    response = client.post(COMPLETIONS, json=payload(stage, PLAIN_QUESTION, stream=False), headers=headers)
    show_head(screen, response)
    text = refusal(response) or str(response.json()["choices"][0]["message"]["content"] or "")
    screen.token(text)
    screen.end_of_tokens()
    return response.is_success and bool(text.strip())


def ask_stream(screen: Screen, client: httpx.Client, stage: Stage) -> bool:
    """Whether text came, and the stream was whole."""
    screen.heading("2. A streamed completion")
    screen.asked(STREAM_QUESTION)
    whole = False
    pieces = 0
    began_s = first_s = time.monotonic()
    with client.stream("POST", COMPLETIONS, json=payload(stage, STREAM_QUESTION, stream=True)) as response:
        show_head(screen, response)
        try:
            for piece in tokens(response):
                first_s = first_s if pieces else time.monotonic()
                pieces += 1
                screen.token(piece)
            whole = response.is_success
        except httpx.RemoteProtocolError:
            # How a gateway tells every client that the provider broke off: the body does not end.
            screen.token("\n[the stream broke]")
    screen.end_of_tokens()
    if pieces and whole:
        last_s = time.monotonic()
        screen.line()
        screen.line(f"   First token after {first_s - began_s:.2f} s, all {pieces} after {last_s - began_s:.2f} s.")
    return whole and pieces > 0


def tokens(response: httpx.Response) -> Iterator[str]:
    """The pieces of text of a stream, or the one message of a refusal."""
    if not response.is_success:
        response.read()
        yield refusal(response)
        return
    for line in response.iter_lines():
        # One line per event: the gateway sends them so, whatever framing the provider chose.
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                yield f"\n[{event['error']['message']}]"
            for choice in event.get("choices", []):
                if text := choice.get("delta", {}).get("content"):
                    yield text


def refusal(response: httpx.Response) -> str:
    return "" if response.is_success else str(response.json()["error"]["message"])


def show_head(screen: Screen, response: httpx.Response) -> None:
    screen.trail(f"{response.status_code} {response.reason_phrase}", dict(response.headers))
    screen.line()


def introduce(screen: Screen, stage: Stage, url: str) -> None:
    screen.heading(f"ogw_asgi: a gateway mounted in a Starlette app, at {url}/llm")
    for name, condition in stage.cast:
        screen.line(f"   {name:<8} {condition}")
    for remark in stage.remarks:
        screen.paragraph(remark)
    screen.line(f"   status   {status_page(url)}")


def keep_serving(screen: Screen, client: httpx.Client, stage: Stage, url: str) -> None:
    screen.heading("Your turn (Ctrl-C stops it)")
    for line in curl_lines(f"{url}/llm{COMPLETIONS}", stage.model, show_head=True):
        screen.line(f"   {line}")
    screen.line()
    screen.line(f"   The status page: {status_page(url)}")
    if stage.traffic:
        screen.paragraph(
            f"A question goes out every {EVERY_S:.0f} s for it to show: openai stays down, azure stays silent, and "
            f"moody fails for {MOOD_S:.0f} s and recovers for as long."
        )
    for sequence in cycle(stage.traffic or ((),)):
        time.sleep(EVERY_S)
        if sequence:
            ask_quietly(client, stage, sequence)


def ask_quietly(client: httpx.Client, stage: Stage, sequence: tuple[str, ...]) -> None:
    body = payload(stage, STREAM_QUESTION, stream=True) | {"max_tokens": 12}
    with suppress(httpx.HTTPError):  # whatever comes of it is on the page
        client.post(COMPLETIONS, json=body, headers={"x-opengateway-failover-sequence": json.dumps(sequence)})


@contextmanager
def served_host(gateway: Gateway, port: int | None) -> Iterator[str]:
    """On the port that was asked for, else on 8000, else, when that is taken, on a free one."""
    with ExitStack() as stack:
        app = host_app(gateway)
        try:
            url = stack.enter_context(served(app, PORT if port is None else port))
        except OSError:
            if port is not None:
                raise
            url = stack.enter_context(served(app))
        yield url


def run(screen: Screen, *, once: bool, port: int | None, model: str | None) -> int:
    with ExitStack() as stack:
        if any(os.environ.get(name) for name in REAL_PROVIDERS):
            stage = real_stage(model)
        else:
            stage = stack.enter_context(played_stage(screen))
        url = stack.enter_context(served_host(stage.gateway, port))
        introduce(screen, stage, url)
        # Without a proxy from the environment: the way is loopback.
        client = stack.enter_context(httpx.Client(base_url=f"{url}/llm", timeout=630, trust_env=False))
        answered = [ask_plain(screen, client, stage), ask_stream(screen, client, stage)]
        if not once:
            keep_serving(screen, client, stage, url)
        return 0 if all(answered) else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m example_apps.demo", description="Shows a failover, for real.")
    parser.add_argument("--once", action="store_true", help="end after the two requests; status 1 if text did not come")
    parser.add_argument("--port", type=int, help="of the host app; default: 8000, or a free one")
    parser.add_argument("--model", help="the model to ask real providers for; default: gpt-4o-mini")
    options = parser.parse_args(arguments)
    screen = Screen()
    try:
        return run(screen, once=options.once, port=options.port, model=options.model)
    except KeyboardInterrupt:
        screen.end_of_tokens()
        screen.line("\nStopped.")
        return 130 if options.once else 0
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ConfigurationError, OSError, httpx.HTTPError) as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
