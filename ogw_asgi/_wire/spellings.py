"""The other spellings in which a secret comes back: escaped, in base64, or with its middle starred out. Pure."""

from __future__ import annotations

import html
import re
import string
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

MASK = "***"

_BASE64 = string.ascii_letters + string.digits + "+/-_="
_URL_SAFE = str.maketrans("+/", "-_")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([^A-Za-z0-9]))")
_STARS = re.compile(r"[*•●·…]+|\.{2,}|[xX#]{3,}")
_MARKS = re.compile(r"[%\\&*•●·…]|\.\.|[xX#]{3}")
_MOST_STARS = 100
_LONGEST_HINT = 64
_SHORTEST_HINT = 2
_SHORTEST_CUT = 8


def odd(text: str) -> bool:
    """Whether there may be an escape or a starred-out word in it."""
    return _MARKS.search(text) is not None


def unescaped(text: str) -> str:
    """`text` without one layer of percent-encoding, of the escapes of JSON and `repr`, and of HTML's."""
    if "%" in text:
        text = unquote(text)
    if "\\" in text:
        text = _ESCAPE.sub(_character, text)
    return html.unescape(text) if "&" in text else text


def _character(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2]
    return escape[3] if number is None else chr(int(number, 16))


def shortest_code(secret: str) -> int:
    """No code of it has fewer characters."""
    size = len(secret)
    return min(size * 4 // 3, (size + 1) * 4 // 3 - 2, (size + 2) * 4 // 3 - 3)


def codes(secret: str) -> Iterator[str]:
    """What of its base64 is the same whatever stands around it (`Bearer `, a name and a colon), in both alphabets."""
    raw = secret.encode("utf-8", "surrogatepass")
    for lead, mixed in enumerate((0, 2, 3)):
        coded = b64encode(bytes(lead) + raw).decode()
        code = coded[mixed : (lead + len(raw)) * 4 // 3]
        yield code
        if "+" in code or "/" in code:
            yield code.translate(_URL_SAFE)


def without_codes(text: str, found: Iterable[str]) -> str:
    """`text` with each word masked that holds one of these codes, or ends with the beginning of one."""
    for code in found:
        start = 0
        while (at := text.find(code, start)) >= 0:
            before = text[start:at]
            kept = before.rstrip(_BASE64)
            rest = text[at:].lstrip(_BASE64)
            text = f"{text[:start]}{kept}{MASK}{rest}"
            start += len(kept) + len(MASK)
        text = without_cut(text, code, _SHORTEST_CUT)
    return text


def without_cut(text: str, secret: str, shortest: int) -> str:
    """`text` with the beginning of a secret masked at its end: what is long was cut, perhaps within a secret."""
    for size in range(len(secret) - 1, shortest - 1, -1):
        if text.endswith(secret[:size]):
            return text[:-size] + MASK
    return text


def without_hints(text: str, secrets: Iterable[str]) -> str:
    """`text` with each starred-out word masked that shows how one of the secrets begins or ends (`sk-pr***cdef`)."""
    pieces: list[str] = []
    done = 0
    secrets = tuple(secrets)
    for count, stars in enumerate(_STARS.finditer(text)):
        if count == _MOST_STARS:  # nobody's message; to look on at all of them would take long
            return "".join([*pieces, text[done : stars.start()], MASK])
        before = max((_shown_before(text, stars.start(), secret) for secret in secrets), default=0)
        after = max((_shown_after(text, stars.end(), secret) for secret in secrets), default=0)
        if before or after:
            pieces += [text[done : max(done, stars.start() - before)], MASK]
            done = stars.end() + after
    return "".join([*pieces, text[done:]]) if pieces else text


def _shown_before(text: str, at: int, secret: str) -> int:
    for size in range(min(len(secret), at, _LONGEST_HINT), _SHORTEST_HINT - 1, -1):
        if text.startswith(secret[:size], at - size):
            return size
    return 0


def _shown_after(text: str, at: int, secret: str) -> int:
    for size in range(min(len(secret), len(text) - at, _LONGEST_HINT), _SHORTEST_HINT - 1, -1):
        if text.startswith(secret[-size:], at):
            return size
    return 0
