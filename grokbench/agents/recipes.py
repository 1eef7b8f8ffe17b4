"""Recipes: an agent with every hyperparameter set, found by name, by file or by class."""

import hashlib
import importlib
import inspect
import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType
from typing import Any

from grokbench.agents.agent import Agent
from grokbench.errors import AgentError, RecipeError

BASELINES = "baselines"
LONGEST_NAME = 60


@dataclass(frozen=True)
class Recipe:
    """An agent with every hyperparameter set. Immutable, its hyperparameters too, to any depth.

    Attributes:
        name: what tables and folders call it.
        target: the agent's class or factory, as `module:Class`.
        hyperparameters: the keyword arguments that make the agent.
        source: SHA-256 of the code of an agent from outside the baselines, else empty.
        factory: the class itself, if it was given as a class and not by its name.
    """

    name: str
    target: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""
    factory: Callable[..., Agent] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hyperparameters", _frozen(self.hyperparameters))

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return partial(type(self), **values | {"hyperparameters": self.plain_hyperparameters}), ()

    @property
    def plain_hyperparameters(self) -> dict[str, Any]:
        """A copy of the hyperparameters in plain dicts and lists, as JSON and TOML write them."""
        plain: dict[str, Any] = _thawed(self.hyperparameters)
        return plain

    @cached_property
    def hash(self) -> str:
        """SHA-256 of target, hyperparameters and source: the same for the same agent, whatever its name.

        Raises:
            RecipeError: a hyperparameter is a value that JSON doesn't have.
        """
        try:
            content = json.dumps([self.target, self.plain_hyperparameters, self.source], sort_keys=True)
        except TypeError as error:
            raise RecipeError(f"{self.name!r} sets a hyperparameter that isn't number, text, list or table: {error}") from error
        return hashlib.sha256(content.encode()).hexdigest()

    def make(self) -> Agent:
        """A new agent.

        Raises:
            AgentError: the class can't be found, isn't an `Agent`, or doesn't accept the hyperparameters.
        """
        factory = self.factory or load_target(self.target)
        try:
            agent = factory(**self.plain_hyperparameters)
        except TypeError as error:
            accepted = ", ".join(inspect.signature(factory).parameters) or "none"
            raise RecipeError(f"{self.target} doesn't accept what {self.name!r} sets: {error}; it takes {accepted}") from error
        if not isinstance(agent, Agent):
            raise AgentError(f"{self.target} makes a {type(agent).__name__}, not an agent: derive it from grokbench.Agent")
        return agent


def recipe(base: str | type[Agent] | Recipe, *, name: str | None = None, **changes: Any) -> Recipe:
    """A recipe, changed where you say so.

    ```python
    recipe("transformer", training={"weight_decay": 3.0})  # the other hyperparameters of [training] stay
    recipe(MyAgent, width=64)                              # MyAgent(width=64)
    ```

    Args:
        base: a recipe, what `find_recipe` takes, or a class derived from `Agent`.
        name: what tables call it; by default the base's name and the changes.
        **changes: hyperparameters. A table is merged into the base's table of that name, any other value replaces it.

    Raises:
        RecipeError: there is no such recipe.
    """
    found = base if isinstance(base, Recipe) else find_recipe(base) if isinstance(base, str) else _of_class(base)
    merged = _merged(found.plain_hyperparameters, changes)
    name = name or _changed_name(found.name, changes)
    return Recipe(name, found.target, merged, found.source, found.factory)


def find_recipe(name: str) -> Recipe:
    """The recipe of a baseline by its name, of a file (`….toml`), or of a class (`module:Class`).

    Raises:
        RecipeError: there is none, or it can't be read.
        AgentError: the class can't be loaded.
    """
    if name.endswith(".toml"):
        return _read_recipe_file(name)
    if ":" in name:
        target = load_target(name)
        return Recipe(name.rpartition(":")[2], name, {}, source_hash(target))
    if name not in recipe_names():
        near = get_close_matches(name, recipe_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"no recipe is called {name!r}: expected one of {', '.join(recipe_names())}, "
            f"a file ending in .toml, or a class as module:Class{hint}"
        )
    return _read_recipe(name, (files(BASELINES) / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))


def recipe_names() -> list[str]:
    """The names of the recipes that come with the baselines."""
    folder = files(BASELINES) / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


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
        raise AgentError(f"can't load the agent {target!r} (looked in {Path.cwd()} too): {error}") from error
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


def _of_class(agent: type[Agent]) -> Recipe:
    if not (isinstance(agent, type) and issubclass(agent, Agent)):
        raise RecipeError(f"a recipe is made of a name, a file, or a class derived from grokbench.Agent, got {agent!r}")
    target = f"{agent.__module__}:{agent.__qualname__}"
    return Recipe(agent.__name__, target, {}, "" if is_baseline(target) else source_hash(agent), factory=agent)


def _read_recipe_file(path: str) -> Recipe:
    try:
        return _read_recipe(Path(path).stem, Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"can't read the recipe {path!r}: {error}") from error
    except RecursionError:
        raise RecipeError(f"the recipe {path!r} extends itself, or is nested too deeply") from None


def _read_recipe(name: str, text: str) -> Recipe:
    """The recipe that a TOML text describes: `agent = "module:Class"`, or `extends = "recipe"` and what differs from it."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is not valid TOML: {error}") from error
    extended, target = content.pop("extends", None), content.pop("agent", None)
    if (extended is None) == (target is None):
        raise RecipeError(f'the recipe {name!r} needs a line agent = "module:Class", or a line extends = "transformer"')
    if extended is not None:
        return recipe(find_recipe(str(extended)), name=name, **content)
    if not isinstance(target, str) or ":" not in target:
        raise RecipeError(f'the recipe {name!r} needs a line such as agent = "module:Class", got {target!r}')
    return Recipe(name, target, content, "" if is_baseline(target) else source_hash(load_target(target)))


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        tables = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
        merged[key] = _merged(merged[key], value) if tables else value
    return merged


def _changed_name(base: str, changes: Mapping[str, Any]) -> str:
    """The base's name and what was changed: `transformer-weight_decay-3.0`."""
    words = ["".join(c if c.isalnum() or c in "._" else "-" for c in word).strip("-") for word in (base, *_words(changes))]
    name = "-".join(words)
    return name if len(name) <= LONGEST_NAME else f"{words[0][:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _words(changes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _words(value)
        else:
            yield f"{key}-{value}"


def _frozen(node: Any) -> Any:
    """The tree with read-only mappings for dicts and tuples for lists."""
    if isinstance(node, Mapping):
        return MappingProxyType({key: _frozen(value) for key, value in node.items()})
    return tuple(map(_frozen, node)) if isinstance(node, list | tuple) else node


def _thawed(node: Any) -> Any:
    """The tree with plain dicts and lists."""
    if isinstance(node, Mapping):
        return {key: _thawed(value) for key, value in node.items()}
    return [_thawed(value) for value in node] if isinstance(node, tuple) else node
