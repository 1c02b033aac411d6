"""Lines that mend what a variable holds and keep the rest of it: what is wrong goes, or becomes what was meant.

They are shown, so nothing is in them that may be a secret: of a URL no userinfo and no query, of an entry no fields but
its own two, and a variable's name only where it looks like one.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from .._environment.names import entries_of, object_in, own_names
from .._environment.providers import good_entries
from ..exceptions import ConfigurationError
from ..providers.base import check_url
from .mending import export, key_variable

VARIABLES = {"openai": "OPENAI_API_KEY", "azure": "AZURE_OPENAI_ENDPOINT", "vllm": "VLLM_ENDPOINT"}
"""Which variable makes each of the providers that have some of their own."""

SOMEWHERE = "https://HOST/v1"

_EXAMPLES = {"azure": {"gpt-4o": "prod-gpt4o"}, "openai": {"gpt-4o": "gpt-4o-2024-11-20"}}
_name = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII).fullmatch
_host = re.compile(r"(?:(?:[a-z0-9-]+\.)+[a-z]{2,}|localhost|[0-9]+(?:\.[0-9]+){3})(?::[0-9]+)?(?:/.*)?", re.ASCII)
_items = re.compile(r"[\w.-]+(?:/[^\s\"',\]]+)?", re.ASCII)
_looks_like_a_variable = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)+", re.ASCII).fullmatch


def meant(env: Mapping[str, str]) -> list[str]:
    """The providers that there will be when all is mended: by their good names, in the order in which they are made."""
    return [*own_names(env), *_entries(env)]


def named_in_sequence(env: Mapping[str, str]) -> list[str]:
    """The providers that the sequence names, rightly or not."""
    names = [item.partition("/")[0] for item in _sequence(env.get("OGW_FAILOVER_SEQUENCE", ""))]
    return list(dict.fromkeys(names))


def export_sequence(env: Mapping[str, str]) -> str:
    names = _to_choose_from(env)
    kept = []
    for item in _sequence(env.get("OGW_FAILOVER_SEQUENCE", "")):
        provider, _, model = item.partition("/")
        near = _nearest(provider, names)
        if near is not None:
            kept.append(f"{near}/{model}" if model else near)
    return sequence_of(kept or names)


def sequence_of(providers: Iterable[str]) -> str:
    return export("OGW_FAILOVER_SEQUENCE", json.dumps(list(providers)))


def export_models(env: Mapping[str, str], needed: str | None = None) -> str:
    """`needed`: a provider that has to have a map."""
    names = _to_choose_from(env)
    kept: dict[str, dict[str, str]] = {}
    for provider, given in object_in(env.get("OGW_MODELS", "{}")).items():
        near = _nearest(provider, names)
        if isinstance(given, list):
            given = {name: name for name in given if isinstance(name, str)}
        pairs = given.items() if isinstance(given, dict) else ()
        good = {asked: served for asked, served in pairs if asked and isinstance(served, str) and served}
        if near is not None and good:
            kept[near] = kept.get(near, {}) | good
    if needed is None and not kept:
        needed = "azure" if "azure" in names else names[0]
    if needed is not None and needed not in kept:
        kept[needed] = _EXAMPLES.get(needed, {"*": "MODEL"})
    return export("OGW_MODELS", json.dumps(kept))


def export_providers(env: Mapping[str, str], changed: str | None = None, **fields: str) -> str:
    """`fields`: what the provider `changed` is to have besides."""
    entries = _entries(env)
    if changed is not None:
        entries[changed] = entries.get(changed, {"base_url": SOMEWHERE}) | fields
    return export("OGW_PROVIDERS", json.dumps(entries) if entries else None)


def export_missing_key(env: Mapping[str, str], provider: str) -> str:
    """The key of an entry whose `api_key_env` names no variable; or the entry, where that is no variable's name."""
    entry = object_in(env["OGW_PROVIDERS"]).get(provider)
    named = entry.get("api_key_env") if isinstance(entry, dict) else None
    return export(named) if _is_shown(named) else export_providers(env)


def export_key_of(env: Mapping[str, str], provider: str) -> str:
    """The key of an entry that has one, or has none yet."""
    variable = _entries(env).get(provider, {}).get("api_key_env")
    if variable is not None:
        return export(variable, "KEY")
    variable = key_variable(provider)
    return f"{export(variable, 'KEY')}; {export_providers(env, provider, api_key_env=variable)}"


def export_endpoints(env: Mapping[str, str]) -> str:
    good = good_entries(entries_of(env["OGW_VLLM_ALLOWED_ENDPOINTS"]), [])
    return export("OGW_VLLM_ALLOWED_ENDPOINTS", ",".join(good) or None)


def mended_url(url: object) -> str | None:
    """What was meant by a base URL that is refused, or the good one that it is; None: that cannot be told, or shown."""
    if not isinstance(url, str):
        return None
    url = url.strip()
    if _host.fullmatch(url):  # a key is none: it has no dots, or else capitals
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if "@" in parts.path + parts.query + parts.fragment:  # a password with a slash in it may have ended up there
        return None
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    try:
        return check_url(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}", "")
    except ConfigurationError:
        return None


def _entries(env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """OGW_PROVIDERS as it may have been meant."""
    given = object_in(env.get("OGW_PROVIDERS", "{}"))
    taken = [*own_names(env), *(name for name in given if _name(name))]
    mended = {}
    for name, entry in given.items():
        new = name
        if not _name(name) or name in own_names(env):
            slug = _slug(name)
            others = (f"{slug}-{number}" for number in count(2))
            new = next(one for one in chain([slug], others) if one not in taken)
            taken.append(new)
        mended[new] = _entry(new, entry, env)
    return mended


def _entry(name: str, entry: Any, env: Mapping[str, str]) -> dict[str, str]:
    given = entry if isinstance(entry, dict) else {"base_url": entry}
    mended = {"base_url": mended_url(given.get("base_url")) or SOMEWHERE}
    variable = given.get("api_key_env")
    if isinstance(variable, str) and (variable in env or _is_shown(variable)):
        mended["api_key_env"] = variable
    elif variable is not None or any("key" in field for field in given):
        mended["api_key_env"] = key_variable(name)
    return mended


def _is_shown(variable: object) -> TypeGuard[str]:
    """It may be the key itself, in the wrong place."""
    return isinstance(variable, str) and len(variable) <= 40 and _looks_like_a_variable(variable) is not None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).lstrip("_.-").rstrip("-")[:60] or "own"


def _sequence(text: str) -> list[str]:
    """Its strings; of what is no JSON, what looks like items."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = _items.findall(text)
    return [item for item in (given if isinstance(given, list) else [given]) if isinstance(item, str)]


def _to_choose_from(env: Mapping[str, str]) -> list[str]:
    """Without any provider: those that will be there when the line for that is followed."""
    named = [name for name in named_in_sequence(env) if name in VARIABLES]
    return meant(env) or named or ["openai"]


def _nearest(name: str, names: list[str]) -> str | None:
    if name in names:
        return name
    return next(iter(difflib.get_close_matches(_slug(name), names, n=1, cutoff=0.6)), None)
