"""Stages of generalization and of a feature rank, measured on the curves of a run.

"Deep Grokking" (Fan, Pascanu, Jaggi 2024, arXiv 2405.19454) shows these stages in plots and gives no definitions. The
definitions here are this project's own.

Every function takes sequences, arrays or columns of a DataFrame: `surges(run.exams["step"], run.exams["held_out_accuracy"])`.

How a curve is read:

1. A median filter over exams removes wobble.
2. The curve is interpolated onto a uniform grid in log10(step) and filtered once more. Both filters keep a monotone curve.
3. An accuracy is replaced by its best value so far. A recovery from a dip therefore counts only above the old best.

Two surges are separated by a plateau. On a plateau, accuracy rises much less than a quarter of its slower neighbor's pace
would give. A slope that rises and then falls has no plateau: a sigmoid is a single surge, however gentle it is, and a line in
log10(step) never has two stages.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import median_filter

from grokbench.analysis.series import FloatArray, checked_series
from grokbench.errors import CurveError
from grokbench.evaluation.protocol import PROTOCOL

ACCURACY_TOLERANCE = 1e-9  # rounding of an accuracy that was computed as a sum
GRID = 0.01  # decades between grid points, about the gap between exams in the protocol
FILTERED_EXAMS = 5  # exams in the first median filter: what only two exams show is wobble
FILTERED_POINTS = 11  # grid points in the second median filter, a tenth of a decade
MINIMAL_RISE = 0.05  # of accuracy: at least three standard deviations with 1000 held-out answers
SURGE_DECADES = 1.0  # a curve that needs longer for the minimal rise drifts
PLATEAU_DECADES = 0.3  # the steps double: longer than a loss spike and its recovery
PLATEAU_PACE = 0.25  # as a share of the pace of the slower surge beside the plateau
PLATEAU_SHORTFALL = 0.5  # as a share of the minimal rise: noise holds a curve back less than that
EDGE = 0.1  # a stretch lasts from 10 % to 90 % of its change, as rise times do
DELAY = 2.0  # as a multiple of the steps to memorize: an earlier rise belongs to memorization
TURN_OF_RANGE = 0.1  # a rank turns when it comes back by this share of its range ...
TURN_OF_MAXIMUM = 0.05  # ... and by this share of its maximum: a constant rank with noise has a range too


@dataclass(frozen=True)
class Stretch:
    """A stretch of steps in which a curve went from one level to another.

    Attributes:
        start: The step at 10 % of the change.
        stop: The step at 90 % of the change.
        before: The level before the change.
        after: The level after the change.
    """

    start: float
    stop: float
    before: float
    after: float

    @property
    def change(self) -> float:
        """The gain, negative for a fall."""
        return self.after - self.before


@dataclass(frozen=True)
class Delay:
    """Generalization that came after memorization.

    Attributes:
        memorized_step: The first step with 99 % train accuracy, the protocol's threshold.
        generalized_step: The step with held-out accuracy halfway from `before` to `after`.
        before: The best held-out accuracy up to memorization.
        after: The best held-out accuracy up to the end.
    """

    memorized_step: float
    generalized_step: float
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Steps to generalize, divided by steps to memorize."""
        return self.generalized_step / self.memorized_step


def surges(steps: ArrayLike, accuracy: ArrayLike, *, rise: float = MINIMAL_RISE) -> list[Stretch]:
    """Find the surges of held-out accuracy, in the order of steps.

    A surge gains at least `rise` within a decade of steps. A plateau separates two surges. The slow beginning and the slow
    end of a surge belong to the plateaus beside it.

    Args:
        steps: (T,) the steps of the exams, positive and rising.
        accuracy: (T,) held-out accuracy in [0, 1].
        rise: The least gain of a surge. Take more with fewer than 1000 held-out answers.

    Returns:
        A `Stretch` for each surge; its levels are accuracies.

    Raises:
        CurveError: The curve isn't finite, not in [0, 1] or not rising in steps, the lengths differ, or `rise` isn't in (0, 1).

    Example:
        >>> steps = np.geomspace(10, 30_000, 300)
        >>> [round(surge.start) for surge in surges(steps, 0.4 / (1 + (100 / steps) ** 9) + 0.5 / (1 + (5000 / steps) ** 9))]
        [77, 4054]
    """
    if not 0 < rise < 1:
        raise CurveError(f"the least rise of a surge must lie in (0, 1), got {rise}")
    log_steps, best = _best_so_far(steps, accuracy)
    return _split_at_plateaus(log_steps, best, rise)


def multi_stage(steps: ArrayLike, accuracy: ArrayLike, *, rise: float = MINIMAL_RISE) -> bool:
    """Whether held-out accuracy rises in two or more surges.

    Arguments and errors are those of `surges`.

    Example:
        >>> steps = np.geomspace(10, 30_000, 300)
        >>> multi_stage(steps, 0.9 / (1 + (1000 / steps) ** 9))
        False
    """
    return len(surges(steps, accuracy, rise=rise)) > 1


def delayed_generalization(steps: ArrayLike, *, train: ArrayLike, held_out: ArrayLike, delay: float = DELAY) -> Delay | None:
    """Measure how long after memorizing a network generalizes.

    A network generalizes late under three conditions. A smaller gain is learning that tapers off.

    * A surge of held-out accuracy starts after memorization. If memorization falls into the last surge, most of the rise
      comes after it.
    * Half of the gain after memorization is reached at `delay` times the steps to memorize, or later.
    * The gain after memorization is at least `MINIMAL_RISE`.

    Args:
        steps: (T,) the steps of the exams, positive and rising.
        train: (T,) train accuracy in [0, 1].
        held_out: (T,) held-out accuracy in [0, 1].
        delay: The least ratio of steps to generalize to steps to memorize.

    Returns:
        The delay, None if the network never memorizes or doesn't generalize late.

    Raises:
        CurveError: As in `surges`, for either curve.

    Example:
        >>> steps = np.geomspace(10, 30_000, 300)
        >>> delay = delayed_generalization(steps, train=steps > 100, held_out=0.9 / (1 + (1000 / steps) ** 9))
        >>> round(delay.ratio)
        10
    """
    train_steps, train_accuracy = checked_series(steps, train, "train accuracy")
    log_steps, best = _best_so_far(steps, held_out)
    memorized_step = float(train_steps[train_accuracy >= PROTOCOL.memorized].min(initial=np.inf))
    if np.isinf(memorized_step):
        return None
    before, after = float(np.interp(np.log10(memorized_step), log_steps, best)), float(best[-1])
    late_surges = [surge for surge in surges(steps, held_out) if surge.stop > memorized_step]
    if not late_surges:
        return None
    mostly_risen = after - before <= before - best[0]
    if late_surges[-1].start < memorized_step and mostly_risen:
        return None
    halfway = np.argmax(best >= (before + after) / 2)
    measured = Delay(memorized_step, float(10 ** log_steps[halfway]), before, after)
    return measured if measured.ratio >= delay and after - before >= MINIMAL_RISE else None


def rank_falls(steps: ArrayLike, rank: ArrayLike) -> list[Stretch]:
    """Find the falls of a feature rank, in the order of steps.

    A rise separates two falls. Falls and rises have a least size: the greater of 10 % of the smoothed curve's range and 5 %
    of its maximum.

    Args:
        steps: (T,) the steps of the exams, positive and rising.
        rank: (T,) any rank measure of a layer, at least 0.

    Returns:
        A `Stretch` for each fall; its levels are ranks.

    Raises:
        CurveError: The curve isn't finite, negative or not rising in steps, or the lengths differ.

    Example:
        >>> steps = np.geomspace(10, 30_000, 300)
        >>> [round(fall.after) for fall in rank_falls(steps, 100 - 70 / (1 + (1000 / steps) ** 9))]
        [30]
    """
    log_steps, smoothed = _resampled(steps, rank, "rank")
    if smoothed.min() < 0:
        raise CurveError(f"ranks must be at least 0, got {smoothed.min():.6g}")
    least = max(TURN_OF_RANGE * float(np.ptp(smoothed)), TURN_OF_MAXIMUM * float(smoothed.max()))
    return [
        _stretch(log_steps[first : last + 1], smoothed[first : last + 1])
        for first, last in pairwise(_turning_points(smoothed, least))
        if smoothed[last] < smoothed[first]
    ]


def rank_double_descent(steps: ArrayLike, rank: ArrayLike) -> bool:
    """Whether a feature rank falls, rises and falls again.

    Arguments and errors are those of `rank_falls`.

    Example:
        >>> steps = np.geomspace(10, 30_000, 300)
        >>> rank_double_descent(steps, 60 + 40 * np.cos(2 * np.log(steps)))
        True
    """
    return len(rank_falls(steps, rank)) > 1


def _resampled(steps: ArrayLike, values: ArrayLike, name: str) -> tuple[FloatArray, FloatArray]:
    """The uniform grid in log10(step), (N,), and the smoothed values there, (N,)."""
    step_array, value_array = checked_series(steps, values, name)
    log_steps = np.log10(step_array)
    decades = log_steps[-1] - log_steps[0]
    grid = np.linspace(log_steps[0], log_steps[-1], 1 + max(1, round(decades / GRID)))
    filtered = median_filter(value_array, FILTERED_EXAMS, mode="nearest")
    on_grid = np.interp(grid, log_steps, filtered)
    return grid, np.asarray(median_filter(on_grid, FILTERED_POINTS, mode="nearest"), dtype=float)


def _best_so_far(steps: ArrayLike, accuracy: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The uniform grid in log10(step), (N,), and the best accuracy up to each point, (N,)."""
    log_steps, smoothed = _resampled(steps, accuracy, "accuracy")
    if smoothed.min() < -ACCURACY_TOLERANCE or smoothed.max() > 1 + ACCURACY_TOLERANCE:
        raise CurveError(f"accuracies must lie in [0, 1], got {smoothed.min():.6g} to {smoothed.max():.6g}")
    return log_steps, np.maximum.accumulate(smoothed)


def _split_at_plateaus(x: FloatArray, y: FloatArray, rise: float) -> list[Stretch]:
    """The surges of a rising curve `y` over `x`: split at the clearest plateau, then split both halves."""
    fastest = _fastest_rises(x, y, rise)
    plateau = _clearest_plateau(x, y, rise, fastest)
    if plateau is None:
        return [_stretch(x, y)] if fastest[0, -1] <= SURGE_DECADES else []
    first, last = plateau
    return [
        *_split_at_plateaus(x[: first + 1], y[: first + 1], rise),
        *_split_at_plateaus(x[last:], y[last:], rise),
    ]


def _clearest_plateau(x: FloatArray, y: FloatArray, rise: float, fastest: FloatArray) -> tuple[int, int] | None:
    """First and last point of the stretch that falls furthest short of the pace that a plateau must stay below.

    That pace is `PLATEAU_PACE` times the pace of the slower surge beside the stretch. Entry (i, j) of every (N, N) array is
    for the stretch from point i to point j.
    """
    slower_surge = np.maximum(fastest[0][:, None], fastest[:, -1])  # decades for `rise`, before i or after j
    length, gain = x - x[:, None], y - y[:, None]
    shortfall = PLATEAU_PACE * rise / slower_surge * length - gain
    lasts = length >= PLATEAU_DECADES
    between_surges = slower_surge <= SURGE_DECADES
    slow_throughout = fastest >= slower_surge / PLATEAU_PACE
    shortfall[~(lasts & between_surges & slow_throughout)] = -np.inf
    first, last = (int(point) for point in np.unravel_index(shortfall.argmax(), shortfall.shape))
    return (first, last) if shortfall[first, last] >= PLATEAU_SHORTFALL * rise else None


def _fastest_rises(x: FloatArray, y: FloatArray, rise: float) -> FloatArray:
    """The fewest decades in which a rising curve gains `rise` between points i and j, infinite if it doesn't: (N, N)."""
    begin = np.searchsorted(y, y - rise, side="right") - 1  # where the fastest rise to each point begins, -1 for none
    points = np.arange(len(x))[:, None]
    decades = np.where(begin >= points, x - x[begin], np.inf)
    return np.asarray(np.minimum.accumulate(decades, axis=1))


def _stretch(x: FloatArray, y: FloatArray) -> Stretch:
    """The change from the first to the last value of a curve `y` over log10(step) `x`."""
    progress = (y - y[0]) / (y[-1] - y[0])
    stop = int(np.argmax(progress >= 1 - EDGE))
    start = int(np.flatnonzero(progress[: stop + 1] <= EDGE)[-1])
    return Stretch(start=float(10 ** x[start]), stop=float(10 ** x[stop]), before=float(y[0]), after=float(y[-1]))


def _turning_points(y: FloatArray, least: float) -> list[int]:
    """The points where a curve turns: between any two of them in a row it rises or falls by `least` or more."""
    if least <= 0:
        return []
    turns: list[int] = []
    lowest = highest = 0  # since the last turn
    direction = 0  # 1 while rising, -1 while falling, 0 before the first turn
    for point in range(len(y)):
        if y[point] < y[lowest]:
            lowest = point
        if y[point] > y[highest]:
            highest = point
        if direction <= 0 and y[point] - y[lowest] >= least:
            turns.append(lowest)
            direction, highest = 1, point
        elif direction >= 0 and y[highest] - y[point] >= least:
            turns.append(highest)
            direction, lowest = -1, point
    return [*turns, highest if direction > 0 else lowest]
