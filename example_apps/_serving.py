"""Serves an ASGI app with uvicorn beside the program that talks to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import uvicorn
except ImportError:
    raise SystemExit('This needs the extra "demo": pip install -e ".[demo]"') from None


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """Serves `app` on 127.0.0.1 in a thread, on a free port unless one is named, and yields its base URL.

    In a thread, because then uvicorn leaves the signals alone and Ctrl-C reaches the program that uses this.
    Raises OSError when the port is taken, RuntimeError when the app does not start.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("the app did not start")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            try:
                thread.join()
            except KeyboardInterrupt:  # once more: not while the server still has the socket
                server.force_exit = True
                thread.join()
