"""Grokking and double descent as patterns that are learned at different speeds.

The toy model of Davies, Langosco, Krueger 2023, "Unifying Grokking and Double Descent" (arXiv 2303.06173):

* At time t, a pattern applies to the share p(t) = maximum / (1 + exp(-speed * (t - onset))) of the examples. Patterns apply
  independently of each other.
* A training example is answered right if any pattern applies to it.
* On a held-out example, the model follows the preferred pattern if that applies. Otherwise it follows one of the patterns that
  apply, each with the same probability. The answer is right with the probability `generalization` of that pattern.
* A held-out example to which no pattern applies is answered wrong. The model has no guessing term; a fit absorbs guessing
  into `generalization` of the memorizing pattern.

In a fit, t is ln(step). The logistic function is then the power law 1 / (1 + (e^onset / step)^speed), because the learning of
real runs slows down with the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.special import expit

from grokbench.analysis.series import FloatArray, checked_series
from grokbench.errors import CurveError

# Bounds of a fitted speed, per e-fold of steps. A rise from 10 % to 90 % takes 19 decades at the slowest speed and 4.5 % of
# the steps at the fastest.
SLOWEST, FASTEST = 0.1, 100.0
START_SPEEDS = (2.0, 10.0)
START_ONSETS = 6  # evenly spaced in the run's ln(step); a fit starts from every choice of `count` of them


@dataclass(frozen=True)
class Pattern:
    """An input-output function that a network picks up in training.

    Attributes:
        speed: α, how fast the pattern is learned, per unit of t.
        onset: b, the time t at which half of the maximum is learned.
        generalization: g, the share of held-out examples that the pattern answers right where it is followed.
        maximum: γ, the share of the examples to which the pattern applies in the end.
        preferred: Whether the pattern is followed wherever it applies.
    """

    speed: float
    onset: float
    generalization: float
    maximum: float = 1.0
    preferred: bool = False


@dataclass(frozen=True)
class PatternModel:
    """The patterns of a network, at most one of them preferred. In what follows, P is their number.

    Example:
        >>> model = PatternModel((Pattern(8, onset=5, generalization=0), Pattern(4, onset=8, generalization=1, preferred=True)))
        >>> model.held_out_accuracy([5, 8, 11]).round(2)
        array([0. , 0.5, 1. ])
    """

    patterns: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        if sum(pattern.preferred for pattern in self.patterns) > 1:
            raise CurveError("at most one pattern can be preferred: the model doesn't say which of two is followed")

    def learned(self, times: ArrayLike) -> FloatArray:
        """The share of examples to which each pattern applies, (P, T), at `times` (T,)."""
        t = np.asarray(times, dtype=float)
        return np.array([pattern.maximum * expit(pattern.speed * (t - pattern.onset)) for pattern in self.patterns])

    def train_accuracy(self, times: ArrayLike) -> FloatArray:
        """The share of training examples to which any pattern applies, 1 - ∏(1 - p): (T,), at `times` (T,)."""
        return np.asarray(1 - np.prod(1 - self.learned(times), axis=0))

    def held_out_accuracy(self, times: ArrayLike) -> FloatArray:
        """The share of held-out examples answered right, Σ_A P_A · G(A): (T,), at `times` (T,).

        The sum is over all sets A of patterns. P_A is the probability that exactly these patterns apply to an example. G(A) is
        the generalization of the preferred pattern if A holds it, else the mean over A, and 0 for the empty set.
        """
        shares = self.learned(times)
        accuracy = np.zeros(shares.shape[1:])
        for subset in product((False, True), repeat=len(self.patterns)):
            applies = np.array(subset)[:, None]
            probability = np.prod(np.where(applies, shares, 1 - shares), axis=0)
            chosen = [pattern for pattern, inside in zip(self.patterns, subset, strict=True) if inside]
            accuracy += probability * _mean_generalization(chosen)
        return accuracy

    def to_vector(self) -> FloatArray:
        """The parameters that a fit is free to choose, (4P - 1,); `from_vector` reads them.

        In this order: the logarithm of every speed, every onset, every generalization, and every maximum but the last.
        """
        table = [(np.log(pattern.speed), pattern.onset, pattern.generalization, pattern.maximum) for pattern in self.patterns]
        return np.array(table, dtype=float).T.ravel()[:-1]

    @classmethod
    def from_vector(cls, vector: FloatArray) -> "PatternModel":
        """The model with the parameters of `to_vector`, (4P - 1,). The last pattern is preferred and its maximum is 1."""
        log_speeds, onsets, generalizations, maxima = np.append(vector, 1.0).reshape(4, -1)
        last = len(onsets) - 1
        return cls(
            tuple(
                Pattern(
                    speed=float(np.exp(log_speeds[i])),
                    onset=float(onsets[i]),
                    generalization=float(generalizations[i]),
                    maximum=float(maxima[i]),
                    preferred=i == last,
                )
                for i in range(last + 1)
            )
        )

    def ordered(self) -> "PatternModel":
        """The same model with its last pattern in place and the others sorted by onset."""
        *others, last = self.patterns
        return PatternModel((*sorted(others, key=lambda pattern: pattern.onset), last))


# The two examples of the paper, over 300 steps; t is the step. They differ in `maximum` alone.
DOUBLE_DESCENT = PatternModel(
    (
        Pattern(speed=0.15, onset=30, generalization=1, maximum=0.7),
        Pattern(speed=0.15, onset=50, generalization=0, maximum=1.0),
        Pattern(speed=0.05, onset=200, generalization=1, maximum=0.2, preferred=True),
    )
)
GROKKING = PatternModel(
    (
        Pattern(speed=0.15, onset=30, generalization=1, maximum=0.0),
        Pattern(speed=0.15, onset=50, generalization=0, maximum=1.0),
        Pattern(speed=0.05, onset=200, generalization=1, maximum=1.0, preferred=True),
    )
)


@dataclass(frozen=True)
class Fit:
    """A model fitted to a run, with t = ln(step).

    Attributes:
        model: The patterns by onset, the preferred pattern last.
        rmse: Root mean square of the differences between the run's accuracies and the model's.
    """

    model: PatternModel
    rmse: float


def fit(steps: ArrayLike, *, train: ArrayLike, held_out: ArrayLike, count: int = 2) -> Fit:
    """Fit `count` patterns to the accuracies of a run, by least squares over all exams.

    The last pattern is preferred. Its maximum is fixed at 1, because the data can't tell it from its generalization once the
    other patterns explain all training examples. The fit is deterministic and takes the best of many starts.

    Args:
        steps: (T,) the steps of the exams, positive and rising.
        train: (T,) train accuracy in [0, 1].
        held_out: (T,) held-out accuracy in [0, 1].
        count: The number of patterns, 1 to 6.

    Returns:
        The best model and its error.

    Raises:
        CurveError: A curve isn't finite or not rising in steps, the lengths differ, there are fewer than 2 · `count` exams, or
            `count` is out of range.

    Example:
        >>> steps = np.geomspace(10, 10_000, 100)
        >>> fitted = fit(steps, train=1 / (1 + (100 / steps) ** 8), held_out=1 / (1 + (2000 / steps) ** 4))
        >>> [round(np.exp(pattern.onset)) for pattern in fitted.model.patterns]
        [100, 2000]
    """
    if not 0 < count <= START_ONSETS:
        raise CurveError(f"a fit takes 1 to {START_ONSETS} patterns, got {count}")
    step_array, train_accuracy = checked_series(steps, train, "train accuracy")
    _, held_out_accuracy = checked_series(steps, held_out, "held-out accuracy")
    if len(step_array) < 2 * count:
        raise CurveError(f"a fit of {count} patterns needs at least {2 * count} exams, got {len(step_array)}")
    t, measured = np.log(step_array), np.array([train_accuracy, held_out_accuracy])

    def residuals(vector: FloatArray) -> FloatArray:
        model = PatternModel.from_vector(vector)
        return np.ravel([model.train_accuracy(t), model.held_out_accuracy(t)] - measured)

    bounds = _bounds(t, count)
    results = [least_squares(residuals, start.to_vector(), bounds=bounds) for start in _starts(t, count)]
    best = min(results, key=lambda result: float(result.cost))
    return Fit(PatternModel.from_vector(best.x).ordered(), rmse=float(np.sqrt(np.mean(best.fun**2))))


def _mean_generalization(patterns: Sequence[Pattern]) -> float:
    """The probability of a right answer on a held-out example to which exactly these patterns apply."""
    followed = [pattern for pattern in patterns if pattern.preferred] or patterns
    return float(np.mean([pattern.generalization for pattern in followed])) if followed else 0.0


def _bounds(t: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """The least and the greatest parameters of a fit, each in the order of `PatternModel.to_vector`."""
    lowest = Pattern(speed=SLOWEST, onset=t.min(), generalization=0, maximum=0)
    highest = Pattern(speed=FASTEST, onset=t.max(), generalization=1, maximum=1)
    return PatternModel((lowest,) * count).to_vector(), PatternModel((highest,) * count).to_vector()


def _starts(t: FloatArray, count: int) -> list[PatternModel]:
    """The models from which a fit starts: every choice of onsets with every start speed, all shares at one half."""
    choices = combinations(np.linspace(t.min(), t.max(), START_ONSETS + 2)[1:-1], count)
    return [
        PatternModel(tuple(Pattern(speed, onset, generalization=0.5, maximum=0.5) for onset in onsets))
        for onsets, speed in product(choices, START_SPEEDS)
    ]
