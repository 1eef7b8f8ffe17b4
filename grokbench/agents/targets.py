"""Targets: classes that a recipe names as `module:Class`, how they are loaded, and the hash of their code."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from grokbench.errors import AgentError

BASELINES = "baselines"


def is_baseline(target: str) -> bool:
    """Whether `target` is in the baselines' package."""
    return target.partition(":")[0].split(".")[0] == BASELINES


def load_target(target: str) -> Any:
    """The object that `module:attribute` names; modules of the current folder are found too.

    Raises:
        AgentError: it can't be imported.
    """
    module_name, _, attribute = target.partition(":")
    try:
        with importable_here():
            loaded: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise AgentError(f"can't load {target!r} (looked in {Path.cwd()} too): {error}") from error
    if not callable(loaded):
        raise AgentError(f"{target!r} is a {type(loaded).__name__}: name a class, or a function that makes an agent")
    return loaded


@contextmanager
def importable_here() -> Iterator[None]:
    """Within it modules of the current folder can be imported; `sys.path` is as before afterwards."""
    here = str(Path.cwd())
    if "" in sys.path or here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def source_hash(target: Any) -> str:
    """SHA-256 of the file that defines `target`; of its own code where there is no file, as in a notebook."""
    module = inspect.getmodule(target)
    file = getattr(module, "__file__", None)
    if file and Path(file).is_file() and getattr(module, "__name__", "") != "__main__":
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    try:
        code = inspect.getsource(target).encode()
    except (OSError, TypeError):
        code = repr(_compiled(target)).encode()
    return hashlib.sha256(code).hexdigest()


def _compiled(target: Any) -> list[Any]:
    """The compiled functions of a class and its plain attributes, for a class whose source text is gone."""
    parts: list[Any] = []
    for name, value in sorted(vars(target).items()):
        function = getattr(value, "__func__", value)  # of class methods and static methods
        if isinstance(function, FunctionType):
            parts.append((name, repr(function.__defaults__), *_instructions(function.__code__)))
        elif not name.startswith("__") and isinstance(value, bool | int | float | str | tuple):
            parts.append((name, repr(value)))
    return parts


def _instructions(code: CodeType) -> tuple[Any, ...]:
    constants = [_instructions(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, constants


def own_target(target: str, hyperparameters: Mapping[str, Any]) -> Any:
    """What a recipe takes from outside grokbench: its agent, or the optimizer of a baseline. None: nothing.

    An optimizer that was given as a class is returned as that class.
    """
    if not is_baseline(target):
        return target
    table = hyperparameters.get("optimizer")
    return table.get("target") if isinstance(table, Mapping) else None


def name_of(target: Any) -> str:
    """A class as a recipe names it: `module:Class`. Text is left as it is."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def normalized(name: str) -> str:
    """The name of an optimizer as names are compared: `Schedule-Free_AdamW` is `schedulefreeadamw`."""
    return name.lower().replace("_", "").replace("-", "")
