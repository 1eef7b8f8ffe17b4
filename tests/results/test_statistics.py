"""Intervals and tests against closed forms, scipy and brute force."""

from itertools import product
from math import isclose, log
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
    enumerated = statistics.paired_p(first, second, exchanges=1_024)
    drawn = statistics.paired_p(first, second, exchanges=1_000)
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


def test_score_interval_is_that_of_all_resamples() -> None:
    """Five pairs of seeds have 5⁵ resamples; the interval of drawn resamples agrees up to the noise of drawing."""
    times, reference = np.array([300.0, 420.0, 380.0, 900.0, 510.0]), np.array([700.0, 500.0, 610.0, 640.0, 560.0])
    index = np.array(list(product(range(5), repeat=5)))

    def error(x: Any, y: Any) -> Any:
        influences = y / y.mean(axis=-1, keepdims=True) - x / x.mean(axis=-1, keepdims=True)
        return (influences**2).sum(axis=-1) ** 0.5 / 20**0.5

    resampled = np.log(reference[index].mean(axis=1) / times[index].mean(axis=1))
    score = reference.mean() / times.mean()
    own_errors = error(times[index], reference[index])
    studentized = (resampled - np.log(score)) / np.where(own_errors > 0, own_errors, error(times, reference))
    expected = score * np.exp(-error(times, reference) * np.quantile(studentized, (0.975, 0.025)))
    interval = statistics.score_interval([times.tolist()], [reference.tolist()], resamples=100_000)
    assert interval == pytest.approx(expected, rel=0.03)


def test_score_interval_holds_the_score() -> None:
    """The score is the geometric mean of 20/10.5 and 200/100."""
    low, high = statistics.score_interval([[10, 12, 9, 11] * 3, [100, 90, 130, 80] * 3], [[20] * 12, [200] * 12])
    assert low < (20 / 10.5 * 2) ** 0.5 < high


def test_score_interval_without_spread_is_a_point() -> None:
    """Seeds that agree leave no uncertainty."""
    assert statistics.score_interval([[5] * 10], [[10] * 10]) == pytest.approx((2, 2))


def test_score_interval_of_the_reference_is_a_point() -> None:
    """Its ratio to itself is 1 on whatever seeds."""
    times = [[300, 420, 380, 900, 510]]
    assert statistics.score_interval(times, times) == pytest.approx((1, 1))


def test_score_interval_of_runs_that_hardly_differ_from_the_reference() -> None:
    """A resample that misses the two runs that differ isn't divided by next to nothing."""
    reference = [[300, 420, 380, 900, 510, 450, 333, 280, 700, 610]] * 3
    entry = [[5_000, *reference[0][1:]], [306, *reference[1][1:]], reference[2]]
    low, high = statistics.score_interval(entry, reference)
    assert 0.05 < low < 0.7 < 1 <= high < 1.5


def test_score_interval_counts_the_spread_of_the_reference() -> None:
    """An entry whose seeds agree is as uncertain as the reference that it is compared with."""
    low, high = statistics.score_interval([[400] * 6], [[300, 420, 380, 900, 510, 450]])
    assert low < 0.95 < 1.4 < high


def test_score_interval_of_instances_that_are_hard_for_both() -> None:
    """Where both methods share the luck of an instance, it cancels: the ratio is known though the times are not."""
    luck = np.random.default_rng(0).lognormal(0, 0.5, 10)
    low, high = statistics.score_interval([(300 * luck).tolist()], [(600 * luck).tolist()])
    assert (low, high) == pytest.approx((2, 2))


def test_the_spread_of_tuning_is_added_in_quadrature() -> None:
    """Without spread over seeds, the interval is 1.96 standard deviations of tuning wide to both sides."""
    low, high = statistics.score_interval([[5] * 10], [[10] * 10], tuning_spread=0.2)
    assert (log(low), log(high)) == pytest.approx((log(2) - 1.96 * 0.2, log(2) + 1.96 * 0.2), abs=1e-3)
    alone = statistics.score_interval([[4, 5, 6] * 3], [[10] * 9])
    wider = statistics.score_interval([[4, 5, 6] * 3], [[10] * 9], tuning_spread=0.2)
    margins = [np.log(np.array(interval) / 2) for interval in (alone, wider)]
    assert margins[1] ** 2 == pytest.approx(margins[0] ** 2 + (1.96 * 0.2) ** 2, rel=1e-3)


def slower_p(claimed: list[list[int]], new: list[list[int]]) -> float:
    """The p-value of a single comparison, task by task."""
    (p,) = statistics.slower_p_values([np.array([its]) for its in claimed], [np.array([its]) for its in new])
    return float(p)


@given(claimed=TIMES_OF_A_TASK, new=TIMES_OF_A_TASK)
def test_slower_p_is_that_of_scipy(claimed: list[int], new: list[int]) -> None:
    """On a single task, scipy's permutation test of the log ranks of independent samples, over all 20 splits."""

    def statistic(x: Any, y: Any, axis: int) -> Any:
        return (x.mean(axis=axis) - y.mean(axis=axis)).round(9)

    log_ranks = np.log(stats.rankdata([*new, *claimed]))
    oracle = stats.permutation_test(  # type: ignore[call-overload]
        [log_ranks[: len(new)], log_ranks[len(new) :]], statistic, alternative="greater", n_resamples=np.inf, vectorized=True
    )
    assert slower_p([claimed], [new]) == pytest.approx(oracle.pvalue, abs=0.02)


def test_slower_p_permutes_within_tasks() -> None:
    """On two tasks with two runs each, 1 of 36 splits is as extreme as new runs that are slower throughout."""
    claimed, new = [[10, 11], [1000, 1100]], [[12, 13], [1200, 1300]]
    assert slower_p(claimed, new) == pytest.approx(1 / 36, abs=0.006)
    assert slower_p(new, claimed) == pytest.approx(1)


UNSOLVED = st.lists(st.booleans(), min_size=1, max_size=8)


@given(claimed=UNSOLVED, new=UNSOLVED)
def test_less_often_is_fishers_exact_test(claimed: list[bool], new: list[bool]) -> None:
    """On a single task that of scipy."""
    table = np.array([[sum(new), len(new) - sum(new)], [sum(claimed), len(claimed) - sum(claimed)]])
    (p,) = statistics.less_often_p_values([np.array([claimed])], [np.array([new])])
    assert p == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_less_often_is_stratified() -> None:
    """On two tasks with two runs each, 1 of 36 splits has all four unsolved runs among the new ones."""
    claimed, new = [np.array([[False, False]])] * 2, [np.array([[True, True]])] * 2
    assert statistics.less_often_p_values(claimed, new) == pytest.approx(1 / 36)
    assert statistics.less_often_p_values(new, claimed) == pytest.approx(1)


@given(claimed=UNSOLVED, new=UNSOLVED)
def test_hidden_is_a_binomial_test(claimed: list[bool], new: list[bool]) -> None:
    """On a single task that of scipy. Claims of unsolved runs alone hide nothing."""
    (p,) = statistics.hidden_p_values([np.array([claimed])], [np.array([new])], hidden=0.3)
    share = min(1.0, float(np.mean(claimed)) + 0.3)
    oracle = stats.binomtest(sum(new), len(new), share, alternative="less").pvalue
    assert p == pytest.approx(0.0 if all(claimed) else oracle)


def test_hidden_adds_up_over_tasks() -> None:
    """No unsolved run in two tasks with three runs each; a task without solved claims counts for nothing."""
    solved, unsolved = np.zeros((1, 3), bool), np.ones((1, 3), bool)
    assert statistics.hidden_p_values([solved, solved], [solved, solved], hidden=0.3) == pytest.approx(0.7**6)
    assert statistics.hidden_p_values([solved, unsolved], [solved, unsolved], hidden=0.3) == pytest.approx(0.7**3)


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
    methods = [times.tolist() for times in (base / 3, base, same)]
    assert statistics.shared_places(methods) == [1, 2, 2]
    assert statistics.shared_places(methods, significance=0.0) == [1, 1, 1]
    assert statistics.shared_places([]) == []


def test_the_luck_of_tuning_counts_against_a_difference() -> None:
    """A method that is a third slower on every seed is behind, unless tuning alone moves both by as much."""
    rng = np.random.default_rng(0)
    base = rng.lognormal(6, 0.1, (3, 10))
    fast, slow = base.tolist(), (base * 1.33).tolist()
    assert statistics.shared_places([fast, slow]) == [1, 2]
    assert statistics.shared_places([fast, slow], [0.05, 0.05]) == [1, 2]
    assert statistics.shared_places([fast, slow], [0.2, 0.2]) == [1, 1]
    spread = 0.3
    luck_alone = 2 * stats.norm.sf(np.log(1.33) / spread)
    assert statistics.paired_p(fast, slow, tuning_spread=spread) == pytest.approx(luck_alone, abs=0.03)


def test_a_rank_is_shared_with_its_first_method_alone() -> None:
    """In a row of methods that are each a little slower, a new rank begins where the distance from the first is shown."""
    rng = np.random.default_rng(1)
    base = rng.lognormal(6, 0.1, (2, 10))
    methods = [(base * 1.05**i * rng.lognormal(0, 0.12, base.shape)).tolist() for i in range(4)]
    p_values = [statistics.paired_p(methods[0], method) for method in methods]
    first_apart = next(i for i, p in enumerate(p_values) if p < 0.05)
    assert statistics.shared_places(methods)[: first_apart + 1] == [1] * first_apart + [first_apart + 1]
    assert statistics.paired_p(methods[first_apart - 1], methods[first_apart]) > 0.05


def test_ranks_are_corrected_for_the_number_of_rows() -> None:
    """A row that differs from the first at 4 % is behind it alone, and not among nine others."""
    rng = np.random.default_rng(0)
    first = rng.lognormal(6, 0.1, (2, 8))
    slower = next(
        method.tolist()
        for method in (first * 1.001**i * rng.lognormal(0, 0.1, first.shape) for i in range(1_000))
        if 0.02 < statistics.paired_p(first.tolist(), method.tolist()) < 0.04 and method.mean() > first.mean()
    )
    assert statistics.shared_places([first.tolist(), slower]) == [1, 2]
    assert statistics.shared_places([first.tolist(), *[slower] * 9]) == [1] * 10


def test_signs_are_flipped() -> None:
    """Of three negative differences one flip in eight has so low a mean. Differences of both signs say nothing."""
    assert statistics.below_zero_p([-1.0, -2.0, -0.5]) == 1 / 8
    assert statistics.below_zero_p([1.0, 2.0, 0.5]) == 1.0
    assert statistics.below_zero_p([-1.0, 1.0]) == 0.75
    assert statistics.below_zero_p([-1.0] * 30) < 1e-4


def test_the_ratio_of_means() -> None:
    """Without spread the interval is a point. It covers the truth in about 95 of 100 cases."""
    assert statistics.ratio_of_means([[100] * 10, [50] * 10], [[200] * 4, [100] * 4]) == pytest.approx((2, 2, 2))
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        old, new = rng.lognormal(6, 0.3, (3, 20)), 1.5 * rng.lognormal(6, 0.3, (3, 20))
        _, low, high = statistics.ratio_of_means(old.tolist(), new.tolist())
        covered += low < 1.5 < high
    assert covered >= 87


def test_dozens_of_rows_can_still_differ() -> None:
    """The smallest p of a drawn test leaves room for Holm's correction over a hundred rows."""
    fast, slow = [[100] * 10] * 3, [[200] * 10] * 3
    assert statistics.paired_p(fast, slow) * 100 < 0.05
