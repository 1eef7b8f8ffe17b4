"""A recipe's tables as a method. Every mistake in them is reported before anything runs.

| table | what it holds |
|---|---|
| `[network]` | hyperparameters of the network |
| `[training]` | loss, minibatch, number format |
| `[optimizer]` | `name`, or `target` for a class of your own, and its hyperparameters, as torch calls them |
| `[schedule]` | `name` and its steps: the learning rate over steps |
| `[gradient]` | optional: a filter between gradient and optimizer |
| `[projection]` | optional: weights are scaled back to a norm after every update |
| `[noise]` | optional: Gaussian noise on gradients or weights |
| `[average]` | optional: a running average of the weights answers the exams |
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import torch

from baselines.fields import check, check_table, fields_of, from_table
from baselines.networks.network import Network
from baselines.optimizers.adamw import AdamWSettings
from baselines.optimizers.averages import Average
from baselines.optimizers.by_name import checked_arguments, find_class
from baselines.optimizers.gradient_filters import FILTERS
from baselines.optimizers.muon import MuonSettings
from baselines.optimizers.noise import Noise
from baselines.optimizers.optimizer import Settings
from baselines.optimizers.per_member import ClassSettings
from baselines.optimizers.projections import Projection
from baselines.optimizers.schedules import SCHEDULES, Schedule
from baselines.optimizers.trial import tried
from baselines.training.hyperparameters import DTYPES, Training
from baselines.training.method import Method
from grokbench.agents.agent import Agent
from grokbench.agents.targets import load_target, normalized
from grokbench.errors import RecipeError

Table = dict[str, Any]
Kind = TypeVar("Kind")

OPTIMIZERS: dict[str, type[AdamWSettings] | type[MuonSettings]] = {"adamw": AdamWSettings, "muon": MuonSettings}
FEW_SYMBOLS = 2  # of a network that is made for the names of its parameters
OLD_NAMES = {"learning_rate": "[optimizer] lr"}


def method(
    network: Network[Any],
    training: Table,
    optimizer: Table,
    schedule: Table,
    gradient: Table | None = None,
    projection: Table | None = None,
    noise: Table | None = None,
    average: Table | None = None,
) -> Method:
    """The method that a recipe's tables describe.

    Raises:
        RecipeError: a table lacks a hyperparameter, has an unknown name or a wrong value, or the optimizer can't be used.
    """
    needed = {"training": training, "optimizer": optimizer, "schedule": schedule}
    optional = {"gradient": gradient, "projection": projection, "noise": noise, "average": average}
    for name, table in (needed | {name: table for name, table in optional.items() if table is not None}).items():
        check_table(table, name)
    checked_training, checked_schedule = _read(Training, training, "training"), _schedule(schedule)
    return Method(
        network,
        checked_training,
        _optimizer(optimizer, network, checked_schedule, checked_training),
        checked_schedule,
        gradient_filter=None if gradient is None else _chosen(FILTERS, gradient, "gradient", "filter"),
        projection=None if projection is None else _projection(projection, network),
        noise=None if noise is None else _read(Noise, noise, "noise"),
        average=None if average is None else _read(Average, average, "average"),
    )


def _schedule(table: Table) -> Schedule:
    schedule: Schedule = _chosen(SCHEDULES, table, "schedule", "name")
    return schedule


def _projection(table: Table, network: Network[Any]) -> Projection:
    projection: Projection = _read(Projection, table, "projection")
    if projection.names:
        projection.check_names(network.init_params(FEW_SYMBOLS, torch.Generator().manual_seed(0)))
    return projection


def _optimizer(table: Table, network: Network[Any], schedule: Schedule, training: Training) -> Settings:
    """The optimizer that the table names: our own AdamW or Muon, or a class that is tried here."""
    check(("name" in table) != ("target" in table), '[optimizer] needs name = "adamw", or target = "my_file:MyClass"')
    arguments = {key: value for key, value in table.items() if key not in ("name", "target")}
    if "name" in table:
        name = table["name"]
        check(isinstance(name, str), f"[optimizer] name must be text, got {name!r}")
        if normalized(name) in OPTIMIZERS:
            return _read(OPTIMIZERS[normalized(name)], arguments, "optimizer")
        kind, shown = find_class(name, others=OPTIMIZERS), name
    else:
        kind, shown = _own_class(table["target"])
    settings = ClassSettings(kind, checked_arguments(kind, arguments, shown))
    dtype, most_passes = DTYPES[training.dtype], training.passes_per_step
    return tried(settings, shown, network=network, schedule=schedule, dtype=dtype, most_passes=most_passes)


def _own_class(target: Any) -> tuple[type[Any], str]:
    """A class that the table names or holds, and what messages call it."""
    loaded = load_target(target) if isinstance(target, str) else target
    is_optimizer = isinstance(loaded, type) and not issubclass(loaded, Agent) and hasattr(loaded, "step")
    check(is_optimizer, f"[optimizer] target must be a class with the interface of torch.optim.Optimizer, got {target!r}")
    return loaded, loaded.__name__


def _chosen(kinds: Mapping[str, Callable[..., Any]], table: Table, where: str, key: str) -> Any:
    """The hyperparameters of the kind that the table's `key` names."""
    name = str(table.get(key))
    near = get_close_matches(name, kinds, n=1) if key in table else []
    hint = f"; did you mean {near[0]!r}?" if near and name not in kinds else ""
    check(name in kinds, f"[{where}] needs {key} = one of {', '.join(kinds)}, got {table.get(key)!r}{hint}")
    kind: Any = kinds[name]
    return _read(kind, {other: value for other, value in table.items() if other != key}, where)


def _read(kind: type[Kind], table: Table, where: str) -> Kind:
    """The hyperparameters in a table. An unknown name that belongs to another table is told so."""
    try:
        return from_table(kind, table, where)
    except RecipeError as error:
        unknown = sorted(set(table) - set(fields_of(kind)))
        hints = [f"set {place} instead of {name}" for name in unknown if (place := _other_place(name, where))]
        raise RecipeError("; ".join([str(error), *hints])) from None


def _other_place(name: str, where: str) -> str | None:
    """The table and key that a name belongs to, if it isn't this table."""
    if name in OLD_NAMES:
        return OLD_NAMES[name]
    tables = {"optimizer": AdamWSettings, "training": Training, "schedule": SCHEDULES["linear"]}
    places = [table for table, kind in tables.items() if name in fields_of(kind) and table != where]
    return f"[{places[0]}] {name}" if places else None
