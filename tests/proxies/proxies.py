"""Real proxies, each as a process of its own before a server, with the configurations of docs/proxies."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import anyio

from tests.shutdown.processes import reserved_port, until_accepting

DOCS = Path(__file__).resolve().parents[2] / "docs" / "proxies"

# Of a machine's own nginx.conf: what it is started with, and where it may write.
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
    access_log off; server_tokens off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/server.conf;
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """How a proxy is started.

    Attributes:
        config: whose ports are replaced.
    """

    program: str
    config: str

    @property
    def installed(self) -> bool:
        return shutil.which(self.program) is not None

    def command(self, folder: Path, port: int, server: int) -> list[str]:
        config = self.config.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace(
            "127.0.0.1:8000", f"127.0.0.1:{server}"
        )
        if self.program == "haproxy":
            (folder / "haproxy.cfg").write_text(config)
            return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        (folder / "server.conf").write_text(config)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))
        return ["nginx", "-c", str(folder / "nginx.conf")]


NGINX_AS_IT_COMES = Proxy(
    program="nginx", config="server { listen 127.0.0.1:8080; location / { proxy_pass http://127.0.0.1:8000; } }"
)

PROXIES: Mapping[str, Proxy] = {
    "nginx": Proxy(program="nginx", config=(DOCS / "nginx.conf").read_text()),
    "haproxy": Proxy(program="haproxy", config=(DOCS / "haproxy.cfg").read_text()),
}


@asynccontextmanager
async def in_front_of(server: int, proxy: Proxy, folder: Path) -> AsyncIterator[int]:
    """Its port. It is killed in the end."""
    with reserved_port() as port:
        command = proxy.command(folder, port, server)
        async with await anyio.open_process(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as process:
            try:
                await until_accepting(port)
                yield port
            finally:
                process.kill()
