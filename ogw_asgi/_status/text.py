from __future__ import annotations

from .snapshot import Snapshot


def render_text(snapshot: Snapshot) -> str:
    return f"ogw_asgi {snapshot.version}\n"
