"""How many tokens a call took, as its provider counted them. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider reported, in tokens. None: it did not say, which is not 0.

    Attributes:
        input_tokens, output_tokens: all of the prompt, and all of the answer.
        cache_read_tokens, cache_write_tokens: of the input tokens.
        reasoning_tokens: of the output tokens.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None when one of them is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens
