"""The settings of the studies: what a paper varies, as data from which a task and a recipe follow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from grokbench.agents.recipes import Recipe, recipe
from grokbench.analysis.curves import Curves
from grokbench.runs.plan import Experiment
from grokbench.tasks import parse_id

Scale = Literal["small", "paper"]
SEEDS = (0, 1, 2)  # of a setting, where a study says nothing else
LEARNING_RATE = 1e-3  # of AdamW in all studies


class Setting(Protocol):
    """A point of a study's grid; its runs differ by seed."""

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""


SeedsBySetting = Mapping[Setting, tuple[int, ...]]  # what a study runs
CurvesBySetting = Mapping[Setting, list[Curves]]  # the runs of every setting, a run for each seed
SettingType = TypeVar("SettingType", bound=Setting)


@dataclass(frozen=True)
class Deep(Setting):
    """A deep MLP on digits, as in "Deep Grokking" and Omnigrok.

    Attributes:
        task: The task's id without its budget.
        depth: The number of linear layers.
        alpha: α, the factor on the usual initialization.
        decay: γ, the weight decay.
        width: The units of a hidden layer.
        steps: The budget; a run doesn't end earlier.
        dtype: The precision of training, float32 or float64.
    """

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
            "batch_size": 200,
            "loss": "mse",
            "dtype": self.dtype,
            "seeds_together": 12,
        }
        tables = _tables(network, training, decay=self.decay, betas=[0.9, 0.999], warmup=0)
        return _experiment(self.task, self.steps, Recipe(name, "baselines.agents:deep_mlp", tables))


@dataclass(frozen=True)
class Wide(Setting):
    """A transformer with one head on a table, as in Davies et al. 2023, who vary the width of two layers.

    Attributes:
        task: The task's id without its budget.
        width: The width of the residual stream.
        layers: The number of layers. A single layer trains on the full batch, more layers on minibatches of 512.
        decay: The weight decay.
        steps: The budget; a run doesn't end earlier.
    """

    task: str
    width: int
    layers: int
    decay: float
    steps: int

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""
        single = self.layers == 1
        size = {"mlp_width": 4 * self.width} if single else {"layers": self.layers}
        training = {
            "batch_size": 0 if single else 512,
            "loss": "cross_entropy",
            "dtype": "float32",
            "seeds_together": 10,
        }
        name = f"transformer-layers{self.layers}-width{self.width}-decay{self.decay:g}"
        target = "baselines.agents:transformer" if single else "baselines.agents:decoder"
        network = {"width": self.width, "heads": 1, **size}
        tables = _tables(network, training, decay=self.decay, betas=[0.9, 0.98], warmup=10)
        return _experiment(self.task, self.steps, Recipe(name, target, tables))


@dataclass(frozen=True)
class Baseline(Setting):
    """A baseline's recipe on a task of the benchmark, at the studies' learning rate.

    Attributes:
        task: The task's id.
        recipe: The recipe's name.
    """

    task: str
    recipe: str

    @property
    def experiment(self) -> Experiment:
        """The task and the recipe of its runs."""
        return Experiment(parse_id(self.task), recipe(self.recipe, name=self.recipe, optimizer={"lr": LEARNING_RATE}))


def where(settings: Iterable[Setting], kind: type[SettingType], **fields: Any) -> tuple[SettingType, ...]:
    """Select settings by the values of their fields, in their order.

    Args:
        settings: The settings to choose from, or a mapping whose keys they are.
        kind: The class of the settings to select.
        **fields: The value that each field must have; a tuple lists several allowed values.

    Example:
        >>> grid = [Deep("mnist5k-n1000", depth, alpha=8.0, decay=0.2) for depth in (3, 6, 9)]
        >>> [setting.depth for setting in where(grid, Deep, depth=(6, 9), alpha=8)]
        [6, 9]
    """
    allowed = {name: value if isinstance(value, tuple) else (value,) for name, value in fields.items()}
    return tuple(
        setting
        for setting in settings
        if isinstance(setting, kind) and all(getattr(setting, name) in values for name, values in allowed.items())
    )


def _tables(
    network: dict[str, Any], training: dict[str, Any], *, decay: float, betas: list[float], warmup: int
) -> dict[str, Any]:
    """The tables of a recipe that is trained by AdamW with a constant learning rate after warm-up."""
    optimizer = {"name": "adamw", "lr": LEARNING_RATE, "weight_decay": decay, "betas": betas}
    schedule = {"name": "constant", "warmup": warmup}
    return {"network": network, "training": training, "optimizer": optimizer, "schedule": schedule}


def _experiment(task: str, steps: int, recipe: Recipe) -> Experiment:
    return Experiment(parse_id(f"{task}-to{steps}"), recipe)
