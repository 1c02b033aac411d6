from __future__ import annotations

from .snapshot import Snapshot


def render_page(snapshot: Snapshot, nonce: str) -> bytes:
    return f"<!doctype html><script nonce='{nonce}'></script>{render_parts(snapshot)}".encode()


def render_parts(snapshot: Snapshot) -> str:
    return f"<p>{snapshot.number}</p>"
