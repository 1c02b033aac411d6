"""A vLLM server, or several that callers name (contract, sections 2 and 7)."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import ClassVar

from .._values import NO_MODELS
from ..exceptions import ConfigurationError, shows_no_arguments
from .base import Client, KeySource, Provider, check_url


class VLLM(Provider):
    """A self-hosted vLLM server.

    Args:
        endpoint: its URL, with or without a trailing `/v1`. None: only caller-named endpoints.
        allowed_endpoints: exact origins that callers may name in `x-opengateway-vllm-endpoint`; none out of the box.
            The configured key never goes there, and connections there are never kept.

    See Provider for the other arguments and for what is raised.
    """

    kind: ClassVar[str] = "vllm"
    self_hosted: ClassVar[bool] = True
    prefill_fields: ClassVar[Mapping[str, bool]] = {"continue_final_message": True, "add_generation_prompt": False}

    @shows_no_arguments
    def __init__(
        self,
        *,
        endpoint: str | None = None,
        api_key: KeySource = None,
        allowed_endpoints: Iterable[str] = (),
        name: str = "vllm",
        models: Mapping[str, str] = NO_MODELS,
        headers: Mapping[str, str] | None = None,
        prefill: bool = True,
        client: Client = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        base = check_url(endpoint, f"{name}: endpoint").removesuffix("/v1") + "/v1" if endpoint else ""
        if isinstance(allowed_endpoints, str) or not isinstance(allowed_endpoints, Iterable):
            raise ConfigurationError(f"{name}: allowed_endpoints: expected a list of URLs, not one string")
        self.allowed_endpoints = tuple(allowed_endpoints)
        super().__init__(
            name=name,
            base_url=base,
            api_key=api_key,
            models=models,
            headers=headers,
            prefill=prefill,
            client=client,
            ssl_context=ssl_context,
        )
