"""EXTENSION: what differs between providers, as pure translation: requests are prepared here, sent elsewhere.

A provider of your own is a subclass of `Provider`; the values that its methods take and give are here, too.
"""

from .._values import ChatCall, Endpoint, Header, ProviderError, PublicHTTPS, Secret, Target, UpstreamRequest
from .azure import Azure
from .base import Provider, Unservable
from .compatible import OpenAICompatible
from .openai import OpenAI
from .vllm import VLLM

__all__ = [
    "Azure",
    "ChatCall",
    "Endpoint",
    "Header",
    "OpenAI",
    "OpenAICompatible",
    "Provider",
    "ProviderError",
    "PublicHTTPS",
    "Secret",
    "Target",
    "UpstreamRequest",
    "Unservable",
    "VLLM",
]
