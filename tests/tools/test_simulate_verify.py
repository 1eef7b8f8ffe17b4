"""Simulations of re-execution, on pools whose truth is known."""

import pytest

from tools import simulate_verify
from tools.simulate_verify import Comparison, pool_differences


def test_certain_cases_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest claims from a pool without spread are never refused, and claims twice too fast always."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 3)
    pool = [[500] * 25, [800] * 25]
    comparison = Comparison("flat", pool, pool)
    assert comparison.refusals(1.0) == 0
    assert comparison.refusals(2.0) == 3
    name, tasks, honest, *found = comparison.row()
    assert (name, tasks, honest.split()[0], found[-1]) == ("flat", "2", "0.0%", "100.0%")


def test_differences_are_counted_against_the_base_pool() -> None:
    """Times that differ on the same instance."""
    pools = {"1 thread": [[500, 510], [700, 710]], "2 threads": [[500, 511], [700, 712]]}
    assert "with 2 threads: 2 of 4 times differ; 1 runs" in pool_differences(pools, {"1 thread": 0, "2 threads": 1})
