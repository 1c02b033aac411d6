"""The process under test: uvicorn with the standalone app, or with the scaled one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STANDALONE = "example_apps.standalone:app"
SCALED = "benchmarks.failoverbench.scaled:app"
SCALE = "FAILOVERBENCH_SCALE"
"""The environment variable that tells the scaled app its scale."""

_TOP = Path(__file__).parents[2]
_OTHERS = ("OGW_", "OPENAI_", "AZURE_OPENAI_", "VLLM_")
_running = re.compile(r"running on (http://127\.0\.0\.1:\d+)").search


class DidNotStart(Exception):
    """The text is what the process said."""


class GatewayProcess:
    """`url` is where it listens; `said` are the last lines of its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self._process = process
        self._log = process.stderr
        self.said = deque[str](maxlen=100)
        self.url = self._read_url()
        self._reader = threading.Thread(target=lambda: self.said.extend(self._log), daemon=True)
        self._reader.start()

    def hear_out(self) -> None:
        """Once the process has ended: nobody may still read its log when that is closed."""
        self._reader.join(10)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def _read_url(self) -> str:
        for line in self._log:
            self.said.append(line)
            if found := _running(line):
                return found[1]
        raise DidNotStart("".join(self.said))


def environment(provider_url: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Nobody's settings but these; both providers are the crash-test provider, and the keys open nothing."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    return {
        **inherited,
        "OPENAI_API_KEY": "sk-crash-test",
        "OPENAI_BASE_URL": f"{provider_url}/v1",
        "VLLM_ENDPOINT": provider_url,
        "VLLM_API_KEY": "sk-crash-test",
        **settings,
    }


@contextmanager
def running(app: str, environ: Mapping[str, str]) -> Iterator[GatewayProcess]:
    """The gateway, for as long as the block lasts. Raises DidNotStart."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", "--no-access-log"]
    with subprocess.Popen(command, cwd=_TOP, env=environ, stderr=subprocess.PIPE, text=True) as process:
        gateway: GatewayProcess | None = None
        try:
            gateway = GatewayProcess(process)
            yield gateway
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            if gateway is not None:
                gateway.hear_out()
