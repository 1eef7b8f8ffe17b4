"""Scores against closed forms, scipy and brute force."""

from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from grokbench import scoring
from grokbench.protocol import Exam
from grokbench.tasks import list_tasks, parse_id

TIMES = st.lists(st.none() | st.integers(1, 500), min_size=1, max_size=12)


@given(times=TIMES, budget=st.integers(100, 400))
def test_rmst_is_the_area_under_the_survival_curve(times: list[int | None], budget: int) -> None:
    """Under one common budget the mean of min(T, budget) is the Kaplan-Meier restricted mean, here summed step by step."""
    finite = np.array([np.inf if t is None else t for t in times])
    area = sum(float((finite > step).mean()) for step in range(budget))
    assert isclose(scoring.rmst(times, budget), area, abs_tol=1e-9)


def test_rmst_of_nothing_is_refused() -> None:
    """No runs, no number."""
    with pytest.raises(ValueError, match="at least one"):
        scoring.rmst([], 100)


@given(solved=st.integers(0, 20), more=st.integers(0, 20))
def test_wilson_interval_closed_form(solved: int, more: int) -> None:
    """Wilson's formula, written out."""
    n = solved + more + 1
    p, z = solved / n, stats.norm.ppf(0.975)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = scoring.wilson_interval(solved, n)
    assert isclose(low, max(middle - half, 0), abs_tol=1e-9)
    assert isclose(high, min(middle + half, 1), abs_tol=1e-9)


@given(times=TIMES)
def test_median_counts_censored_runs_as_infinite(times: list[int | None]) -> None:
    """As numpy's median with infinities."""
    with np.errstate(invalid="ignore"):
        expected = np.median([np.inf if t is None else t for t in times])
    assert scoring.median_time(times) == (None if not np.isfinite(expected) else expected)


def test_score_is_a_geometric_mean_of_ratios() -> None:
    """Twice as fast on one task and half as fast on another is no better."""
    assert isclose(scoring.score([2.0, 0.5]), 1.0)
    assert isclose(scoring.score([4.0, 9.0]), 6.0)


def test_chance_limit_bounds_guessing() -> None:
    """The limit is the binomial quantile: one more is rarer than 10⁻⁴ over the exams, one less is not."""
    task = parse_id("random_mod23-0.5")
    limit = scoring.chance_limit(task, 50)
    below, above = (float(stats.binom.sf(k, task.held_out_cells, 1 / 23)) for k in (limit - 1, limit))
    assert above <= 1e-4 / 50 < below
    assert scoring.beats_chance(task, [Exam(10, 0, limit + 1, {})] * 50)
    assert not scoring.beats_chance(task, [Exam(10, 0, limit, {})] * 50)


def test_the_reference_covers_mini_and_fits_the_budgets() -> None:
    """All official seeds; every budget is at least four times the reference's median T."""
    pinned = scoring.reference()
    for task in list_tasks("mini"):
        times = pinned.tasks[task.id]
        assert sorted(times) == list(range(10))
        median = scoring.median_time(list(times.values()))
        assert median is not None
        assert task.budget >= 4 * median
        assert pinned.rmst(task, [0, 1]) == scoring.rmst([times[0], times[1]], task.budget)


def test_the_reference_is_the_recipe_that_ships() -> None:
    """Its hash is that of the recipe now in the package."""
    from grokbench.agents import find_recipe

    assert find_recipe(scoring.reference().agent).hash == scoring.reference().recipe_hash
