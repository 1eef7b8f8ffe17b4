"""The space of a tuning: which hyperparameters vary, in which ranges, and the points that every method tries.

Learning rate, weight decay, warm-up and β₂ have ranges fixed by the protocol for each family of optimizers. A method adds at
most three hyperparameters of its own. Points are those of a Sobol sequence with a digital shift (Owen 2003, "Quasi-Monte Carlo
sampling"), the same for every method with as many dimensions, so nobody can choose the points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from grokbench.agents.recipes import Recipe, flattened
from grokbench.agents.targets import normalized
from grokbench.errors import TuningError
from grokbench.sweeps.axes import hyperparameter, with_values

Family = Literal["adam", "sign", "orthogonalized", "sgd"]
Unit = tuple[float, ...]  # a point of the unit cube, a number for each dimension

LEARNING_RATES: dict[Family, tuple[float, float]] = {
    "adam": (3e-4, 3e-2),
    "sign": (1e-4, 1e-2),
    "orthogonalized": (1e-3, 1e-1),
    "sgd": (1e-2, 10.0),
}
MEMBERS: dict[Family, tuple[str, ...]] = {  # optimizers by name, whose family can't be chosen
    "adam": ("adam", "adamw", "nadam", "radam", "adamax", "adabelief", "adopt", "lamb", "soap", "sophiah", "yogi"),
    "sign": ("lion", "signsgd", "tiger", "cautiouslion"),
    "orthogonalized": ("muon", "adamuon"),
    "sgd": ("sgd", "asgd"),
}
WEIGHT_DECAY = (0.1, 10.0)
COUPLED_DECAY = (1e-5, 1e-2)  # where the decay is added to the gradient, which Adam scales
COUPLED = ("adam", "nadam", "radam", "adamax", "adopt", "sgd", "asgd")  # optimizers by name that add it, unless told not to
DECOUPLING = ("optimizer.decoupled_weight_decay", "optimizer.weight_decouple")  # how torch and pytorch-optimizer are told
WARMUP = (1, 300)  # steps
SHORTEST_MEMORY, LONGEST_MEMORY = 10.0, 1_000.0  # steps, 1 / (1 − β₂)
MOST_OWN = 3  # dimensions of a method's own
LEAST_RATIO = 10.0  # of the ends of an own range
OFF_SHARE = 1 / 8  # of the range of weight decay that means none
DIGITS = 4  # significant digits of a value
LARGEST = 1e30  # no value and no end of a range is as large, or as close to 0 if it varies by ratios
LONGEST_MESSAGE = 300  # characters, of which a hostile value could be very many
SOBOL_BITS = 30
SOBOL_KEY = 20_260_101  # of the digital shift


@dataclass(frozen=True)
class Dimension:
    """A hyperparameter that varies.

    Attributes:
        name: its full name, such as `optimizer.lr`.
        low: the lowest value.
        high: the highest value.
        scale: `log` has equal ratios from low to high. `memory` has equal ratios of 1 − value, as for β₂.
        whole: whether values are whole numbers.
        off: whether the lowest eighth means 0.
        index: which number of a list varies, counted from 0; None if the hyperparameter is a number.
    """

    name: str
    low: float
    high: float
    scale: Literal["log", "memory"] = "log"
    whole: bool = False
    off: bool = False
    index: int | None = None

    @property
    def label(self) -> str:
        """The name as messages have it: `optimizer.betas.1` is the second number of `optimizer.betas`."""
        return self.name if self.index is None else f"{self.name}.{self.index}"

    def of(self, values: Mapping[str, Any]) -> float:
        """The dimension's value among a recipe's values. Raises TuningError if it isn't a number."""
        value = values[self.name]
        if self.index is not None:
            if not isinstance(value, list | tuple) or self.index >= len(value):
                raise TuningError(f"{self.name} in the recipe must be a list of numbers to vary it, got {value!r}")
            value = value[self.index]
        return _number(f"{self.label} in the recipe", value)

    def put(self, place: float, values: Mapping[str, Any]) -> Any:
        """The hyperparameter at a place in [0, 1), with the other numbers of its list as they are."""
        if self.index is None:
            return self.value(place)
        return [*values[self.name][: self.index], self.value(place), *values[self.name][self.index + 1 :]]

    def value(self, place: float) -> float:
        """The value at a place in [0, 1)."""
        if self.off:
            if place < OFF_SHARE:
                return 0.0
            place = (place - OFF_SHARE) / (1 - OFF_SHARE)
        low, high = self._ends
        value = low * (high / low) ** place
        value = float(f"{value:.{DIGITS}g}")
        value = round(1 - value, 2 * DIGITS) if self.scale == "memory" else value
        return round(value) if self.whole else value

    def place(self, value: float) -> float:
        """The place of a value, in [0, 1]. A value outside the range has the place of the nearest end."""
        if self.off and value <= 0:
            return 0.0
        low, high = self._ends
        value = 1 - value if self.scale == "memory" else value
        place = log(max(value, 1e-300) / low) / log(high / low)
        place = min(max(place, 0.0), 1.0)
        return OFF_SHARE + (1 - OFF_SHARE) * place if self.off else place

    @property
    def _ends(self) -> tuple[float, float]:
        return (1 - self.low, 1 - self.high) if self.scale == "memory" else (self.low, self.high)


@dataclass(frozen=True)
class Space:
    """What a tuning varies.

    Attributes:
        published: the recipe with the authors' setting.
        family: the family of the optimizer.
        own: the ranges of the method's own hyperparameters, by full name.
        dimensions: those of the protocol, and the method's own.
    """

    published: Recipe
    family: Family
    own: tuple[tuple[str, float, float], ...]
    dimensions: tuple[Dimension, ...]

    @staticmethod
    def of(published: Recipe, *, family: str | None = None, own: Mapping[str, Sequence[float]] | None = None) -> "Space":
        """The space of a recipe.

        Args:
            published: the recipe with the authors' setting, which is tried as well.
            family: the family of an optimizer that the protocol doesn't know.
            own: name → lowest and highest value, for at most three hyperparameters of the method's own.

        Raises:
            TuningError: the recipe has no learning rate, or none that is a number. The family is unknown or another than the
                protocol's. A range isn't wide enough, or doesn't contain the published value.
        """
        values = dict(flattened(published.plain_hyperparameters))
        chosen = _family(published, family)
        common = _common_dimensions(values, chosen)
        ranges = {hyperparameter(published, name): _range(name, ends) for name, ends in (own or {}).items()}
        if len(ranges) > MOST_OWN or len(ranges) < len(own or {}):
            raise TuningError(
                f"a method adds at most {MOST_OWN} hyperparameters of its own, each once, got {', '.join(own or {})}"
            )
        taken = sorted(ranges.keys() & {dimension.name for dimension in common})
        if taken:
            raise TuningError(f"the protocol varies {', '.join(taken)}, in a range that is the same for everyone: leave it out")
        added = [_own_dimension(name, low, high, values.get(name)) for name, (low, high) in ranges.items()]
        triples = tuple((name, low, high) for name, (low, high) in ranges.items())
        for dimension in common:
            dimension.of(values)  # raises for what can't be varied, before anything runs
        return Space(published, chosen, triples, (*common, *added))

    @property
    def ranges(self) -> dict[str, list[float]]:
        """The method's own ranges as files have them: name → lowest and highest value."""
        return {name: [low, high] for name, low, high in self.own}

    def recipe(self, number: int, point: Unit | None) -> Recipe:
        """The recipe at a point. Without a point it is the published one."""
        name = f"{self.published.name}-point{number}"
        if point is None:
            return replace(self.published, name=name)
        values = dict(flattened(self.published.plain_hyperparameters))
        places = zip(self.dimensions, point, strict=True)
        changes = {dimension.name: dimension.put(place, values) for dimension, place in places}
        return replace(with_values(self.published, changes), name=name)

    def place(self, recipe: Recipe) -> Unit:
        """The point at which, or next to which, a recipe lies."""
        values = dict(flattened(recipe.plain_hyperparameters))
        return tuple(dimension.place(dimension.of(values)) for dimension in self.dimensions)


def sobol(count: int, dimensions: int) -> NDArray[np.float64]:
    """The first points of the protocol's sequence, (count, dimensions), in [0, 1)."""
    points = qmc.Sobol(dimensions, scramble=False, bits=SOBOL_BITS).random_base2(ceil(log2(count)))[:count]
    digits = np.round(points * 2**SOBOL_BITS).astype(np.uint64)
    shift = np.random.Philox(key=SOBOL_KEY).random_raw(dimensions).astype(np.uint64) >> np.uint64(64 - SOBOL_BITS)
    shifted: NDArray[np.float64] = (digits ^ shift) / 2**SOBOL_BITS
    return shifted


def search_points(dimensions: int, count: int) -> list[Unit]:
    """The points that every method with so many dimensions tries first."""
    return [tuple(map(float, row)) for row in sobol(count, dimensions)]


def zoom_points(center: Unit, *, before: int, count: int) -> list[Unit]:
    """The next points of the sequence, after `before` others, in a box a third as wide around a center."""
    corner = np.clip(np.array(center) - 1 / 6, 0, 2 / 3)
    rows = sobol(before + count, len(center))[before:]
    return [tuple(map(float, corner + row / 3)) for row in rows]


def _family(published: Recipe, family: str | None) -> Family:
    optimizer = published.plain_hyperparameters.get("optimizer")
    name = optimizer.get("name") if isinstance(optimizer, dict) else None
    known = next((each for each in MEMBERS if isinstance(name, str) and normalized(name) in MEMBERS[each]), None)
    if known is not None:
        if family not in (None, known):
            raise TuningError(f"{name} belongs to the family {known}, got {family}: leave out --family")
        return known
    given: Family | None = next((each for each in LEARNING_RATES if each == family), None)
    if given is None:
        shown = name or published.target
        raise TuningError(f"say to which family {shown} belongs: --family {' or '.join(LEARNING_RATES)}, got {family}")
    return given


def _common_dimensions(values: Mapping[str, Any], family: Family) -> tuple[Dimension, ...]:
    """The dimensions of the protocol that the recipe has."""
    low, high = LEARNING_RATES[family]
    rate = next((name for name in ("optimizer.lr", "lr") if name in values), None)
    if rate is None:
        raise TuningError("the recipe states no learning rate: add lr to [optimizer], or make lr an argument of your agent")
    decay = next((name for name in ("optimizer.weight_decay", "weight_decay") if name in values), None)
    warmup = next((name for name in ("schedule.warmup", "warmup") if name in values), None)
    betas = next((name for name in ("optimizer.betas", "optimizer.adamw_betas", "betas") if name in values), None)
    return (
        Dimension(rate, low, high),
        *([Dimension(decay, *_decay_range(values), off=True)] if decay else []),
        *([Dimension(warmup, *WARMUP, whole=True)] if warmup else []),
        *([Dimension(betas, 1 - 1 / SHORTEST_MEMORY, 1 - 1 / LONGEST_MEMORY, "memory", index=1)] if betas else []),
    )


def _decay_range(values: Mapping[str, Any]) -> tuple[float, float]:
    """The range of the weight decay, by whether the optimizer adds it to the gradient."""
    told = next((values[name] for name in DECOUPLING if name in values), None)
    by_name = normalized(str(values.get("optimizer.name"))) in COUPLED
    return COUPLED_DECAY if (by_name if told is None else not told) else WEIGHT_DECAY


def _range(name: str, ends: Sequence[float]) -> tuple[float, float]:
    low, high = (_number(f"an end of the range of {name}", end) for end in ends)
    return low, high


def _own_dimension(name: str, low: float, high: float, published: Any) -> Dimension:
    _number(f"{name} in the recipe", published)
    is_unit = (low, high) == (0.0, 1.0)
    if not is_unit and not (low > 1 / LARGEST and LEAST_RATIO * low <= high):
        raise TuningError(f"the range of {name} must be at least a decade wide and above 0, or 0:1, got {low:g}:{high:g}")
    if not low <= published <= high:
        raise TuningError(f"the range of {name} must contain the published value {published:g}, got {low:g}:{high:g}")
    if is_unit:
        return Dimension(name, 0.0, 1 - 1 / LONGEST_MEMORY, "memory")
    return Dimension(name, low, high, whole=isinstance(published, int))


def _number(shown: str, value: Any) -> float:
    """The value. Raises TuningError unless it is a number whose size can be computed with."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        raise TuningError(f"{shown} must be a number to vary it, got {value!r}"[:LONGEST_MESSAGE])
    return float(value)
