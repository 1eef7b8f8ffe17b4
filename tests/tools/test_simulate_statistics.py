"""Simulations of the statistics, on methods whose truth is known."""

import numpy as np
import pytest

from tools import simulate_statistics
from tools.simulate_statistics import Counts, MethodTimes, Synthetic, resampled, simulate, simulated_rows


def test_synthetic_methods_share_their_instances() -> None:
    """The speedup divides T, a quarter of the runs never generalizes, and both methods find the same instances hard."""
    model = Synthetic(budget=1e9)
    slow, fast = model.draw(np.random.default_rng(0), 20_000, 2.0)
    generalized = (slow < model.budget) & (fast < model.budget)
    assert (slow == model.budget).mean() == pytest.approx(model.never, abs=0.01)
    ratios = np.log(slow / fast)[generalized]
    assert ratios.mean() == pytest.approx(np.log(2.0), abs=0.01)
    logs = [np.where(generalized, np.log(times), np.nan) for times in (slow, fast)]
    residuals = [values - np.nanmean(values, axis=1, keepdims=True) for values in logs]
    correlation = np.nanmean(residuals[0] * residuals[1]) / np.nanvar(residuals[0])
    assert correlation == pytest.approx(model.shared, abs=0.02)


def test_certain_cases_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If runs have no spread, equal methods never differ, a faster method always does, and the interval is the truth."""
    monkeypatch.setattr(simulate_statistics, "SIMULATIONS", 3)
    monkeypatch.setattr(simulate_statistics, "SPEEDUP", 4.0)
    counts = simulate(resampled([np.full(5, 100.0), np.full(5, 300.0)]), np.random.default_rng(0), 10)
    assert (counts.false_positives, counts.detections, counts.covered) == (0, 3, 3)


def test_synthetic_tasks_differ_and_times_are_restricted() -> None:
    """Medians of log T run from the lowest to the highest, and no time passes the budget."""
    times, _ = Synthetic(budget=1e9, never=0.0).draw(np.random.default_rng(0), 20_000, 1.0)
    assert np.median(np.log(times), axis=1) == pytest.approx(np.linspace(6.0, 7.6, 7), abs=0.02)
    restricted, _ = Synthetic(budget=1_500.0).draw(np.random.default_rng(0), 1_000, 1.0)
    assert restricted.max() == 1_500
    assert (restricted < 1_500).any()


def test_resampled_runs_are_drawn_with_replacement() -> None:
    """Both methods take their runs from the same population, task by task; the second is faster by the speedup."""
    slow, fast = resampled([np.array([100.0, 200.0]), np.array([700.0])])(np.random.default_rng(0), 50, 2.0)
    assert slow.shape == fast.shape == (2, 50)
    assert [sorted(set(row)) for row in slow] == [[100, 200], [700]]
    assert [sorted(set(row)) for row in fast] == [[50, 100], [350]]
    assert (slow[0] != 2 * fast[0]).any()


def test_an_interval_that_misses_the_truth_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods of which the second is always twice as fast have an interval far from 1."""
    monkeypatch.setattr(simulate_statistics, "SIMULATIONS", 2)

    def biased(rng: np.random.Generator, seeds: int, speedup: float) -> tuple[MethodTimes, MethodTimes]:
        times = np.array([[100.0] * seeds, [300.0] * seeds])
        return times, times / 2

    assert simulate(biased, np.random.default_rng(0), 10).covered == 0


def test_a_row_has_the_rates_in_the_order_of_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """False positives, power, coverage; a row for each number of seeds."""
    monkeypatch.setattr(simulate_statistics, "SIMULATIONS", 4)
    monkeypatch.setattr(simulate_statistics, "simulate", lambda draw, rng, seeds: Counts(1, seeds // 3, 4))
    draw = resampled([np.array([100.0, 300.0]), np.array([50.0])])
    assert simulated_rows("flat", draw, [3, 10]) == [
        ["flat", "3", "25.0%", "25.0%", "100.0%"],
        ["flat", "10", "25.0%", "75.0%", "100.0%"],
    ]
