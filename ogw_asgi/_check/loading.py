"""A gateway that is made in code, by `module:attribute`, as servers take it."""

from __future__ import annotations

import importlib
import inspect
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from .._asgi.middleware import GatewayMiddleware
from ..exceptions import ConfigurationError, where
from ..gateway import Gateway
from .mending import in_code
from .printing import plain
from .report import Problem


class NotLoaded(Exception):
    """There is no gateway to be checked, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.says)
        self.problem = problem


class NotAName(ValueError):
    """It cannot be the name of a gateway, whatever there is. The text says what was expected."""


def load(name: str) -> Gateway:
    """The gateway that `module:attribute` is, or that calling it returns; the attribute may have dots. The current
    directory is looked in first. Raises NotAName; NotLoaded, which has whatever else the module's own code raises."""
    module_name, path = _parts(name)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of the report
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself, or one that it needs.
        says = f"no module is named {error.name}" if error.name else "cannot be imported"
        ours = not error.name or f"{module_name}.".startswith(f"{error.name}.")
        mend = "call it where that module is, or set PYTHONPATH" if ours else f"pip install {error.name}"
        raise NotLoaded(Problem(name, says, mend)) from None
    except (Exception, SystemExit) as error:
        raise NotLoaded(_failed(name, "importing it", error, f"import {module_name}")) from None
    try:
        found = reduce(getattr, path.split("."), module)
    except AttributeError:
        says = f"{module_name} has no attribute {path}"
        raise NotLoaded(Problem(name, says, _instead(module_name, module))) from None
    if callable(found) and not isinstance(found, Gateway | GatewayMiddleware) and not hasattr(found, "router"):
        found = _made_by(found, name)
    if isinstance(found, GatewayMiddleware):
        return found._gateway
    if isinstance(found, Gateway):
        return found
    kind = type(found).__name__
    says = f"expected a Gateway, or a callable without arguments that returns one; it is of the type {kind}"
    raise NotLoaded(Problem(name, says, _instead(module_name, module)))


def _parts(name: str) -> tuple[str, str]:
    module, _, path = name.partition(":")
    named = all(module.split(".")) and not set("/\\ ") & set(module) and not module.endswith(".py")
    attribute = all(part.isidentifier() for part in path.split("."))
    if named and attribute:
        return module, path
    near = ".".join(part for part in module.removesuffix(".py").replace("\\", "/").split("/") if part.strip("."))
    perhaps = f"{near or 'app'}:{path if attribute else 'gateway'}"
    raise NotAName(f"expected module:attribute, as in app:gateway, with dots and no path; perhaps {plain(perhaps)}")


def _made_by(make: Callable[..., Any], name: str) -> Any:
    """What a factory returns."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # it has none that could be read
        signature = inspect.Signature()
    try:
        signature.bind()
    except TypeError:
        says = "expected a callable without arguments; it needs some"
        raise NotLoaded(Problem(name, says, "def make_gateway() -> Gateway: ...    # and name that")) from None
    try:
        with redirect_stdout(sys.stderr):
            made = None if inspect.iscoroutinefunction(make) else make()
    except (Exception, SystemExit) as error:
        module, _, path = name.partition(":")
        first = path.partition(".")[0]
        raise NotLoaded(_failed(name, "calling it", error, f"from {module} import {first}; {path}()")) from None
    if inspect.iscoroutine(made):
        made.close()  # else Python says that nobody awaited it
    elif made is not None or not inspect.iscoroutinefunction(make):
        return made
    says = "expected a Gateway, or a callable that returns one; it is async, and nobody awaits it here"
    raise NotLoaded(Problem(name, says, "def make_gateway() -> Gateway: ...    # without async"))


def _instead(module_name: str, module: ModuleType) -> str:
    found = next((name for name, value in vars(module).items() if isinstance(value, Gateway)), None)
    if found is None:
        return f"name the gateway itself: {module_name}:gateway"
    return f"python -m ogw_asgi check {module_name}:{found}"


def _failed(name: str, doing: str, error: BaseException, again: str) -> Problem:
    """`again`: the statements that show its traceback."""
    by_hand = f"python -c {shlex.quote(again)}    # shows all of it"
    if isinstance(error, ConfigurationError):
        text = str(error)
        environment = text.partition(":")[0].isupper()
        mend = "python -m ogw_asgi check    # without an argument: all of it" if environment else in_code(text)
        return Problem(text.partition(":")[0], text.partition(": ")[2] or text, mend or by_hand)
    # Of somebody else's code not even the text: it may hold anything.
    at = where(error)
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        at = f"{type(error).__name__} at {Path(error.filename).name}:{error.lineno}"
    return Problem(name, f"{doing} raised {at}", by_hand)
