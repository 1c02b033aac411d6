"""A real language model on this machine, to stand behind the provider `vllm`.

    python -m example_apps.local_llm [--port N]

SmolLM2-135M-Instruct in llama.cpp's own OpenAI-compatible server: about 250 MiB of memory, no GPU, ready in
a second. The first use downloads 89 MiB. Needs the extra `demo`.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from example_apps._llama_server import MODEL_NAME
from example_apps._model import SMOLLM2, LocalModelUnavailable, ModelSource, ensure_model

__all__ = ["MODEL_NAME", "SMOLLM2", "LocalModelUnavailable", "ModelSource", "curl_lines", "ensure_model", "local_llm"]

_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 3.0
_PROGRAM = Path(__file__).with_name("_llama_server.py")


@contextmanager
def local_llm(port: int = 0, model: Path | None = None) -> Iterator[str]:
    """Serves the model on 127.0.0.1, on a free port unless one is named, and yields the base URL.

    Raises LocalModelUnavailable(reason) where it cannot be had.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelUnavailable('xllamacpp is not installed (pip install -e ".[demo]")')
    path = model or ensure_model()
    server = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM), str(path), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # llama.cpp tells its life there
        text=True,
    )
    try:
        yield _wait_until_it_answers(server)
    finally:
        _stop(server)


def _wait_until_it_answers(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    # A child that neither speaks nor ends would block readline() for ever.
    alarm = threading.Timer(_START_LIMIT_S, server.kill)
    alarm.start()
    try:
        word, _, rest = server.stdout.readline().strip().partition(" ")
    finally:
        alarm.cancel()
        alarm.join()
    if word == "failed":
        raise LocalModelUnavailable(f"llama.cpp did not start: {rest}")
    if word != "ready":
        raise LocalModelUnavailable(f"llama.cpp did not start: it ended with status {server.wait()}")
    deadline_s = time.monotonic() + _START_LIMIT_S
    while not _is_healthy(rest):
        if server.poll() is not None or time.monotonic() > deadline_s:
            raise LocalModelUnavailable("llama.cpp started, but does not answer")
        time.sleep(0.05)
    return rest


def _is_healthy(url: str) -> bool:
    # Without a proxy from the environment: the way is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _stop(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    try:
        server.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    server.stdout.close()


def curl_lines(url: str, model: str, *, show_head: bool = False) -> list[str]:
    """A command to paste; the line break inside the quotes is white space of the JSON."""
    return [
        f"curl -{'i' if show_head else ''}N {url} \\",
        "  -H 'content-type: application/json' \\",
        f"""  -d '{{"model": "{model}", "stream": true,""",
        """       "messages": [{"role": "user", "content": "Hello!"}]}'""",
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m example_apps.local_llm", description="Serves a small real model.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args(arguments)
    try:
        with local_llm(options.port) as url:
            print(f"{MODEL_NAME} answers at {url}/v1 (Ctrl-C stops it). Try:\n")
            print(*curl_lines(f"{url}/v1/chat/completions", MODEL_NAME), sep="\n")
            sys.stdout.flush()
            while True:
                time.sleep(3600)
    except LocalModelUnavailable as error:
        print(f"No local model: {error.reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
