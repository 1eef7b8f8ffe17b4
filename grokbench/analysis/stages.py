"""Stages of generalization, with numbers: what "Deep Grokking" (Fan, Pascanu, Jaggi 2024, arXiv 2405.19454) shows in plots.

Curves are interpolated onto a uniform grid in log10(steps) between two median filters, which keep a monotone curve as it is.
Accuracy is then the best so far: what recovers from a dip surges only as far as it passes the old best.

A plateau is where, at a quarter of the pace of the surges on either side, accuracy would have risen by half a minimal surge
more than it did. Where the slope rises and then falls there is no such place: one sigmoid, however gentle, is one surge, and a
line in log10(steps) never has two stages. The definitions are this project's own; the paper gives none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from grokbench.evaluation.protocol import PROTOCOL

ROUNDING = 1e-9  # of an accuracy that was summed up
GRID = 0.01  # decades between points, about the gap of the protocol's exams
EXAMS = 5  # of the first median filter: what only two exams show is wobble
SMOOTHING = 11  # points of the second, a tenth of a decade
MINIMAL_RISE = 0.05  # of accuracy; three standard deviations, at the worst, of 1000 held-out answers
SURGE_DECADES = 1.0  # what takes longer to rise by the minimal rise is drift
PLATEAU_DECADES = 0.3  # the steps double: longer than a loss spike and its recovery
PLATEAU_PACE = 0.25  # of the slower surge's pace
PLATEAU_DEFICIT = 0.5  # of a minimal rise: noise doesn't hold a curve back as much
EDGE = 0.1  # a stretch lasts from 10 % to 90 % of its change, as rise times do
DELAY = 2.0  # times the steps to memorize: what comes sooner came with it
TURN_OF_RANGE = 0.1  # a rank has turned when it comes back by as much of its range …
TURN_OF_MAXIMUM = 0.05  # … and of its maximum: a rank that stays has a range too

Curve = Sequence[float] | NDArray[np.float64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A stretch of steps in which a curve went from one level to another.

    Attributes:
        start, stop: steps at 10 % and at 90 % of the change.
        before, after: the levels.
    """

    start: float
    stop: float
    before: float
    after: float

    @property
    def change(self) -> float:
        """What it gained; negative for what it lost."""
        return self.after - self.before


@dataclass(frozen=True)
class Delay:
    """Generalization that came after memorization.

    Attributes:
        memorized: the first step with train accuracy at the protocol's threshold, 99 %.
        generalized: the step with held-out accuracy halfway from `before` to `after`.
        before, after: held-out accuracy, best so far, at memorization and at the end.
    """

    memorized: float
    generalized: float
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times the steps to memorize it took to generalize."""
        return self.generalized / self.memorized


def surges(steps: Curve, accuracy: Curve, rise: float = MINIMAL_RISE) -> list[Stretch]:
    """The surges of held-out accuracy, in order; between any two lies a plateau, which holds the surges' slow tails too.

    Args:
        steps: (T,) rising and positive.
        accuracy: (T,) held-out accuracy in [0, 1].
        rise: the least rise of a surge; take more for fewer than 1000 held-out answers.

    Raises:
        ValueError: the curves aren't finite, rising in steps and of one length, or an accuracy or `rise` isn't one.
    """
    if not 0 < rise < 1:
        raise ValueError(f"the least rise of a surge lies in (0, 1), got {rise}")
    x, y = _best_so_far(steps, accuracy)
    return [_stretch(x, y, first, last) for first, last in _climbs(x, y, rise)]


def multi_stage(steps: Curve, accuracy: Curve, rise: float = MINIMAL_RISE) -> bool:
    """Whether held-out accuracy rises in two surges or more. Takes and raises what `surges` does."""
    return len(surges(steps, accuracy, rise)) > 1


def delayed_generalization(steps: Curve, train: Curve, held_out: Curve, delay: float = DELAY) -> Delay | None:
    """How late the network generalizes, None if not late: what held-out accuracy gains after memorization, and when.

    `train` and `held_out` are accuracies (T,) at `steps` (T,). Late is: a surge starts after memorization, or the one that it
    falls into has most of the rise still to come, and half of what is gained then comes at `delay` times the steps or later.
    What gains less is learning that tapers off.

    Raises:
        ValueError: as `surges` does, of either curve.
    """
    at, seen = curve(steps, train, "train accuracy")
    x, y = _best_so_far(steps, held_out)
    memorized = float(at[seen >= PROTOCOL.memorized].min(initial=np.inf))
    if np.isinf(memorized):
        return None
    before, after = float(np.interp(np.log10(memorized), x, y)), float(y[-1])
    late = [surge for surge in surges(steps, held_out) if surge.stop > memorized]
    if not late or (late[-1].start < memorized and after - before <= before - y[0]):
        return None
    found = Delay(memorized, float(10 ** x[np.argmax(y >= (before + after) / 2)]), before, after)
    return found if found.ratio >= delay and after - before >= MINIMAL_RISE else None


def rank_falls(steps: Curve, rank: Curve) -> list[Stretch]:
    """The falls of a rank, in order, separated by rises; each falls by the least turn or more, and so does each rise.

    The least turn is the greater of 10 % of the smoothed curve's range and 5 % of its maximum. `steps` and `rank` are (T,).

    Raises:
        ValueError: the curves aren't finite, rising in steps and of one length, or a rank is negative.
    """
    x, y = _resampled(steps, rank, "rank")
    if y.min() < 0:
        raise ValueError(f"ranks are at least 0, got {y.min():.6g}")
    turns = _turning_points(y, max(TURN_OF_RANGE * float(np.ptp(y)), TURN_OF_MAXIMUM * float(y.max())))
    return [_stretch(x, y, first, last) for first, last in pairwise(turns) if y[last] < y[first]]


def rank_double_descent(steps: Curve, rank: Curve) -> bool:
    """Whether the rank falls, rises and falls again. Takes and raises what `rank_falls` does."""
    return len(rank_falls(steps, rank)) > 1


def curve(steps: Curve, values: Curve, name: str) -> tuple[Array, Array]:
    """Steps (T,) and values (T,) as arrays.

    Raises:
        ValueError: they aren't finite or of one length, at least 1, or the steps aren't positive and rising.
    """
    at, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if at.ndim != 1 or at.shape != y.shape or not len(at):
        raise ValueError(f"steps and {name} are two rows of one length, at least 1, got shapes {at.shape} and {y.shape}")
    if not (np.isfinite(at).all() and np.isfinite(y).all()):
        raise ValueError(f"steps and {name} must be finite: cut the run off where it diverged")
    if at[0] <= 0 or (np.diff(at) <= 0).any():
        raise ValueError(f"steps must be positive and rising, got {at[:5]} …")
    return at, y


def _resampled(steps: Curve, values: Curve, name: str) -> tuple[Array, Array]:
    """log10(steps) on a uniform grid, (N,), and the smoothed values there."""
    at, y = curve(steps, values, name)
    known = np.log10(at)
    x = np.linspace(known[0], known[-1], 1 + max(1, round((known[-1] - known[0]) / GRID)))
    y = median_filter(y, EXAMS, mode="nearest")
    return x, np.asarray(median_filter(np.interp(x, known, y), SMOOTHING, mode="nearest"), dtype=float)


def _best_so_far(steps: Curve, accuracy: Curve) -> tuple[Array, Array]:
    x, y = _resampled(steps, accuracy, "accuracy")
    if y.min() < -ROUNDING or y.max() > 1 + ROUNDING:
        raise ValueError(f"accuracies lie in [0, 1], got {y.min():.6g} to {y.max():.6g}")
    return x, np.maximum.accumulate(y)


def _climbs(x: Array, y: Array, rise: float) -> list[tuple[int, int]]:
    """First and last points of the climbs of a rising curve, plateau by plateau."""
    within = _quickest_rises(x, y, rise)
    slower = np.maximum(within[0][:, None], within[:, -1])  # (N, N): of the quickest rises before a plateau and after it
    length, gain = x - x[:, None], y - y[:, None]
    deficit = PLATEAU_PACE * rise / slower * length - gain
    deficit[(length < PLATEAU_DECADES) | (slower > SURGE_DECADES) | (within < slower / PLATEAU_PACE)] = -np.inf
    first, last = (int(i) for i in np.unravel_index(deficit.argmax(), deficit.shape))
    if deficit[first, last] >= PLATEAU_DEFICIT * rise:
        left, right = _climbs(x[: first + 1], y[: first + 1], rise), _climbs(x[last:], y[last:], rise)
        return left + [(last + i, last + j) for i, j in right]
    return [(0, len(x) - 1)] if within[0, -1] <= SURGE_DECADES else []


def _quickest_rises(x: Array, y: Array, rise: float) -> Array:
    """The fewest decades in which a rising curve gains `rise` between two points, ∞ where it doesn't: (N, N)."""
    begin = np.searchsorted(y, y - rise, side="right") - 1  # of the quickest rise that ends here, −1 for none
    decades = np.where(begin >= np.arange(len(x))[:, None], x - x[begin], np.inf)
    return np.asarray(np.minimum.accumulate(decades, axis=1))


def _stretch(x: Array, y: Array, first: int, last: int) -> Stretch:
    progress = (y[first : last + 1] - y[first]) / (y[last] - y[first])
    stop = int(np.argmax(progress >= 1 - EDGE))
    start = int(np.flatnonzero(progress[: stop + 1] <= EDGE)[-1])
    return Stretch(float(10 ** x[first + start]), float(10 ** x[first + stop]), float(y[first]), float(y[last]))


def _turning_points(y: Array, least: float) -> list[int]:
    """Where the curve turned: from each of these points to the next it rises or falls by `least` or more."""
    turns: list[int] = []
    low = high = direction = 0
    for i in range(len(y)):
        low, high = (i if y[i] < y[low] else low), (i if y[i] > y[high] else high)
        if direction <= 0 and y[i] - y[low] >= least > 0:
            turns, direction, high = [*turns, low], 1, i
        elif direction >= 0 and y[high] - y[i] >= least > 0:
            turns, direction, low = [*turns, high], -1, i
    return [*turns, high if direction > 0 else low]
