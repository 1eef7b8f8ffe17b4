"""Grokking and double descent as patterns learned at different speeds: the toy model of Davies et al. 2023 (arXiv 2303.06173).

A pattern has learned the share p(t) = maximum / (1 + exp(−speed · (t − onset))) of the examples, each pattern independently.
An example is right in training if any pattern has it. On a held-out one the model follows the preferred pattern if that has it,
else any of those that have it, each as likely, and is right with the probability `generalization` of the one it follows; with
none it is wrong: the model leaves chance out, and a fit finds chance in the generalization of what memorizes.

In a fit t is ln(step), in which a logistic is the power law 1 / (1 + (e^onset / step)^speed): real runs slow down as they go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit

from grokbench.analysis.stages import Array, Curve, curve

SPEEDS = (0.1, 100.0)  # bounds of a fit, per e-fold of steps: a rise from 10 % to 90 % over 19 decades, or 4.5 % of the steps
START_SPEEDS = (2.0, 10.0)
START_ONSETS = 6  # of the run's ln(step), evenly: every choice of `count` of them is a start


@dataclass(frozen=True)
class Pattern:
    """An input-output function that training picks up.

    Attributes:
        speed: α, how fast, per unit of t.
        onset: b, the t at which half the maximum is learned.
        generalization: g, the share of held-out examples it gets right where it is followed.
        maximum: γ, the share of examples it comes to explain.
        preferred: whether it is followed wherever it applies; at most one pattern is.
    """

    speed: float
    onset: float
    generalization: float
    maximum: float = 1.0
    preferred: bool = False


DOUBLE_DESCENT = (Pattern(0.15, 30, 1, 0.7), Pattern(0.15, 50, 0), Pattern(0.05, 200, 1, 0.2, preferred=True))
GROKKING = (Pattern(0.15, 30, 1, 0.0), Pattern(0.15, 50, 0), Pattern(0.05, 200, 1, preferred=True))  # both over 300 steps


@dataclass(frozen=True)
class Fit:
    """Patterns fitted to a run, for t = ln(step), and how well.

    Attributes:
        patterns: by onset, the preferred one last.
        rmse: root mean square of what both curves differ by, in accuracy.
    """

    patterns: tuple[Pattern, ...]
    rmse: float


def learned(patterns: Sequence[Pattern], t: Curve) -> Array:
    """The share of examples that each pattern has learned at times t, (T,): (patterns, T)."""
    time = np.asarray(t, dtype=float)
    return np.array([p.maximum * expit(p.speed * (time - p.onset)) for p in patterns])


def train_accuracy(patterns: Sequence[Pattern], t: Curve) -> Array:
    """1 − ∏(1 − p): the share of training examples that any pattern has, (T,)."""
    return np.asarray(1 - np.prod(1 - learned(patterns, t), axis=0))


def test_accuracy(patterns: Sequence[Pattern], t: Curve) -> Array:
    """Σ_A P_A · G(A) over the sets A of patterns that have an example, (T,); P_A = ∏_A p · ∏_not A (1 − p).

    G(A) is the preferred pattern's generalization if it is in A, else the mean over A, and 0 for the empty set.

    Raises:
        ValueError: more than one pattern is preferred.
    """
    if sum(p.preferred for p in patterns) > 1:
        raise ValueError("at most one pattern is preferred: between two, the model doesn't say which is followed")
    shares = learned(patterns, t)
    accuracy = np.zeros(shares.shape[1:])
    for subset in product((False, True), repeat=len(patterns)):
        has = np.array(subset)[:, None]
        chance = np.prod(np.where(has, shares, 1 - shares), axis=0)
        accuracy += chance * _generalization([p for p, inside in zip(patterns, subset, strict=True) if inside])
    return accuracy


def _generalization(having: Sequence[Pattern]) -> float:
    followed = [p for p in having if p.preferred] or having
    return float(np.mean([p.generalization for p in followed])) if followed else 0.0


def fit(steps: Curve, train: Curve, test: Curve, count: int = 2) -> Fit:
    """The `count` patterns that explain accuracies (T,) at `steps` (T,) best by least squares, every exam weighing the same.

    The last pattern is preferred and its maximum 1, for nothing tells that from its generalization once the rest has memorized.
    Deterministic, from many starts.

    Raises:
        ValueError: the curves aren't finite, rising in steps and of one length, or hold fewer exams than 2 · count.
    """
    if not 0 < count <= START_ONSETS:
        raise ValueError(f"a fit is of 1 to {START_ONSETS} patterns, got {count}")
    (at, seen), (_, held_out) = curve(steps, train, "train accuracy"), curve(steps, test, "test accuracy")
    if len(at) < 2 * count:
        raise ValueError(f"a fit of {count} patterns needs at least {2 * count} exams, got {len(at)}")
    t, curves = np.log(at), np.array([seen, held_out])

    def residuals(numbers: Array) -> Array:
        patterns = _patterns(numbers, count)
        return np.ravel([train_accuracy(patterns, t), test_accuracy(patterns, t)] - curves)

    ends = zip(np.log(SPEEDS), (t.min(), t.max()), (0, 1), strict=True)
    low, high = ([speed] * count + [onset] * count + [share] * (2 * count - 1) for speed, onset, share in ends)
    found = [least_squares(residuals, start, bounds=(low, high)) for start in _starts(t, count)]
    best = min(found, key=lambda result: float(result.cost))
    *others, preferred = _patterns(best.x, count)
    return Fit((*sorted(others, key=lambda p: p.onset), preferred), float(np.sqrt(np.mean(best.fun**2))))


def _starts(t: Array, count: int) -> list[Array]:
    onsets = combinations(np.linspace(t.min(), t.max(), START_ONSETS + 2)[1:-1], count)
    shares = np.full(2 * count - 1, 0.5)
    return [np.concatenate([np.full(count, np.log(v)), onset, shares]) for onset, v in product(onsets, START_SPEEDS)]


def _patterns(numbers: Array, count: int) -> list[Pattern]:
    """ln(speed), onset, generalization, maximum: one row of `count` each, the preferred one's maximum left out as 1."""
    rows = np.append(numbers, 1.0).reshape(4, count).T
    return [Pattern(float(np.exp(a)), float(b), float(g), float(m), i == count - 1) for i, (a, b, g, m) in enumerate(rows)]
