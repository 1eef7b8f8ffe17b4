"""The settings whose runs the studies are made of, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.analysis.curves import Curves
from grokbench.runs.plan import Experiment, Plan
from grokbench.tasks import parse_id

Scale = Literal["small", "paper"]


class Setting(Protocol):
    """One cell of a study's grid."""

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""


Measured = Mapping[Setting, list[Curves]]  # every setting's seeds


@dataclass(frozen=True)
class Deep(Setting):
    """A deep MLP on digits, followed to `steps`: what "Deep Grokking" and Omnigrok vary."""

    task: str
    depth: int
    alpha: float
    decay: float
    width: int = 200
    steps: int = 20_000
    dtype: str = "float32"

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""
        suffix = "" if self.dtype == "float32" else f"-{self.dtype}"
        name = f"deep_mlp-depth{self.depth}-width{self.width}-alpha{self.alpha:g}-decay{self.decay:g}{suffix}"
        network = {"inputs": 784, "depth": self.depth, "width": self.width, "init_scale": self.alpha}
        training = {
            "learning_rate": 1e-3,
            "weight_decay": self.decay,
            "betas": [0.9, 0.999],
            "warmup": 0,
            "batch_size": 200,
            "loss": "mse",
            "dtype": self.dtype,
            "seeds_together": 12,
        }
        recipe = Recipe(name, "baselines.agents:deep_mlp", {"network": network, "training": training})
        return Experiment(parse_id(f"{self.task}-to{self.steps}"), recipe)


@dataclass(frozen=True)
class Wide(Setting):
    """A transformer with one head on a table, followed to `steps`: Davies et al. 2023 vary the width of one with two layers."""

    task: str
    width: int
    layers: int
    decay: float
    steps: int

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""
        network = {"width": self.width, "heads": 1}
        network |= {"mlp_width": 4 * self.width} if self.layers == 1 else {"layers": self.layers}
        training = {
            "learning_rate": 1e-3,
            "weight_decay": self.decay,
            "betas": [0.9, 0.98],
            "warmup": 10,
            "batch_size": 0 if self.layers == 1 else 512,
            "loss": "cross_entropy",
            "dtype": "float32",
            "seeds_together": 10,
        }
        name = f"transformer-layers{self.layers}-width{self.width}-decay{self.decay:g}"
        target = "baselines.agents:transformer" if self.layers == 1 else "baselines.agents:decoder"
        return Experiment(
            parse_id(f"{self.task}-to{self.steps}"), Recipe(name, target, {"network": network, "training": training})
        )


@dataclass(frozen=True)
class Baseline(Setting):
    """A baseline's recipe on a standard task."""

    task: str
    agent: str

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""
        return Experiment(parse_id(self.task), find_recipe(self.agent))


@dataclass(frozen=True)
class JointSettings:
    """Settings that train as one batch, and their seeds."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @property
    def plan(self) -> Plan:
        """The runs to make."""
        return Plan(tuple(one.experiment for one in self.settings), self.seeds)
