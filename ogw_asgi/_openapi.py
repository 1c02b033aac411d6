"""The contract as OpenAPI operations, kept by hand: what `/docs` shows of headers, body and answers. Data only."""

from __future__ import annotations

from typing import Any


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": "header", "name": name, "required": False, "description": description, "schema": schema}


_MILLISECONDS = {"type": "integer", "minimum": 1}
_NULLABLE_NUMBER = {"type": ["number", "null"]}
_JSON_OR_TEXT = "An object, or a string that holds it as JSON."

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "attempts": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["provider", "outcome", "status", "code", "duration_ms"],
                        "properties": {
                            "provider": {"type": "string"},
                            "outcome": {"type": "string"},
                            "status": {"type": ["integer", "null"]},
                            "code": {"type": ["string", "null"]},
                            "duration_ms": {"type": "integer"},
                        },
                    },
                },
            },
        }
    },
}

PARAMETERS: list[dict[str, Any]] = [
    _header(
        "x-opengateway-failover-sequence",
        "JSON array of the targets to try, in order: a provider's name, or `provider/model`. Empty or absent: the "
        "configured sequence. A target that directly follows itself is a retry in place.",
        {"type": "string", "maxLength": 8192, "examples": ['["openai","azure","vllm"]']},
    ),
    _header(
        "x-opengateway-vllm-endpoint",
        "Absolute http(s) URL of a vLLM server, from the operator's allow-list.",
        {"type": "string", "maxLength": 2048},
    ),
    _header(
        "x-opengateway-vllm-api-key",
        "The key for that endpoint; needs `x-opengateway-vllm-endpoint`.",
        {"type": "string"},
    ),
    _header(
        "x-opengateway-timeout",
        "Milliseconds from sending the call to a provider until its first chunk; bounds each attempt on its own.",
        {**_MILLISECONDS, "maximum": 3_600_000},
    ),
    _header(
        "x-opengateway-on-stream-break",
        "What happens when a stream breaks after its first chunk.",
        {"type": "string", "enum": ["error"]},
    ),
    _header(
        "x-opengateway-success-status",
        "The status of a successful answer.",
        {"type": "string", "enum": ["200", "201"]},
    ),
    _header(
        "x-opengateway-hedge-after",
        "Milliseconds without a first chunk after which a second target is asked beside the first; `0` keeps it off.",
        {"type": "integer", "minimum": 0, "maximum": 3_600_000},
    ),
]

REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256, "examples": ["gpt-4o"]},
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10_000,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {
                        "type": "string",
                        "enum": ["system", "user", "assistant", "tool", "developer", "function"],
                    },
                    "content": {"type": ["string", "null", "array"]},
                    "name": {"type": "string"},
                    "tool_calls": {"type": ["array", "string"], "description": _JSON_OR_TEXT},
                    "tool_call_id": {"type": "string"},
                },
            },
            "examples": [[{"role": "user", "content": "Say hello."}]],
        },
        "frequency_penalty": {**_NULLABLE_NUMBER, "minimum": -2, "maximum": 2},
        "logit_bias": {"type": ["object", "string", "null"], "description": _JSON_OR_TEXT},
        "logprobs": {"type": ["boolean", "null"]},
        "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
        "max_tokens": {"type": ["integer", "null"]},
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
        "presence_penalty": {**_NULLABLE_NUMBER, "minimum": -2, "maximum": 2},
        "response_format": {"type": ["object", "string"], "description": _JSON_OR_TEXT},
        "seed": {"type": ["integer", "null"]},
        "service_tier": {"type": ["string", "null"]},
        "stop": {"type": ["string", "array", "null"], "minItems": 1, "maxItems": 4, "items": {"type": "string"}},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {"type": ["object", "string", "null"], "description": _JSON_OR_TEXT},
        "temperature": {**_NULLABLE_NUMBER, "minimum": 0, "maximum": 2},
        "top_p": {**_NULLABLE_NUMBER, "minimum": 0, "maximum": 1},
        "tools": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"type": "string"},
                    "function": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "description": {"type": "string"},
                            "parameters": {"type": "object"},
                            "strict": {"type": ["boolean", "null"]},
                        },
                    },
                },
            },
        },
        "tool_choice": {"type": ["string", "object"], "description": "A word, an object, or a string that holds one."},
    },
    "additionalProperties": True,
}

_ANSWER_HEADERS: dict[str, Any] = {
    "x-opengateway-provider": {"description": "Who answered.", "schema": {"type": "string"}},
    "x-opengateway-attempts": {"description": "How many attempts were made.", "schema": {"type": "integer"}},
    "x-request-id": {"description": "The caller's, or a new one.", "schema": {"type": "string"}},
    "server-timing": {"description": "One entry per attempt.", "schema": {"type": "string"}},
}

_ERRORS = {
    400: "A header or the body is not what the contract asks for, or the provider blames the request.",
    401: "Missing or wrong bearer token.",
    403: "The token may not use this provider, model or endpoint.",
    404: "A model that every target says it does not know.",
    408: "The upload stalled.",
    413: "The body is over the limit.",
    415: "The content type is not JSON.",
    429: "Every attempt was rate limited, or the caller has as many requests in flight as it may.",
    502: "Every attempt failed.",
    503: "Nothing could be tried, the gateway is full, or the caller could not be authenticated.",
    504: "Every attempt ran out of time.",
    508: "The request came back to this gateway.",
}

_COMPLETIONS: dict[str, Any] = {
    "summary": "Create a chat completion, with failover",
    "description": "Tries the targets in order and streams the first good answer through.",
    "status_code": 201,
    "responses": {
        201: {
            "description": "The provider's completion, or its stream for `stream: true`.",
            "headers": _ANSWER_HEADERS,
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        **{
            status: {"description": text, "content": {"application/json": {"schema": ERROR_SCHEMA}}}
            for status, text in _ERRORS.items()
        },
    },
    "openapi_extra": {
        "parameters": PARAMETERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST_SCHEMA}}},
    },
}


def completions_operation(success_status: int) -> dict[str, Any]:
    """The operation as FastAPI's `add_api_route` takes it, under the gateway's own success status."""
    responses = dict(_COMPLETIONS["responses"])
    responses[success_status] = responses.pop(201)
    return {**_COMPLETIONS, "status_code": success_status, "responses": responses}


MODELS_OPERATION: dict[str, Any] = {
    "summary": "List the configured models",
    "description": "From the gateway's settings; no provider is called.",
    "responses": {200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
}
