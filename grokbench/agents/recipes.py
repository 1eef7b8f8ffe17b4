"""What an agent is, and how one is found: a recipe by name, a recipe file, or a class as `module:Class`."""

import hashlib
import importlib
import inspect
import json
import sys
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from grokbench.agents.agent import Agent

RECIPES = "baselines"


@dataclass(frozen=True)
class Recipe:
    """An agent with every hyperparameter set.

    Attributes:
        name: what tables and folders call it.
        target: the agent's class or factory, as `module:Class`.
        hyperparameters: the keyword arguments that make the agent.
        source: SHA-256 of the code of an agent from outside the baselines, else empty.
    """

    name: str
    target: str
    hyperparameters: dict[str, Any]
    source: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of what the agent is, whatever its name."""
        content = json.dumps([self.target, self.hyperparameters, self.source], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def make(self) -> Agent:
        """A new agent.

        Raises:
            ValueError: the class can't be found or doesn't accept the hyperparameters.
        """
        factory = _load(self.target)
        try:
            agent: Agent = factory(**self.hyperparameters)
        except TypeError as error:
            accepted = ", ".join(inspect.signature(factory).parameters) or "none"
            raise ValueError(f"{self.target} doesn't accept what {self.name!r} sets: {error}; it takes {accepted}") from error
        missing = [name for name in ("reset", "learn", "act", "state_dict", "load_state_dict") if not hasattr(agent, name)]
        if missing:
            raise ValueError(f"{self.target} is no agent: it lacks {', '.join(missing)}")
        return agent


def is_baseline(target: str) -> bool:
    """Whether `target` is in the baselines' package."""
    return target.partition(":")[0].split(".")[0] == RECIPES


def recipe_names() -> list[str]:
    """The names of the recipes that come with the baselines."""
    folder = files(RECIPES) / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`, in the file `name` (`….toml`), or of the class `name` (`module:Class`).

    Raises:
        ValueError: there is none, or it can't be read.
    """
    if name.endswith(".toml"):
        return _read_recipe(Path(name).stem, _read_text(name))
    if ":" in name:
        target = _load(name)
        return Recipe(name.rpartition(":")[2], name, {}, _source_hash(target))
    if name not in recipe_names():
        near = get_close_matches(name, recipe_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"no recipe is called {name!r}: expected one of {', '.join(recipe_names())}, "
            f"a file ending in .toml, or a class as module:Class{hint}"
        )
    return _read_recipe(name, (files(RECIPES) / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't read the recipe {path!r}: {error}") from error


def _read_recipe(name: str, text: str) -> Recipe:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the recipe {name!r} is not valid TOML: {error}") from error
    target = content.pop("agent", None)
    if not isinstance(target, str) or ":" not in target:
        raise ValueError(f'the recipe {name!r} needs a line such as agent = "module:Class"')
    return Recipe(name, target, content, "" if is_baseline(target) else _source_hash(_load(target)))


def look_here() -> None:
    """Let modules be found in the current folder too."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _load(target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    look_here()
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ValueError(f"can't load the agent {target!r} (looked in {Path.cwd()} too): {error}") from error
    return found


def _source_hash(target: Any) -> str:
    file = inspect.getsourcefile(inspect.getmodule(target) or target)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
