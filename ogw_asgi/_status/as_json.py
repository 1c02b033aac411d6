from __future__ import annotations

import json
from dataclasses import asdict

from .snapshot import Snapshot


def render_json(snapshot: Snapshot) -> bytes:
    return json.dumps(asdict(snapshot)).encode()
