"""Intervals and tests against closed forms, scipy and brute force."""

from itertools import product
from math import isclose
from statistics import mean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from grokbench.results import statistics

TIMES_OF_A_TASK = st.lists(st.integers(1, 50), min_size=3, max_size=3)
TWO_TASKS = st.lists(TIMES_OF_A_TASK, min_size=2, max_size=2)


@given(solved=st.integers(0, 20), unsolved=st.integers(1, 21))
def test_wilson_interval_closed_form(solved: int, unsolved: int) -> None:
    """Wilson's formula, written out."""
    n = solved + unsolved
    p, z = solved / n, stats.norm.ppf(0.975)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = statistics.wilson_interval(solved, n)
    assert isclose(low, max(middle - half, 0), abs_tol=1e-9)
    assert isclose(high, min(middle + half, 1), abs_tol=1e-9)


@given(first=TWO_TASKS, second=TWO_TASKS)
def test_paired_p_is_that_of_scipy(first: list[list[int]], second: list[list[int]]) -> None:
    """Scipy's permutation test of paired samples, over all 2⁶ exchanges."""

    def statistic(x: Any, y: Any, axis: int) -> Any:
        x_tasks, y_tasks = (_by_task(np.moveaxis(values, axis, -1)) for values in (x, y))
        return np.abs(np.log(y_tasks.mean(-1) / x_tasks.mean(-1)).mean(-1)).round(9)

    oracle = stats.permutation_test(  # type: ignore[call-overload]
        [np.ravel(first), np.ravel(second)],
        statistic,
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert statistics.paired_p(first, second) == pytest.approx(oracle.pvalue, abs=1e-9)


def _by_task(values: Any) -> Any:
    """(…, 6) → (…, 2 tasks, 3 seeds)."""
    return values.reshape(*values.shape[:-1], 2, 3)


def test_paired_p_with_drawn_exchanges() -> None:
    """Too many pairs to enumerate: 1 for equal runs, and the smallest possible p for runs that are always faster."""
    slow = [[100 + seed for seed in range(10)] for _ in range(8)]
    assert statistics.paired_p(slow, slow) == 1
    fast = [[t // 2 for t in task] for task in slow]
    assert statistics.paired_p(fast, slow) == statistics.paired_p(slow, fast) <= 2 / 10_000


def test_drawn_exchanges_agree_with_the_enumeration() -> None:
    """With ten pairs, 1,000 drawn exchanges give about the p of all 1,024."""
    rng = np.random.default_rng(0)
    first, second = rng.lognormal(6, 0.3, (2, 1, 10)).tolist()
    enumerated = statistics.paired_p(first, second, resamples=1_024)
    drawn = statistics.paired_p(first, second, resamples=1_000)
    assert drawn == pytest.approx(enumerated, abs=0.05)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_as_the_step_down_procedure(p_values: list[float]) -> None:
    """At any level, the smallest p-values are rejected in turn while each is at most level/(how many are left)."""
    adjusted = statistics.holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for left, i in zip(range(len(p_values), 0, -1), np.argsort(p_values), strict=True):
            if p_values[i] * left > level:
                break
            rejected.add(int(i))
        assert rejected == {i for i, p in enumerate(adjusted) if p <= level}


@given(samples=TWO_TASKS, references=TWO_TASKS)
def test_improvement_probability_is_mann_whitney(samples: list[list[int]], references: list[list[int]]) -> None:
    """U/(n m), task by task."""
    expected = mean(stats.mannwhitneyu(y, x).statistic / 9 for x, y in zip(samples, references, strict=True))
    assert statistics.improvement_probability(samples, references) == pytest.approx(expected)


def test_bootstrap_interval_is_that_of_all_resamples() -> None:
    """A task with five seeds has 5⁵ resamples; the interval of drawn resamples agrees up to the noise of drawing."""
    times, reference = np.array([300.0, 420.0, 380.0, 900.0, 510.0]), 600.0
    resampled = times[np.array(list(product(range(5), repeat=5)))]
    resampled_error = resampled.std(axis=1, ddof=1) / 5**0.5 / resampled.mean(axis=1)
    error = times.std(ddof=1) / 5**0.5 / times.mean()
    deviations = np.log(times.mean() / resampled.mean(axis=1))
    studentized = deviations / np.where(resampled_error > 0, resampled_error, error)
    expected = reference / times.mean() * np.exp(-error * np.quantile(studentized, (0.975, 0.025)))
    interval = statistics.bootstrap_interval([times.tolist()], [reference], resamples=100_000)
    assert interval == pytest.approx(expected, rel=0.03)


def test_bootstrap_interval_holds_the_score() -> None:
    """The score is the geometric mean of 20/10.5 and 200/100."""
    low, high = statistics.bootstrap_interval([[10, 12, 9, 11] * 3, [100, 90, 130, 80] * 3], [20, 200])
    assert low < (20 / 10.5 * 2) ** 0.5 < high


def test_bootstrap_interval_without_spread_is_a_point() -> None:
    """Seeds that agree leave no uncertainty."""
    assert statistics.bootstrap_interval([[5] * 10], [10]) == pytest.approx((2, 2))


def test_bootstrap_interval_of_two_seeds() -> None:
    """The resamples (10, 10) and (40, 40) have no spread of their own, so they take the sample's.

    The score is 20/25 = 0.8. Resampled scores are 2, 0.8 and 0.5. Reflected on the log scale: 0.8²/2 and 0.8²/0.5.
    """
    assert statistics.bootstrap_interval([[10, 40]], [20]) == pytest.approx((0.32, 1.28))


@given(claimed=TIMES_OF_A_TASK, new=TIMES_OF_A_TASK)
def test_slower_p_is_that_of_scipy(claimed: list[int], new: list[int]) -> None:
    """On a single task, scipy's permutation test of independent samples, over all 20 splits."""

    def statistic(x: Any, y: Any, axis: int) -> Any:
        return (x.mean(axis=axis) - y.mean(axis=axis)).round(9)

    oracle = stats.permutation_test(  # type: ignore[call-overload]
        [np.log(new), np.log(claimed)], statistic, alternative="greater", n_resamples=np.inf, vectorized=True
    )
    assert statistics.slower_p([claimed], [new]) == pytest.approx(oracle.pvalue, abs=0.02)


def test_slower_p_permutes_within_tasks() -> None:
    """On two tasks with two runs each, 1 of 36 splits is as extreme as new runs that are slower throughout."""
    claimed, new = [[10, 11], [1000, 1100]], [[12, 13], [1200, 1300]]
    assert statistics.slower_p(claimed, new) == pytest.approx(1 / 36, abs=0.006)
    assert statistics.slower_p(new, claimed) == pytest.approx(1)


def test_bootstrap_of_a_mean_is_its_normal_interval() -> None:
    """The middle 95 % of resampled means of many runs lie within 1.96 standard errors."""
    values = np.random.default_rng(0).normal(size=400)
    low, high = statistics.bootstrap(lambda rng: float(rng.choice(values, len(values)).mean()))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.005)


def test_methods_that_cannot_be_told_apart_share_a_rank() -> None:
    """A method three times as fast on every seed is first; two methods that differ by luck share the second rank."""
    rng = np.random.default_rng(0)
    base = rng.lognormal(6, 0.3, (3, 10))
    same = base * rng.choice([0.9, 1 / 0.9], base.shape)
    methods = [times.tolist() for times in (base, same, base / 3)]
    assert statistics.tied_ranks(methods) == [2, 2, 1]
    assert statistics.tied_ranks(methods, significance=0.0) == [1, 1, 1]
