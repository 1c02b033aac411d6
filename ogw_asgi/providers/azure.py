"""Azure OpenAI: the v1 surface, and classic deployments with a dated api-version."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import ClassVar

from .._values import NO_MODELS, Header, Target
from ..exceptions import ConfigurationError, shows_no_arguments
from .base import Client, KeySource, Provider, Unservable, check_url, is_text

# Deployment names become part of a path, and the caller may have written them: nothing that a path could understand.
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_API_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?\Z")


class Azure(Provider):
    """An Azure OpenAI resource.

    Args:
        endpoint: `https://RESOURCE.openai.azure.com` (or `.services.ai.azure.com`), with or without `/openai/v1`.
        api_key: a string is sent as `api-key`; a callable is a provider of Entra tokens, sent as a bearer.
        api_version: a dated version (`2024-10-21`) selects classic deployments, where the model names the deployment
            in the path; without it the v1 surface is used, where the body's model is the deployment.
        bearer: overrides how the key is sent.

    See Provider for the other arguments and for what is raised.
    """

    kind: ClassVar[str] = "azure"

    @shows_no_arguments
    def __init__(
        self,
        *,
        endpoint: str,
        api_key: KeySource = None,
        api_version: str | None = None,
        bearer: bool | None = None,
        name: str = "azure",
        models: Mapping[str, str] = NO_MODELS,
        headers: Mapping[str, str] | None = None,
        prefill: bool = False,
        client: Client = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not endpoint:
            raise ConfigurationError(f"{name}: endpoint: expected an absolute http(s) URL")
        resource = check_url(endpoint, f"{name}: endpoint").removesuffix("/v1").removesuffix("/openai")
        if api_version is not None and not (is_text(api_version) and _API_VERSION.match(api_version)):
            raise ConfigurationError(f"{name}: api_version: expected YYYY-MM-DD or YYYY-MM-DD-preview, or none for v1")
        self.api_version = api_version
        self._bearer = callable(api_key) if bearer is None else bearer
        super().__init__(
            name=name,
            base_url=f"{resource}/openai/deployments" if api_version else f"{resource}/openai/v1",
            api_key=api_key,
            models=models,
            headers=headers,
            prefill=prefill,
            client=client,
            ssl_context=ssl_context,
        )

    def url(self, target: Target) -> str:
        if self.api_version is None:
            return f"{self.base_url}/chat/completions"
        if not _DEPLOYMENT.match(target.model):
            raise Unservable
        return f"{self.base_url}/{target.model}/chat/completions?api-version={self.api_version}"

    def models_url(self) -> str:
        # These are the models that the resource could deploy. No key that may ask for answers may list deployments.
        if self.api_version is None:
            return super().models_url()
        return f"{self.base_url.removesuffix('/deployments')}/models?api-version={self.api_version}"

    def authorize(self, key: str) -> list[Header]:
        return super().authorize(key) if self._bearer else [(b"api-key", key.encode("ascii"))]
