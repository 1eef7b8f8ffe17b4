"""Simulations of the statistics, on methods whose truth is known."""

import numpy as np
import pytest

from tools import simulate_statistics
from tools.simulate_statistics import Synthetic, resampled, simulate


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
    """Runs without any spread: equal methods never differ, a faster one always does, and the interval is the truth."""
    monkeypatch.setattr(simulate_statistics, "SIMULATIONS", 3)
    monkeypatch.setattr(simulate_statistics, "SPEEDUP", 4.0)
    counts = simulate(resampled([[100.0] * 5, [300.0] * 5]), np.random.default_rng(0), 10, [100.0, 300.0])
    assert (counts.false_positives, counts.detections, counts.covered) == (0, 3, 3)
