"""HTML that is escaped unless it was made here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from .words import plain


class Markup(str):
    """HTML, and no words that would have to be escaped."""

    __slots__ = ()


Child = str | int | None | Iterable["str | int | None"]
Attribute = str | int | float | bool | None

_VOID: Final = frozenset({"br", "link", "meta"})


def _written(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(plain(child))
    if child is None:
        return ""
    if isinstance(child, int):
        return str(child)
    return "".join(map(_written, child))


def together(*children: Child) -> Markup:
    return Markup("".join(map(_written, children)))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. `class_` is `class`, `aria_label` `aria-label`; True writes the name alone, None and False nothing.

    Raises ValueError for what the page's policy forbids: styles and handlers in attributes.
    """
    parts = [f"<{name}"]
    for attribute, value in attributes.items():
        if value is None or value is False:
            continue
        key = attribute.rstrip("_").replace("_", "-")
        if key == "style" or key.startswith("on"):
            raise ValueError(f"{key}: forbidden by the page's policy")
        parts.append(f" {key}" if value is True else f' {key}="{escape(plain(str(value)))}"')
    parts.append(">")
    if name not in _VOID:
        parts.extend(map(_written, children))
        parts.append(f"</{name}>")
    return Markup("".join(parts))
