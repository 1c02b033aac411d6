"""Bearer tokens from settings, compared by digest in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from starlette.requests import HTTPConnection

from .._values import Principal
from ..exceptions import ConfigurationError, shows_no_arguments

Tokens = Mapping[str | Principal, Iterable[str]]
# A mapping is invariant in its keys: `dict[str, ...]`, the commonest of all, is no `Tokens` to a type checker.


@shows_no_arguments
def bearer_tokens(
    tokens: Mapping[str, Iterable[str]] | Mapping[Principal, Iterable[str]] | Tokens | Iterable[str],
) -> Callable[[HTTPConnection], Principal | None]:
    """An authenticator over fixed tokens.

    Args:
        tokens: principal (or just its id) -> its tokens, several for rotation; or tokens alone, for one principal
            named `caller`.

    Raises:
        ConfigurationError: no tokens at all, or one that is no visible ASCII or stands twice. Never with the token.
    """
    grouped = cast(Tokens, tokens if isinstance(tokens, Mapping) else {"caller": tokens})
    entries: list[tuple[bytes, Principal]] = []
    for place, (who, theirs) in enumerate(grouped.items(), 1):
        principal = who if isinstance(who, Principal) else Principal(who)
        # Named by its place: who has the mapping the wrong way round has a token where the principal should be.
        if isinstance(theirs, str):
            raise ConfigurationError(f"bearer_tokens: principal {place}: expected a list of tokens, not one string")
        for token in theirs:
            if not token or not all("!" <= char <= "~" for char in token):
                raise ConfigurationError(f"bearer_tokens: principal {place}: a token is visible ASCII without blanks")
            entries.append((_digest(token), principal))
    if not entries:
        raise ConfigurationError("bearer_tokens: expected at least one token")
    if len({digest for digest, _ in entries}) != len(entries):
        raise ConfigurationError("bearer_tokens: one token stands twice")

    def authenticate(connection: HTTPConnection) -> Principal | None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        digest = _digest(token.strip(" "))
        found: Principal | None = None
        # Against every entry, so that the time taken tells nothing of which one came near.
        for known, principal in entries:
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    return authenticate


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()
