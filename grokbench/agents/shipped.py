"""The package of the baselines that ships with grokbench, which a file of the same name can hide."""

from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from grokbench.agents.targets import BASELINES
from grokbench.errors import AgentError

SHIPPED = Path(__file__).resolve().parents[2] / BASELINES  # beside the package grokbench


def baselines_folder() -> Path:
    """The folder of the baselines. Afterwards the name `baselines` imports from this folder.

    Raises:
        AgentError: a file or folder of the user has that name and is found first, or the baselines aren't installed.
    """
    found = _found()
    if found is None:
        raise AgentError(f"the baselines aren't in {SHIPPED}: install grokbench anew")
    if found != SHIPPED / "__init__.py":
        raise AgentError(f"{found} hides grokbench's own package {BASELINES!r}: rename or move it")
    import_module(BASELINES)
    return SHIPPED


def _found() -> Path | None:
    """The file that `import baselines` runs, or the folder if it has no such file. None: there is neither."""
    try:
        spec = find_spec(BASELINES)
    except ValueError:  # a module that was made without a file
        return Path(f"<{BASELINES}>")
    return None if spec is None else _file_of(spec)


def _file_of(spec: ModuleSpec) -> Path | None:
    folders = list(spec.submodule_search_locations or [])
    place = spec.origin if spec.origin not in (None, "namespace") else next(iter(folders), None)
    return None if place is None else Path(place).resolve()
