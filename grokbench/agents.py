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
from typing import Any, Protocol

RECIPES = "baselines"


@dataclass(frozen=True)
class Spec:
    """What an agent is told about its run beside the observation; neither the task's name nor the instance's seed.

    Attributes:
        symbols: the number q of symbols; a target of q is blank.
        rows: the number N of questions.
        budget: the steps within which to generalise.
        feature_dims: the layer widths that the exam expects, side by side in `features`.
        device: where to compute, `cpu` or `cuda`.
        seeds: the agent's own random seeds, one for each member of the batch.
    """

    symbols: int
    rows: int
    budget: int
    feature_dims: tuple[int, ...]
    device: str
    seeds: tuple[int, ...]

    @property
    def seed(self) -> int:
        """The random seed of an agent that isn't batched."""
        return self.seeds[0]


class Agent(Protocol):
    """What learns. It never sees a held-out answer.

    Optional: `feature_dims` (default (128,)), the layer widths that it shows; `batched = True`, which puts a leading axis S on
    all arrays of observation, report and action and asks for `keep(indices)`, after which only those members go on, and
    `seeds_together`, the most members of a batch; `dtype`, which the record states; `cost()`, which gives `parameters`,
    `flops_per_step` and `examples_per_step` per member; `together(agents)`, which makes one agent of a batch whose members
    follow different agents.
    """

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Start anew on this table: `inputs` (N, 2), `targets` (N,) with q for blank, `updates`."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Take exactly that many steps; may report the training `loss`, and by any name numbers to watch, one per layer."""

    def act(self) -> dict[str, Any]:
        """Fill in the table: `answers` (N,), and show the `features` (N, Σd)."""

    def state_dict(self) -> dict[str, Any]:
        """A tree of arrays and JSON scalars, random state included: a killed run resumes where it was."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, tensors now on the CPU and tuples now lists; called after `reset`."""


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
