"""OpenAI's published schema of the chat completions API, for what the gateway itself originates.

Never for relayed traffic: real providers break it daily, and what they send is theirs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource

_BUNDLE = json.loads((Path(__file__).parent.parent / "data" / "openai-chat.schema.json").read_text(encoding="utf-8"))
_REGISTRY: Registry[Any] = Registry().with_resource(_BUNDLE["$id"], Resource.from_contents(_BUNDLE))
_ERROR = Draft202012Validator({"$ref": f"{_BUNDLE['$id']}#/$defs/error"}, registry=_REGISTRY)

_FIELDS = ["message", "type", "param", "code"]
_ATTEMPT_FIELDS = ["provider", "outcome", "status", "code", "duration_ms"]


def error_of(reply: httpx.Response) -> dict[str, Any]:
    """The envelope's content, after everything has been checked that holds for every error (contract, section 6)."""
    envelope = reply.json()
    _ERROR.validate(envelope)
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert 1 <= len(reply.headers["x-request-id"]) <= 128
    assert list(envelope) == ["error"]
    error: dict[str, Any] = envelope["error"]
    assert list(error) == [*_FIELDS, *(["attempts"] if "attempts" in error else [])]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    for attempt in error.get("attempts", []):
        assert list(attempt) == _ATTEMPT_FIELDS
        assert isinstance(attempt["duration_ms"], int)
    return error
