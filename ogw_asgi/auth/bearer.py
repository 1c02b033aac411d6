"""Bearer tokens from settings, compared by digest in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from starlette.requests import HTTPConnection

from .._values import Principal
from ..exceptions import ConfigurationError, shows_no_arguments

Tokens = Mapping[str | Principal, Iterable[str]]
# A mapping is invariant in its keys: `dict[str, ...]`, the commonest of all, is no `Tokens` to a type checker.

TOKEN_CHARS = 32
"""A shorter one cannot hold what makes a token unguessable: `secrets.token_urlsafe(32)` has 43, as hex digits 64."""

_DIGEST = "sha256:"
_hex_digest = re.compile(r"sha256:([0-9a-fA-F]{64})").fullmatch

logger = logging.getLogger("ogw_asgi")


@shows_no_arguments
def bearer_tokens(
    tokens: Mapping[str, Iterable[str]] | Mapping[Principal, Iterable[str]] | Tokens | Iterable[str],
) -> Callable[[HTTPConnection], Principal | None]:
    """An authenticator over fixed tokens.

    A token may be given as its digest, `sha256:` and 64 hex digits, so that the settings hold nothing that opens doors:

        python -c "import hashlib, secrets; t = secrets.token_urlsafe(32); \
            print(t, 'sha256:' + hashlib.sha256(t.encode()).hexdigest())"

    Rotation: list the new token beside the old one, move the callers over, drop the old one. Without a restart, put a
    function of your own in front, and let it ask whichever is the latest:

        current = bearer_tokens(load())               # and again, as `current`, whenever the tokens change
        gateway = Gateway(authenticate=lambda connection: current(connection), ...)

    Args:
        tokens: principal (or just its id) -> its tokens, several for rotation; or tokens alone, for one principal
            named `caller`. Read once.

    Raises:
        ConfigurationError: no tokens at all, or one that is no visible ASCII or stands twice. Never with the token, and
            principals are named by their places: who has the mapping the wrong way round has tokens there.
    """
    grouped = cast(Tokens, tokens if isinstance(tokens, Mapping) else {"caller": tokens})
    entries: list[tuple[bytes, Principal]] = []
    short: list[str] = []
    for place, (who, theirs) in enumerate(grouped.items(), 1):
        principal = who if isinstance(who, Principal) else Principal(who)
        listed = _listed(place, theirs)
        entries += [(_read(place, token), principal) for token in listed]
        if any(len(token) < TOKEN_CHARS for token in listed):
            short.append(str(place))
    if not entries:
        raise ConfigurationError("bearer_tokens: expected at least one token")
    if len({digest for digest, _ in entries}) != len(entries):
        raise ConfigurationError("bearer_tokens: one token stands twice")
    if short:
        logger.warning(
            "short_tokens principals=[%s]: whoever has time can guess a token of under %d characters. "
            "secrets.token_urlsafe(32) makes one that nobody can",
            ", ".join(short),
            TOKEN_CHARS,
        )

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

    # How many there are, for `python -m ogw_asgi check`: neither who nor what opens for them.
    authenticate.principals = len(grouped)  # type: ignore[attr-defined]
    return authenticate


def _listed(place: int, tokens: object) -> list[str]:
    if isinstance(tokens, str | bytes) or not isinstance(tokens, Iterable):
        raise ConfigurationError(f"bearer_tokens: principal {place}: expected a list of tokens")
    listed = list(tokens)
    if not all(isinstance(token, str) and token and all("!" <= char <= "~" for char in token) for token in listed):
        raise ConfigurationError(f"bearer_tokens: principal {place}: a token must be visible ASCII without blanks")
    return listed


def _read(place: int, token: str) -> bytes:
    """The digest of a token, or the one that stands in its place. What a caller sends is never taken for a digest."""
    if not token.startswith(_DIGEST):
        return _digest(token)
    found = _hex_digest(token)
    if found is None:
        raise ConfigurationError(f"bearer_tokens: principal {place}: expected 64 hex digits behind {_DIGEST}")
    return bytes.fromhex(found[1])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()
