"""`dataclass(frozen=True, slots=True)` that is built nearly as quickly as one that is not frozen.

The `__init__` that the standard library writes for a frozen class calls `object.__setattr__` for every field: 12,600
instructions for eight of them, where an ordinary one takes 2,400; that was a tenth of a request. Here a new instance is
of a class of the same layout that can be written to while it is filled, and of its own from then on: 4,800. All else
is the standard library's: what is frozen stays frozen.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

_T = TypeVar("_T")


_WRITABLE = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
"""Both: they share a slot, and only where neither is Python's does CPython store at once."""


class _Anew:
    """Stands for a default that each instance gets one of its own of."""

    def __repr__(self) -> str:
        return "<factory>"


def _quickly_built(made: Any) -> Any:
    """The same class with another `__init__`, which comes to the same."""
    fields = dataclasses.fields(made)
    if hasattr(made, "__post_init__") or not all(field.init and not field.kw_only for field in fields):
        return made
    writable = {**_WRITABLE, "__module__": made.__module__, "__qualname__": made.__qualname__}
    names: dict[str, Any] = {
        "__made__": made,
        "__usual__": made.__init__,
        "__writable__": type(made.__name__, (made,), writable),
        "__set__": object.__setattr__,
        "__anew__": _Anew(),
    }
    parameters, values = [], {}
    for field in fields:
        name = field.name
        parameters.append(name)
        values[name] = name
        if field.default is not dataclasses.MISSING:
            names[f"__default_{name}__"] = field.default
            parameters[-1] = f"{name}=__default_{name}__"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"__make_{name}__"] = field.default_factory
            parameters[-1] = f"{name}=__anew__"
            values[name] = f"__make_{name}__() if {name} is __anew__ else {name}"
    source = [
        f"def make({', '.join(names)}):",
        f" def __init__(self, {', '.join(parameters)}):",
        "  if self.__class__ is not __made__:",  # it may have another layout
        f"   return __usual__(self, {', '.join(values.values())})",
        "  __set__(self, '__class__', __writable__)",
        *[f"  self.{name} = {value}" for name, value in values.items()],
        "  self.__class__ = __made__",
        " return __init__",
    ]
    found: dict[str, Any] = {}
    exec("\n".join(source), vars(sys.modules[made.__module__]), found)  # whose names the annotations are written in
    init = found["make"](**names)
    init.__qualname__, init.__annotations__ = made.__init__.__qualname__, made.__init__.__annotations__
    made.__init__ = init
    return made


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # for type checkers there is no difference
else:

    def dataclass(*, frozen: Literal[True], slots: Literal[True]) -> Callable[[type[_T]], type[_T]]:
        """See above. `dataclasses.replace`, `fields` and `asdict` know it."""
        return lambda cls: _quickly_built(dataclasses.dataclass(frozen=frozen, slots=slots)(cls))
