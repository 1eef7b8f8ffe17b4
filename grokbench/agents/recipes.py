"""Recipes: an agent with every hyperparameter set, found by name, by file or by class."""

import hashlib
import inspect
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from grokbench.agents.agent import Agent, check_agent
from grokbench.agents.shipped import baselines_folder
from grokbench.agents.sources import Sources
from grokbench.agents.targets import is_baseline, line_of, load_target, name_of, normalized, own_target
from grokbench.agents.texts import decoded, encodable, text_bytes
from grokbench.errors import ActionError, AgentError, FaultyAgentError, GrokbenchError, RecipeError
from grokbench.tasks.task import whole_number

EXACT = 1 << 53  # whole numbers up to here are exact as floats
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
        sources: the modules of that code, and the packages that they import.
        factory: the agent's class itself, if it was given as a class, or is in a notebook or script.
        optimizer: the optimizer's class itself, if it was given as a class and not by its name.
    """

    name: str
    target: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""
    sources: Sources = field(default_factory=Sources, compare=False, repr=False)
    factory: Callable[..., Agent] | None = field(default=None, compare=False, repr=False)
    optimizer: type[Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for key, value in self.hyperparameters.items():
            _check_value(self.name, str(key), value)
        object.__setattr__(self, "hyperparameters", _frozen(self.hyperparameters))

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return partial(type(self), **values | {"hyperparameters": self.plain_hyperparameters}), ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names that its class or function takes, as far as they can be read."""
        signature = _signature(self.factory or _load(self.target))
        return tuple(signature.parameters) if signature else ()

    @property
    def plain_hyperparameters(self) -> dict[str, Any]:
        """A copy of the hyperparameters in plain dicts and lists, as JSON and TOML write them."""
        plain: dict[str, Any] = _thawed(self.hyperparameters)
        return plain

    @cached_property
    def hash(self) -> str:
        """SHA-256 of target, hyperparameters and source: the same for the same agent, whatever its name."""
        content = json.dumps([self.target, self.plain_hyperparameters, self.source], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages beside torch and numpy whose versions change the agent's runs, if they are installed."""
        optimizer = self.hyperparameters.get("optimizer")
        named = _comparable("name", optimizer) if isinstance(optimizer, Mapping) else None
        by_name = () if optimizer is None or named in OWN_OPTIMIZERS else ("pytorch-optimizer",)
        return tuple(sorted({*by_name, *self.sources.packages}))

    def make(self) -> Agent:
        """A new agent.

        Raises:
            RecipeError: the class doesn't accept the hyperparameters.
            FaultyAgentError: its own code failed.
            AgentError: the class can't be found, or isn't an `Agent` as described there.
        """
        factory, hyperparameters = self.factory or _load(self.target), self.plain_hyperparameters
        if self.optimizer is not None:
            hyperparameters["optimizer"]["target"] = self.optimizer
        _check_arguments(factory, hyperparameters, self)
        try:
            agent = factory(**hyperparameters)
        except GrokbenchError:
            raise
        except Exception as error:
            place = line_of(error, self.target)
            raise FaultyAgentError(f"{self.target} can't be made: {type(error).__name__}: {error}{place}") from error
        if not isinstance(agent, Agent):
            raise AgentError(f"{self.target} makes a {type(agent).__name__}, not an agent: derive it from grokbench.Agent")
        try:
            check_agent(agent)
        except ActionError as error:
            raise AgentError(f"{self.target}: {error}") from error
        return agent


def recipe(base: str | os.PathLike[str] | type[Agent] | Recipe, /, *, name: str | None = None, **changes: Any) -> Recipe:
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
    return changed_recipe(_recipe_of(base), changes, name=name)


def _recipe_of(base: str | os.PathLike[str] | type[Agent] | Recipe) -> Recipe:
    if isinstance(base, Recipe):
        return base
    return find_recipe(base) if isinstance(base, str | os.PathLike) else _of_class(base)


def changed_recipe(base: Recipe, changes: Mapping[str, Any], *, name: str | None = None) -> Recipe:
    """The same for hyperparameters of any name, `name` and `base` too. Raises AgentError as `recipe` does."""
    merged = _merged(base.plain_hyperparameters, changes)
    named = _changed_name(base.name, changes) if name is None else _bounded(checked_name(name), name)
    return _with_source(named, base.target, merged, base=base)


def find_recipe(name: str | os.PathLike[str]) -> Recipe:
    """The recipe of a baseline by its name, of a file (`….toml`), or of a class (`module:Class`).

    Raises:
        RecipeError: there is none, or it can't be read.
        AgentError: the class can't be loaded.
    """
    name = os.fspath(name)
    if name.endswith(".toml"):
        return _read_recipe_file(name)
    if ":" in name:
        target = _load(name)
        kept = target if name.startswith("__main__:") else None  # no other process finds it by this name
        return _with_code(name.rpartition(":")[2], name, {}, target, factory=kept)
    if name not in recipe_names():
        near = get_close_matches(name, recipe_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"no recipe is called {name!r}: expected one of {', '.join(recipe_names())}, "
            f"a file ending in .toml, or a class as module:Class{hint}"
        )
    folder = baselines_folder() / "recipes"
    return _read_recipe(name, (folder / f"{name}.toml").read_text(encoding="utf-8"), folder)


def recipe_names() -> list[str]:
    """The names of the recipes that come with the baselines."""
    return sorted(file.stem for file in (baselines_folder() / "recipes").glob("*.toml"))


def _load(target: str) -> Any:
    """The object that `target` names. A baseline is always one of grokbench's own."""
    if is_baseline(target):
        baselines_folder()
    return load_target(target)


def _of_class(agent: type[Agent]) -> Recipe:
    if not (isinstance(agent, type) and issubclass(agent, Agent)):
        raise RecipeError(f"a recipe is made of a name, a file, or a class derived from grokbench.Agent, got {agent!r}")
    target = name_of(agent)
    return _with_code(agent.__name__, target, {}, None if is_baseline(target) else agent, factory=agent)


def _read_recipe_file(path: str) -> Recipe:
    try:
        name = encodable(Path(path).stem).replace("\\", "-")
        return _read_recipe(_bounded(name, name), decoded(text_bytes(Path(path))), Path(path).parent)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"can't read the recipe {path!r}: {error}") from error
    except RecursionError:
        raise RecipeError(f"the recipe {path!r} extends itself, or is nested too deeply") from None


def _read_recipe(name: str, text: str, folder: Path) -> Recipe:
    """The recipe that a TOML text in a folder describes.

    It has a line `agent = "module:Class"`, or `extends = "recipe"` and what differs from it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is not valid TOML: {error}") from error
    extended, target = content.pop("extends", None), content.pop("agent", None)
    if (extended is None) == (target is None):
        raise RecipeError(f'the recipe {name!r} needs a line agent = "module:Class", or a line extends = "transformer"')
    if extended is not None:
        return changed_recipe(find_recipe(_beside(folder, str(extended))), content, name=name)
    if not isinstance(target, str) or ":" not in target:
        raise RecipeError(f'the recipe {name!r} needs a line such as agent = "module:Class", got {target!r}')
    return _with_source(name, target, content)


def _beside(folder: Path, name: str) -> str:
    """A recipe's name as it is, and a recipe file's path from the folder on."""
    return str(folder / name) if name.endswith(".toml") else name


def _with_source(name: str, target: str, hyperparameters: dict[str, Any], *, base: Recipe | None = None) -> Recipe:
    """The recipe with the hash of the code that it takes from outside grokbench.

    A `base` that takes the same class has the hash already, and the class if it isn't in a file.
    """
    own = own_target(target, hyperparameters)
    optimizer = own if isinstance(own, type) else None
    if optimizer is not None:
        hyperparameters = hyperparameters | {"optimizer": hyperparameters["optimizer"] | {"target": name_of(optimizer)}}
    elif base is not None and own == own_target(base.target, base.hyperparameters):
        return replace(base, name=name, target=target, hyperparameters=hyperparameters)
    code = None if own is None else optimizer or _load(_checked_target(own))
    return _with_code(name, target, hyperparameters, code, optimizer=optimizer)


def _with_code(name: str, target: str, hyperparameters: dict[str, Any], code: Any, **given: Any) -> Recipe:
    """A recipe that takes `code`, a class or a function, from outside the baselines; None takes nothing."""
    sources = Sources() if code is None else Sources.of(code)
    return Recipe(name, target, hyperparameters, sources.hash, sources, **given)


def _checked_target(target: Any) -> str:
    if not isinstance(target, str) or ":" not in target:
        raise RecipeError(f'[optimizer] target must be a class, or its name as "my_file:MyClass", got {target!r}')
    return target


def _check_arguments(factory: Callable[..., Any], hyperparameters: Mapping[str, Any], of: Recipe) -> None:
    """Raise RecipeError unless the class or function takes these hyperparameters."""
    if (signature := _signature(factory)) is None:
        return
    try:
        signature.bind(**hyperparameters)
    except TypeError as error:
        accepted = ", ".join(signature.parameters) or "none"
        known = dict(flattened(hyperparameters))
        meant = [key for name in hyperparameters for key in known if key.endswith(f".{name}")]
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise RecipeError(f"{of.target} doesn't accept what {of.name!r} sets: {error}; it takes {accepted}{hint}") from error


def _signature(factory: Callable[..., Any]) -> inspect.Signature | None:
    """What the class or function takes; None for one that isn't written in Python."""
    try:
        return inspect.signature(factory)
    except (TypeError, ValueError):
        return None


def checked_name(name: Any) -> str:
    """The name of a recipe, by which a folder of records is called. Raises RecipeError for one that leads elsewhere."""
    if not isinstance(name, str) or not name.strip(".") or set(name) & set("/\\\0"):
        raise RecipeError(f"a recipe's name is text that a folder can be called, without / and \\, got {name!r}")
    return name


def _check_value(recipe_name: str, key: str, value: Any) -> None:
    """Raise RecipeError for a hyperparameter that no record can hold, such as infinity; `key` is its place."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise RecipeError(f"{recipe_name!r}: {key} must be a table with text as keys, got the key {name!r}")
            _check_value(recipe_name, f"{key}.{name}", inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_value(recipe_name, f"{key}[{number}]", inner)
    elif isinstance(value, float | np.floating) and not np.isfinite(value):
        raise RecipeError(f"{recipe_name!r}: {key} must be a finite number, got {value!r}")
    elif not (value is None or isinstance(value, bool | int | float | str | np.generic)):
        expected = "a number, text, a list or a table"
        raise RecipeError(f"{recipe_name!r}: {key} must be {expected}, got {value!r} of type {type(value).__name__}")


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        tables = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
        is_same = tables and not _names_another(merged[key], value)
        merged[key] = _merged(merged[key], value) if is_same else _in_form(merged.get(key), value)
    return merged


def _in_form(base: Any, value: Any) -> Any:
    """The value in the form of the base's: 3.0 for 3 where the base has 0.3. Otherwise 3 and 3.0 would be two agents."""
    whole = whole_number(value)
    if isinstance(base, float) and whole is not None and abs(whole) <= EXACT:
        return float(whole)
    if isinstance(base, list) and isinstance(value, list | tuple) and len(base) == len(value):
        return [_in_form(old, new) for old, new in zip(base, value, strict=True)]
    return value


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
    return _bounded("-".join(words), words[0])


def _bounded(name: str, start: str) -> str:
    """The name, or where it is too long its start and a hash of it."""
    return name if len(name) <= LONGEST_NAME else f"{start[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _words(changes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _words(value)
        elif key in ("name", "target"):
            yield value.__name__ if isinstance(value, type) else str(value).rpartition(":")[2]
        else:
            yield f"{key}-{value}"


def flattened(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted names, such as `optimizer.lr`, and values."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _frozen(node: Any) -> Any:
    """The tree with read-only mappings for dicts, tuples for lists, and plain numbers for numpy's."""
    if isinstance(node, Mapping):
        return MappingProxyType({key: _frozen(value) for key, value in node.items()})
    if isinstance(node, np.generic):  # from a loop over an array
        return node.item()
    return tuple(map(_frozen, node)) if isinstance(node, list | tuple) else node


def _thawed(node: Any) -> Any:
    """The tree with plain dicts and lists."""
    if isinstance(node, Mapping):
        return {key: _thawed(value) for key, value in node.items()}
    return [_thawed(value) for value in node] if isinstance(node, tuple) else node
