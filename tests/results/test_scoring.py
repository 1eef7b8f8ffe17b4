"""Scores against closed forms, scipy and brute force."""

from itertools import product
from math import isclose
from statistics import mean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from grokbench.evaluation.protocol import Exam
from grokbench.results import scoring, statistics
from grokbench.tasks import list_tasks, parse_id

TIMES = st.lists(st.none() | st.integers(1, 500), min_size=1, max_size=12)


@given(times=TIMES, budget=st.integers(100, 400))
def test_rmst_is_the_area_under_the_survival_curve(times: list[int | None], budget: int) -> None:
    """Under one common budget the mean of min(T, budget) is the Kaplan-Meier restricted mean, here summed step by step."""
    finite = np.array([np.inf if t is None else t for t in times])
    area = sum(float((finite > step).mean()) for step in range(budget))
    assert isclose(scoring.rmst(times, budget), area, abs_tol=1e-9)


@given(times=TIMES, budget=st.integers(100, 400))
def test_rmst_is_lifelines(times: list[int | None], budget: int) -> None:
    """The library fits the curve to censored durations and integrates it."""
    durations = list(scoring.restricted(dict(enumerate(times)), budget).values())
    solved = [t is not None and t <= budget for t in times]
    curve = KaplanMeierFitter().fit(durations, solved)
    assert isclose(scoring.rmst(times, budget), float(restricted_mean_survival_time(curve, budget)), rel_tol=1e-9)


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
    low, high = statistics.wilson_interval(solved, n)
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
    below, above = (float(stats.binom.sf(k, task.num_held_out, 1 / 23)) for k in (limit - 1, limit))
    assert above <= 1e-4 / 50 < below
    assert scoring.beats_chance(task, [Exam(10, 0, limit + 1, {})] * 50)
    assert not scoring.beats_chance(task, [Exam(10, 0, limit, {})] * 50)


@pytest.mark.parametrize("suite", ["mini", "core", "deep"])
def test_the_reference_covers_the_suite_and_fits_the_budgets(suite: str) -> None:
    """All official seeds; every budget is at least four times the reference's median T."""
    pinned = scoring.reference()
    for task in list_tasks(suite):
        times = pinned.tasks[task.id]
        assert sorted(times) == list(range(10))
        median = scoring.median_time(list(times.values()))
        assert median is not None
        assert task.budget >= 4 * median
        assert pinned.rmst(task, [0, 1]) == scoring.rmst([times[0], times[1]], task.budget)


def test_the_references_are_the_recipes_that_ship() -> None:
    """Their hashes are those of the recipes now in the package."""
    from grokbench.agents.recipes import find_recipe

    agents = scoring.reference().agents
    assert {name: find_recipe(name).hash for name in agents} == agents


SAMPLES = st.lists(st.integers(1, 50), min_size=3, max_size=3)
TWO_TASKS = st.lists(SAMPLES, min_size=2, max_size=2)


@given(ours=TWO_TASKS, theirs=TWO_TASKS)
def test_paired_p_is_scipys(ours: list[list[int]], theirs: list[list[int]]) -> None:
    """All 2⁶ exchanges, against scipy's permutation test of paired samples."""

    def statistic(x: Any, y: Any, axis: int) -> Any:
        x, y = (np.moveaxis(v, axis, -1).reshape(*np.moveaxis(v, axis, -1).shape[:-1], 2, 3) for v in (x, y))
        return np.abs(np.log(y.mean(-1) / x.mean(-1)).mean(-1)).round(9)

    flat = [np.array(samples).ravel() for samples in (ours, theirs)]
    oracle = stats.permutation_test(  # type: ignore[call-overload]
        flat, statistic, permutation_type="samples", alternative="greater", n_resamples=np.inf, vectorized=True
    )
    assert statistics.paired_p(ours, theirs) == pytest.approx(oracle.pvalue, abs=1e-9)


def test_paired_p_drawn() -> None:
    """With too many pairs to try them all: 1 for the same runs, the smallest there is for runs that are always sooner."""
    slow = [[100 + seed for seed in range(10)] for _ in range(8)]
    assert statistics.paired_p(slow, slow) == 1
    fast = [[t // 2 for t in task] for task in slow]
    assert statistics.paired_p(fast, slow) == statistics.paired_p(slow, fast) <= 2 / 10_000


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_as_the_step_down_does(p_values: list[float]) -> None:
    """At any level: the smallest p's in turn, as long as each is at most level/(how many are left)."""
    adjusted = statistics.holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for left, i in zip(range(len(p_values), 0, -1), np.argsort(p_values), strict=True):
            if p_values[i] * left > level:
                break
            rejected.add(int(i))
        assert rejected == {i for i, p in enumerate(adjusted) if p <= level}


@given(ours=TWO_TASKS, theirs=TWO_TASKS)
def test_improvement_probability_is_mann_whitneys(ours: list[list[int]], theirs: list[list[int]]) -> None:
    """U/(n m), task by task."""
    expected = mean(stats.mannwhitneyu(b, a).statistic / 9 for a, b in zip(ours, theirs, strict=True))
    assert statistics.improvement_probability(ours, theirs) == pytest.approx(expected)


def test_bootstrap_interval_is_that_of_all_resamples() -> None:
    """One task with five seeds has 5⁵ resamples; drawn ones come to the same interval, but for the noise of drawing."""
    values, fixed = np.array([300.0, 420.0, 380.0, 900.0, 510.0]), 600.0
    drawn = values[np.array(list(product(range(5), repeat=5)))]
    deviation = drawn.std(axis=1, ddof=1) / 5**0.5 / drawn.mean(axis=1)
    distance = np.log(values.mean() / drawn.mean(axis=1))
    own = values.std(ddof=1) / 5**0.5 / values.mean()
    errors = distance / np.where(deviation > 0, deviation, own)
    expected = fixed / values.mean() * np.exp(-own * np.quantile(errors, (0.975, 0.025)))
    assert statistics.bootstrap_interval([values.tolist()], [fixed], resamples=100_000) == pytest.approx(expected, rel=0.03)


def test_bootstrap_interval_holds_the_score() -> None:
    """Seeds that agree leave no doubt; of two seeds each resample that isn't the sample again has the sample's spread."""
    low, high = statistics.bootstrap_interval([[10, 12, 9, 11] * 3, [100, 90, 130, 80] * 3], [20, 200])
    assert low < scoring.score([20 / 10.5, 200 / 100]) < high
    assert statistics.bootstrap_interval([[5] * 10], [10]) == pytest.approx((2, 2))
    assert statistics.bootstrap_interval([[10, 40]], [20]) == pytest.approx(
        (0.32, 1.28)
    )  # resampled: 0.5, 0.8 and 2, reflected


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    """A method twice as fast on every seed is first; two that differ by luck alone share the second place."""
    random = np.random.default_rng(0)
    base = random.lognormal(6, 0.3, (3, 10))
    other = base * random.choice([0.9, 1 / 0.9], base.shape)
    samples = [m.tolist() for m in (base, other, base / 3)]
    assert statistics.tied_ranks(samples) == [2, 2, 1]
