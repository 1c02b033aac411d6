"""EXTENSION: what differs between providers, as pure translation: requests are prepared here, sent elsewhere."""

from .azure import Azure
from .base import Provider
from .compatible import OpenAICompatible
from .openai import OpenAI
from .vllm import VLLM

__all__ = ["Azure", "OpenAI", "OpenAICompatible", "Provider", "VLLM"]
