"""Targets: classes that a recipe names as `module:Class`, and how they are loaded."""

import importlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grokbench.errors import AgentError

BASELINES = "baselines"


def is_baseline(target: str) -> bool:
    """Whether `target` is in the baselines' package."""
    return target.partition(":")[0].split(".")[0] == BASELINES


def load_target(target: str) -> Any:
    """The object that `module:attribute` names; modules of the current folder are found too.

    Raises:
        AgentError: it can't be imported. An error of the module's own code is told with its line.
    """
    module_name, _, attribute = target.partition(":")
    try:
        with importable_here():
            loaded: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
    except Exception as error:  # importing runs the module's code
        known = isinstance(error, ImportError | AttributeError | SyntaxError)
        said = f"{error}" if known else f"{type(error).__name__}: {error}"
        looked = f"looked in {Path.cwd()} too; run the command in the folder of the file, and leave out .py"
        raise AgentError(f"can't load {target!r} ({looked}): {said}{line_of(error, target)}") from error
    if not callable(loaded):
        raise AgentError(f"{target!r} is a {type(loaded).__name__}: name a class, or a function that makes an agent")
    return loaded


def line_of(error: BaseException, target: str) -> str:
    """Where in the module of `target` the error was raised, as ` (my_agent.py, line 7)`; empty if it wasn't there."""
    module = target.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None) or f"{module.replace('.', '/')}.py"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).as_posix().endswith(Path(file).as_posix())]
    return f" ({Path(file).name}, line {lines[-1]})" if lines else ""


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
