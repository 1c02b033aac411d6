"""Any other server that speaks OpenAI's chat completions."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import ClassVar

from .._values import NO_MODELS
from ..exceptions import ConfigurationError, shows_no_arguments
from .base import Client, KeySource, Provider


class OpenAICompatible(Provider):
    """`OpenAICompatible("groq", base_url="https://api.groq.com/openai/v1", api_key=...)`.

    See Provider for the arguments and for what is raised.
    """

    kind: ClassVar[str] = "compatible"

    @shows_no_arguments
    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: KeySource = None,
        models: Mapping[str, str] = NO_MODELS,
        headers: Mapping[str, str] | None = None,
        prefill: bool = False,
        client: Client = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not base_url:
            raise ConfigurationError(f"{name}: base_url: expected an absolute http(s) URL")
        super().__init__(
            name=name,
            base_url=base_url,
            api_key=api_key,
            models=models,
            headers=headers,
            prefill=prefill,
            client=client,
            ssl_context=ssl_context,
        )
