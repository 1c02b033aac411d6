"""Whatever the gateway itself says is OpenAI's: by its published schema, and by the types of its SDK.

Relayed traffic is not measured here: real providers break the schema daily, and what they send is theirs.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.shared import ErrorObject
from pydantic import BaseModel
from referencing import Registry, Resource

from ogw_asgi import Gateway, Limits, OpenAI, OpenAICompatible, Principal, Timeouts, bearer_tokens
from ogw_asgi.testing import (
    Break,
    Hang,
    RecordedRequest,
    Reply,
    ScriptedUpstream,
    SharedEvent,
    answer,
    asgi_client,
    chat,
    error,
    hang,
    stream,
    tokens,
)

pytestmark = pytest.mark.anyio

_SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "openai-chat.schema.json").read_text(encoding="utf-8"))
_REGISTRY: Registry[Any] = Registry().with_resource(_SCHEMA["$id"], Resource.from_contents(_SCHEMA))

QUESTION = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}
URL = "/v1/chat/completions"


def validate(kind: str, value: object) -> None:
    """`kind`: request, response, chunk or error."""
    Draft202012Validator({"$ref": f"{_SCHEMA['$id']}#/$defs/{kind}"}, registry=_REGISTRY).validate(value)


def sdk_type(model: type[BaseModel], value: object) -> None:
    """The SDK itself would take anything: it constructs its types without a look. This looks."""
    model.model_validate_json(json.dumps(value), strict=True)


@dataclass(frozen=True)
class Case:
    """A request to a gateway with one provider, and the status and code of what the gateway says to it."""

    status: int
    code: str | None
    reply: Reply = field(default_factory=chat)  # type: ignore[assignment]
    request: Mapping[str, Any] = field(default_factory=lambda: {"json": QUESTION})
    settings: Mapping[str, Any] = field(default_factory=dict)
    method: str = "POST"
    url: str = URL
