"""A gateway that is made in code, by `module:attribute`, as servers take it."""

from __future__ import annotations

import importlib
import sys
from contextlib import redirect_stdout
from functools import reduce
from pathlib import Path

from .._asgi.middleware import GatewayMiddleware
from ..exceptions import ConfigurationError, where
from ..gateway import Gateway
from .mending import in_code
from .report import Problem


class NotLoaded(Exception):
    """There is no gateway to be checked, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.says)
        self.problem = problem


def load(name: str) -> Gateway:
    """The gateway that `module:attribute` is, or that calling it returns; the attribute may have dots. The current
    directory is looked in first. Raises NotLoaded; whatever else the module's own code raises is in that."""
    module_name, _, path = name.partition(":")
    if not module_name or not path or not all(part.isidentifier() for part in path.split(".")):
        raise NotLoaded(Problem(name, "expected module:attribute, as in app:gateway"))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of the report
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself, or one that it needs.
        says = f"no module is named {error.name}" if error.name else "cannot be imported"
        mend = f"pip install {error.name}" if error.name and not module_name.startswith(error.name) else None
        raise NotLoaded(Problem(name, says, mend)) from None
    except (Exception, SystemExit) as error:
        raise NotLoaded(_failed(name, "importing it", error)) from None
    try:
        found = reduce(getattr, path.split("."), module)
    except AttributeError:
        raise NotLoaded(Problem(name, f"{module_name} has no attribute {path}")) from None
    if callable(found) and not isinstance(found, Gateway | GatewayMiddleware) and not hasattr(found, "router"):
        try:
            with redirect_stdout(sys.stderr):
                found = found()
        except (Exception, SystemExit) as error:
            raise NotLoaded(_failed(name, "calling it", error)) from None
    if isinstance(found, GatewayMiddleware):
        return found._gateway
    if isinstance(found, Gateway):
        return found
    kind = type(found).__name__
    says = f"expected a Gateway, or a callable without arguments that returns one; it is of the type {kind}"
    raise NotLoaded(Problem(name, says, f"name the gateway itself: {module_name}:gateway"))


def _failed(name: str, doing: str, error: BaseException) -> Problem:
    if isinstance(error, ConfigurationError):
        text = str(error)
        environment = text.partition(":")[0].isupper()
        mend = "python -m ogw_asgi check    # without an argument: all of it" if environment else in_code(text)
        return Problem(text.partition(":")[0], text.partition(": ")[2] or text, mend)
    # Of somebody else's code not even the text: it may hold anything.
    return Problem(name, f"{doing} raised {where(error)}")
