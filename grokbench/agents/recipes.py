"""Recipes: an agent with every hyperparameter set, found by name, by file or by class."""

import hashlib
import inspect
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grokbench.agents.agent import Agent
from grokbench.agents.targets import BASELINES, is_baseline, load_target, name_of, normalized, own_target, source_hash
from grokbench.errors import AgentError, RecipeError

LONGEST_NAME = 60
SELECTORS = ("name", "target", "filter")  # keys that say what a table describes
OWN_OPTIMIZERS = ("adamw", "muon")  # that the baselines write themselves; pytorch-optimizer can have made the others


@dataclass(frozen=True)
class Recipe:
    """An agent with every hyperparameter set. Immutable, its hyperparameters too, to any depth.

    Attributes:
        name: what tables and folders call it.
        target: the agent's class or factory, as `module:Class`.
        hyperparameters: the keyword arguments that make the agent.
        source: SHA-256 of the code of an agent, or of a baseline's optimizer, from outside the baselines; else empty.
        factory: the agent's class itself, if it was given as a class and not by its name.
        optimizer: the optimizer's class itself, if it was given as a class and not by its name.
    """

    name: str
    target: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""
    factory: Callable[..., Agent] | None = field(default=None, compare=False, repr=False)
    optimizer: type[Any] | None = field(default=None, compare=False, repr=False)

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

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages beside torch and numpy whose versions change the agent's runs, if they are installed."""
        optimizer = self.hyperparameters.get("optimizer")
        named = _comparable("name", optimizer) if isinstance(optimizer, Mapping) else None
        return () if optimizer is None or named in OWN_OPTIMIZERS else ("pytorch-optimizer",)

    def make(self) -> Agent:
        """A new agent.

        Raises:
            AgentError: the class can't be found, isn't an `Agent`, or doesn't accept the hyperparameters.
        """
        factory, hyperparameters = self.factory or load_target(self.target), self.plain_hyperparameters
        if self.optimizer is not None:
            hyperparameters["optimizer"]["target"] = self.optimizer
        try:
            agent = factory(**hyperparameters)
        except TypeError as error:
            accepted = ", ".join(inspect.signature(factory).parameters) or "none"
            raise RecipeError(f"{self.target} doesn't accept what {self.name!r} sets: {error}; it takes {accepted}") from error
        if not isinstance(agent, Agent):
            raise AgentError(f"{self.target} makes a {type(agent).__name__}, not an agent: derive it from grokbench.Agent")
        return agent


def recipe(base: str | type[Agent] | Recipe, *, name: str | None = None, **changes: Any) -> Recipe:
    """A recipe, changed where you say so.

    ```python
    recipe("transformer", optimizer={"weight_decay": 3.0})           # the other hyperparameters of [optimizer] stay
    recipe("transformer", optimizer={"name": "lion", "lr": 1e-4})    # another optimizer replaces the table
    recipe("transformer", optimizer={"target": MyLion, "lr": 1e-4})  # so does a class of your own
    recipe(MyAgent, width=64)                                        # MyAgent(width=64)
    ```

    Args:
        base: a recipe, what `find_recipe` takes, or a class derived from `Agent`.
        name: what tables call it; by default the base's name and the changes.
        **changes: hyperparameters. A table is merged into the base's table of that name, unless its `name`, `target` or
            `filter` is another. Such a table, and any other value, replaces the base's.

    Raises:
        RecipeError: there is no such recipe.
        AgentError: the class of an optimizer can't be loaded.
    """
    start = base if isinstance(base, Recipe) else find_recipe(base) if isinstance(base, str) else _of_class(base)
    merged = _merged(start.plain_hyperparameters, changes)
    return _with_source(name or _changed_name(start.name, changes), start.target, merged, base=start)


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


def _of_class(agent: type[Agent]) -> Recipe:
    if not (isinstance(agent, type) and issubclass(agent, Agent)):
        raise RecipeError(f"a recipe is made of a name, a file, or a class derived from grokbench.Agent, got {agent!r}")
    target = name_of(agent)
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
    return _with_source(name, target, content)


def _with_source(name: str, target: str, hyperparameters: dict[str, Any], *, base: Recipe | None = None) -> Recipe:
    """The recipe with the hash of the code that it takes from outside grokbench.

    A `base` that takes the same class has the hash already, and the class if it isn't in a file.
    """
    own = own_target(target, hyperparameters)
    optimizer = own if isinstance(own, type) else None
    if optimizer is not None:
        hyperparameters = hyperparameters | {"optimizer": hyperparameters["optimizer"] | {"target": name_of(optimizer)}}
    elif base is not None and own == own_target(base.target, base.hyperparameters):
        return Recipe(name, target, hyperparameters, base.source, base.factory, base.optimizer)
    source = "" if own is None else source_hash(optimizer or load_target(_checked_name(own)))
    return Recipe(name, target, hyperparameters, source, optimizer=optimizer)


def _checked_name(target: Any) -> str:
    if not isinstance(target, str) or ":" not in target:
        raise RecipeError(f'[optimizer] target must be a class, or its name as "my_file:MyClass", got {target!r}')
    return target


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        tables = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
        merged[key] = _merged(merged[key], value) if tables and not _names_another(merged[key], value) else value
    return merged


def _names_another(base: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether the changed table describes another optimizer, schedule or filter than the base's table."""
    return any(key in change and _comparable(key, change) != _comparable(key, base) for key in SELECTORS)


def _comparable(key: str, table: Mapping[str, Any]) -> Any:
    """The value of a selector, a class by its name. Case, "-" and "_" don't count in the names of optimizers."""
    value = table.get(key)
    text = name_of(value) if isinstance(value, type) else value
    return normalized(text) if key == "name" and isinstance(text, str) else text


def _changed_name(base: str, changes: Mapping[str, Any]) -> str:
    """The base's name and what was changed: `transformer-weight_decay-3.0`."""
    words = ["".join(c if c.isalnum() or c in "._" else "-" for c in word).strip("-") for word in (base, *_words(changes))]
    name = "-".join(words)
    return name if len(name) <= LONGEST_NAME else f"{words[0][:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _words(changes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _words(value)
        elif key in ("name", "target"):
            yield value.__name__ if isinstance(value, type) else str(value).rpartition(":")[2]
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
