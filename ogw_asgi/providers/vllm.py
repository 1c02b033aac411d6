"""A vLLM server, or several that callers name (contract, sections 2 and 7)."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import ClassVar

from .._values import NO_MODELS, PublicHTTPS
from ..exceptions import ConfigurationError, shows_no_arguments
from .base import Client, KeySource, Provider, check_url


class VLLM(Provider):
    """A self-hosted vLLM server.

    Args:
        endpoint: its URL, with or without a trailing `/v1`. None: only caller-named endpoints.
        allowed_endpoints: what callers may name in `x-opengateway-vllm-endpoint`; nothing out of the box. Each entry is
            an origin (`http://gpu-7.internal:8000`), a wildcard with its networks (`http://*.gpu.internal:8000 in
            10.20.0.0/16`), a network of addresses (`http://10.20.0.0/16:8000`), or `PublicHTTPS()`; instead of a port,
            a range (`8000-8010`). The configured key never goes there, connections there are never kept, and what a
            name resolves to is checked before each of them (contract, section 7).

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
        allowed_endpoints: Iterable[str | PublicHTTPS] = (),
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
