"""The words by which providers say what is wrong, in lower case: codes, types, and parts of messages."""

from __future__ import annotations

# Money: waiting seconds never helps, and only the operator can (OpenAI's four spend codes and their elders).
MONEY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_not_active",
        "enforced_spend_limit_reached",
    }
)
LENGTH = frozenset({"context_length_exceeded", "exceed_context_size_error"})
LENGTH_TEXTS = (
    "maximum context length",
    "context length exceeded",
    "exceeds the available context size",
    "is longer than the model's context length",
    "exceeds the maximum number of tokens allowed",
    "input tokens exceed the configured limit",
    "exceed context limit",
    "maximum input length is",
    "prompt is too long",
    "inputs tokens + max_new_tokens must be",
    "cannot be greater than max_model_len",
)
POLICY = frozenset(
    {
        "invalid_prompt",
        "content_policy_violation",
        "cyber_policy",
        "content_filter",
        "responsibleaipolicyviolation",
    }
)
UNSUPPORTED = frozenset(
    {
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
        "unrecognized_request_argument",
    }
)
UNSUPPORTED_TEXTS = (
    "unrecognized request argument",
    "extra inputs are not permitted",
    "unknown parameter",
    "unsupported parameter",
    "unsupported value",
)
KEY_BEGINNINGS = ("incorrect api key", "invalid api key", "api key not valid", "api key not found", "api key expired")
KEY = frozenset(
    {
        "401",
        "403",
        "invalid_api_key",
        "authentication_error",
        "authenticationerror",
        "invalid_authentication",
        "unauthenticated",
        "unauthorized",
        "forbidden",
        "access_denied",
        "permission_denied",
        "permission_error",
        "permissiondenied",
        "permissiondeniederror",
    }
)
BLAMES_THE_REQUEST = LENGTH | POLICY | UNSUPPORTED | {"400", "413", "422", "invalid_request_error"}
