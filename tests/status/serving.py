"""A page and its stream from a real server on loopback, which does what a test says."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from ogw_asgi._status.page import render_page, render_parts
from ogw_asgi._status.snapshot import Snapshot

NONCE: Final = "n0nce"
POLICY: Final = (
    f"default-src 'none'; style-src 'nonce-{NONCE}'; script-src 'nonce-{NONCE}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, page: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.page = page
        self.streams: queue.Queue[queue.Queue[bytes | None]] = queue.Queue()
        self.ended: queue.Queue[None] = queue.Queue()
        self.status = 200
        self.full = False
        """As many follow as may: it serves the page, and no stream."""
        self.answers = threading.Event()
        """Not set: who asks for the page waits for it."""
        self.answers.set()
        self.instead = b""
        """What a host in front of the gateway answers everything with, well."""
        self.url = f"http://127.0.0.1:{self.server_port}/v1/_status"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        if self.server.instead:
            self._answer(self.server.instead, "text/html")
        elif self.path == "/v1/_status" and self.server.status == 200:
            self.server.answers.wait()
            with suppress(OSError):
                self._answer(self.server.page, "text/html; charset=utf-8")
        elif self.path == "/v1/_status/events?as=html" and self.server.status == 200 and not self.server.full:
            self._stream()
        else:
            self.send_error(503)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-security-policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        frames: queue.Queue[bytes | None] = queue.Queue()
        self._answer(b"retry: 50\n\n", "text/event-stream")
        self.server.streams.put(frames)
        try:
            while True:
                try:
                    frame = frames.get(timeout=0.05)
                except queue.Empty:
                    frame = b":\n\n"
                if frame is None:
                    break
                self.wfile.write(frame)
        except OSError:
            pass
        self.server.ended.put(None)


def frame(snapshot: Snapshot) -> bytes:
    told = json.dumps({"number": snapshot.number, "html": render_parts(snapshot)})
    return f"event: snapshot\ndata: {told}\n\n".encode()


@contextmanager
def served(snapshot: Snapshot) -> Iterator[Server]:
    with Server(render_page(snapshot, NONCE)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.answers.set()
            server.shutdown()
            thread.join()
