"""May this caller-named endpoint be called? The operator's list says so (contract, section 7).

Exact origins only: scheme, host and port as one value, compared whole. Nothing is resolved here; what an
allowed name resolves to is judged where connections are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .._values import Endpoint
from ..exceptions import ConfigurationError

# A wildcard, a list of networks, a network for a host, a range of ports.
_LATER_FORMS = re.compile(r"\*|\sin\s|://[^/]*/\d|:\d+-\d")


@dataclass(frozen=True, slots=True)
class AllowList:
    """The origins that callers may name. An empty list allows nothing."""

    origins: frozenset[Endpoint] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str], read: Callable[[str], Endpoint]) -> AllowList:
        """`read` is the strict reader of callers' endpoints, raising ValueError: one syntax for both sides.

        Raises ConfigurationError, which names an entry by its place: its text may hold a password.
        """
        if isinstance(entries, str):
            raise ConfigurationError("allowed_endpoints: expected a list of URLs, not one string")
        origins = set()
        for place, entry in enumerate(entries, 1):
            if not isinstance(entry, str):
                raise ConfigurationError(f"allowed_endpoints, entry {place}: expected a URL as a string")
            if _LATER_FORMS.search(entry):
                raise ConfigurationError(
                    f"allowed_endpoints, entry {place}: wildcards, networks and port ranges come with a later"
                    " release; write each origin out, as in http://gpu-7.internal:8000"
                )
            try:
                origins.add(read(entry.strip()))
            except ValueError as error:
                raise ConfigurationError(f"allowed_endpoints, entry {place}: {error}") from None
        return cls(frozenset(origins))

    def allows(self, endpoint: Endpoint) -> bool:
        return endpoint in self.origins
