"""OpenAI itself."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import ClassVar

from .._values import NO_MODELS
from ..exceptions import shows_no_arguments
from .base import Client, KeySource, Provider


class OpenAI(Provider):
    """OpenAI's own API. `organization` and `project` become the headers that its SDK sends.

    See Provider for the other arguments and for what is raised.
    """

    kind: ClassVar[str] = "openai"

    @shows_no_arguments
    def __init__(
        self,
        *,
        api_key: KeySource = None,
        base_url: str = "https://api.openai.com/v1",
        organization: str | None = None,
        project: str | None = None,
        name: str = "openai",
        models: Mapping[str, str] = NO_MODELS,
        headers: Mapping[str, str] | None = None,
        prefill: bool = False,
        client: Client = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if organization:
            headers = {**(headers or {}), "openai-organization": organization}
        if project:
            headers = {**(headers or {}), "openai-project": project}
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
