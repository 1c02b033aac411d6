"""The demo: what it prints, how it ends, and the screen that it prints on."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys

import httpx
import pytest

from example_apps import demo
from example_apps._screen import Attempt, Screen, read_server_timing, timeline
from ogw_asgi.testing import dead_port


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_real_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*demo.REAL_PROVIDERS, "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_without_the_local_model_the_demo_says_so_and_a_scripted_upstream_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert demo.main(["--once", "--port", "0"]) == 0
    shown = capsys.readouterr().out
    assert "No local model, a scripted upstream plays it: xllamacpp is not installed" in shown
    assert shown.count("HTTP/1.1 201 Created") == 2
    assert shown.count("x-opengateway-provider: vllm") == 2
    assert shown.count("This answer comes from a scripted upstream") == 2
    assert "ms  timeout" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_with_a_provider_in_the_environment_it_is_asked_and_a_failure_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with dead_port() as port:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-c4n4ry-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        assert demo.main(["--once", "--port", "0"]) == 1
    shown = capsys.readouterr()
    assert "The environment names real providers (OPENAI_API_KEY)" in shown.out
    assert shown.out.count("HTTP/1.1 502 Bad Gateway") == 2
    assert "sk-c4n4ry-secret" not in shown.out + shown.err


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['xllamacpp'] = None; from example_apps import demo; sys.exit("
            "demo.main(['--once', '--port', '0']))",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0


def test_without_its_extra_it_says_which_one() -> None:
    script = "import sys; sys.modules['uvicorn'] = None; import example_apps.demo"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (1, 'This needs the extra "demo": pip install -e ".[demo]"\n')


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_gets_text_from_the_real_model_and_ctrl_c_ends_it_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "example_apps.demo", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        shown: list[str] = []
        for line in running.stdout:
            shown.append(line)
            if line.strip().endswith("recovers for as long."):  # the last that it says of itself
                break
        running.send_signal(signal.SIGINT)
        rest, complaints = running.stdout.read(), running.stderr.read()
        status = running.wait(20)
    text = "".join(shown)
    assert "a real model, in llama.cpp" in text
    assert "Paris" in text
    assert text.count("HTTP/1.1 201 Created") == 2
    assert "curl -iN http://127.0.0.1:" in text
    assert (status, rest.strip()) == (0, "Stopped.")
    assert "Traceback" not in complaints


def test_a_timeline_starts_each_bar_where_the_one_before_it_ended() -> None:
    attempts = read_server_timing('openai;dur=1;desc="connect", azure;dur=500;desc="timeout", vllm;dur=499;desc="200"')
    assert attempts == [Attempt("openai", 1, "connect"), Attempt("azure", 500, "timeout"), Attempt("vllm", 499, "200")]
    bars = [bar for _, bar in timeline(attempts)]
    assert {len(bar) for bar in bars} == {36}
    assert bars[0] == "#".ljust(36)
    assert bars[1] == ("#" * 18).ljust(36)
    assert bars[2] == ("#" * 18).rjust(36)


def test_a_header_that_is_no_server_timing_is_an_empty_timeline() -> None:
    assert read_server_timing("what;is=this") == []
    assert list(timeline([])) == []


def test_tokens_are_wrapped_between_words_and_not_within_them() -> None:
    out = io.StringIO()
    screen = Screen(out)
    for piece in ["Light", "house", *[" keeper"] * 24, "s", "\n\n", " end"]:
        screen.token(piece)
    screen.end_of_tokens()
    lines = out.getvalue().split("\n")
    assert lines[0].startswith("   Lighthouse keeper")
    assert max(len(line) for line in lines) <= 80
    assert lines[2:] == ["   keeper keeper keeper keepers", "", "   end", ""]
    assert " ".join(out.getvalue().split()) == "Lighthouse" + " keeper" * 24 + "s end"


@pytest.mark.parametrize(
    ("out", "no_color", "coloured"),
    [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)],
    ids=["terminal", "NO_COLOR", "pipe"],
)
def test_colours_are_for_terminals_without_no_color(
    monkeypatch: pytest.MonkeyPatch, out: io.StringIO, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    Screen(out).heading("Title")
    assert ("\x1b[1mTitle\x1b[0m" in out.getvalue()) is coloured


def test_while_it_serves_its_status_page_shows_a_provider_that_fails_and_recovers() -> None:
    script = (
        "import sys; sys.modules['xllamacpp'] = None; from example_apps import demo; "
        "demo.EVERY_S, demo.MOOD_S = 0.05, 3.0; sys.exit(demo.main(['--port', '0']))"
    )
    with subprocess.Popen([sys.executable, "-uc", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            page = next(line.split()[-1] for line in process.stdout if "The status page:" in line)
            seen: set[str] = set()
            with httpx.stream("GET", f"{page}/events", trust_env=False) as events:
                for line in events.iter_lines():
                    if line.startswith("data: "):
                        targets = json.loads(line.removeprefix("data: "))["targets"]
                        seen |= {one["health"] for one in targets if one["provider"] == "moody"}
                    if {"ok", "recovering"} & seen and {"failing", "open"} & seen:
                        break
        finally:
            process.send_signal(signal.SIGINT)
        assert "Stopped." in process.stdout.read()
        assert process.wait(timeout=30) == 0
