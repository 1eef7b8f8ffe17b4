"""Intervals and tests: bootstrap, exchange and permutation tests, Holm's correction, Wilson's interval, shared places.

Everything here repeats to the bit: each function seeds its own Philox generator.

Why these functions aren't scipy's, with times on 8 tasks × 10 seeds and 10,000 resamples (the tests use scipy as an oracle):

* `scipy.stats.bootstrap` has no studentized interval, and its percentile, basic and BCa intervals cover too little here.
* `scipy.stats.permutation_test` agrees with `paired_p` on every enumerable case, but takes 50 ms instead of 19 ms.
* `scipy.stats.permutation_test` can't permute within tasks, which `slower_p_values` needs.
* `scipy.stats.mannwhitneyu` agrees with `improvement_probability`, but takes 5.5 ms instead of 0.04 ms.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import exp, hypot, log2, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Samples = Sequence[Sequence[float]]  # min(T, budget) of every run: a sequence per task, a number per seed

SIGNIFICANCE = 0.05  # two methods differ where the p of their exchange test is below this
RESAMPLES = 10_000
LEAST_VARIANCE = 0.01  # of a resample, over that of the sample
EXCHANGES = 100_000  # of a paired test: so many that dozens of rows can be corrected for
TIE_MARGIN = 1e-12  # statistics on the log scale that differ by less are equal up to rounding


def score_interval(
    samples: Samples,
    references: Samples,
    *,
    tuning_spread: float = 0.0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Interval of the score: a studentized bootstrap over seeds (Davison & Hinkley 1997, section 5.2.1), and tuning's spread.

    The seeds of every task are resampled by themselves, for the entry and the reference at once: both ran on the same
    instances. On the log scale, the deviation of each resample is divided by the resample's own standard error. Basic and
    percentile intervals cover less: ten skewed times, some of them censored, say too little about their spread
    (`python -m tools.simulate_statistics`). A resample's standard error is taken to be at least a tenth of the sample's: where
    few seeds differ from the reference, a resample can miss nearly all of them.

    Args:
        samples: min(T, budget) of the entry, task by task and seed by seed.
        references: min(T, budget) of the reference on the same instances.
        tuning_spread: the standard deviation of the log score that comes from tuning both methods.
        confidence: the share of intervals that hold the true score.
        resamples: the number of resamples.
    """
    rng = np.random.Generator(np.random.Philox(0))
    log_score, variance = 0.0, 0.0
    deviations, variances = np.zeros(resamples), np.zeros(resamples)
    for sample, reference in zip(samples, references, strict=True):
        times = np.array([sample, reference], dtype=float)  # (2, seeds)
        seeds = times.shape[-1]
        resampled = times[:, rng.integers(seeds, size=(resamples, seeds))]  # (2, resamples, seeds)
        log_ratio, log_ratio_variance = _log_ratio_of_means(times)
        resampled_log_ratios, resampled_variances = _log_ratio_of_means(resampled)
        log_score += float(log_ratio)
        variance += float(log_ratio_variance)
        deviations += resampled_log_ratios - log_ratio
        variances += resampled_variances
    tail = (1 - confidence) / 2
    studentized = deviations / np.sqrt(np.maximum(variances, LEAST_VARIANCE * variance or 1.0))
    low, high = sqrt(variance) * np.quantile(studentized, (tail, 1 - tail)) / len(samples)
    tuning = stats.norm.isf(tail) * tuning_spread
    center = log_score / len(samples)
    # The upper tail of the resamples bounds the score from below, and the lower tail from above.
    return exp(center - hypot(max(high, 0.0), tuning)), exp(center + hypot(max(-low, 0.0), tuning))


def _log_ratio_of_means(times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log(mean reference / mean entry) and its variance by the delta method: (2, …, seeds) → (…) each."""
    seeds, means = times.shape[-1], times.mean(axis=-1, keepdims=True)  # (2, …, 1)
    influences = times[1] / means[1] - times[0] / means[0]  # (…, seeds)
    variance: NDArray[np.float64] = (influences**2).sum(axis=-1) / (max(seeds - 1, 1) * seeds)
    return np.log(means[1, ..., 0] / means[0, ..., 0]), variance


def paired_p(first: Samples, second: Samples, *, tuning_spread: float = 0.0, exchanges: int = EXCHANGES) -> float:
    """Two-sided p-value of the paired exchange test between two methods on the same seeds.

    Under the null hypothesis, the two runs of any (task, seed) can change places. The statistic is the mean over tasks of
    log(RMST of the second / RMST of the first). Number i of a task belongs to the same seed in both. The test enumerates all
    2^pairs exchanges where these are at most `exchanges`, and draws that many otherwise. The luck of tuning, which seeds don't
    show, is added to every other exchange as a normal number.

    Args:
        first: min(T, budget) of one method, task by task and seed by seed.
        second: the same of the other method.
        tuning_spread: the standard deviation of the log ratio that comes from tuning both methods.
        exchanges: the most exchanges.
    """
    first_times, second_times = np.asarray(first, dtype=float), np.asarray(second, dtype=float)  # (tasks, seeds)
    exchanged = _exchanges(first_times.shape, exchanges)  # (exchanges, tasks, seeds)
    first_means = np.where(exchanged, first_times, second_times).mean(axis=-1)  # (exchanges, tasks)
    second_means = np.where(exchanged, second_times, first_times).mean(axis=-1)
    log_ratios = np.log(first_means / second_means).mean(axis=-1)
    luck = tuning_spread * np.random.Generator(np.random.Philox(2)).standard_normal(len(log_ratios))
    luck[0] = 0.0  # what was observed counts, so p is never 0
    return float((np.abs(log_ratios + luck) >= abs(log_ratios[0]) - TIE_MARGIN).mean())


def _exchanges(shape: tuple[int, ...], exchanges: int) -> NDArray[np.bool_]:
    """Which pairs change places, (exchanges, tasks, seeds). The first exchange leaves every pair as observed."""
    pairs = int(np.prod(shape))
    if pairs <= log2(exchanges):
        return np.array(list(product((False, True), repeat=pairs))).reshape(-1, *shape)
    rng = np.random.Generator(np.random.Philox(1))
    exchanged = rng.integers(2, size=(exchanges, *shape), dtype=np.int8).astype(bool)
    exchanged[0] = False
    return exchanged


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for testing several hypotheses at once, in their order. Holm 1979, Scand. J. Stat. 6."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1))
    return [float(p) for p in np.minimum(adjusted, 1.0)]


def improvement_probability(samples: Samples, references: Samples) -> float:
    """The probability that a run generalizes faster than a run of the reference, mean over tasks. Agarwal et al. 2021.

    A tie counts as half.
    """
    times = np.asarray(samples, dtype=float)[:, :, None]  # (tasks, seeds, 1)
    reference_times = np.asarray(references, dtype=float)[:, None, :]  # (tasks, 1, seeds)
    faster = (times < reference_times).mean(axis=(1, 2))
    ties = (times == reference_times).mean(axis=(1, 2))
    return float((faster + ties / 2).mean())


def shared_places(
    methods: Sequence[Samples], tuning_spreads: Sequence[float] | None = None, *, significance: float = SIGNIFICANCE
) -> list[int]:
    """The place of every method in a table, from the best score down.

    A method shares the place above unless it is significantly slower than the first method of that place. The first method of a
    place is tested against all methods below it, Holm-corrected.

    Args:
        methods: min(T, budget) of every method, task by task and seed by seed.
        tuning_spreads: the standard deviation of the log of every method's times that comes from tuning; 0 by default.
        significance: the p-value below which two methods differ.
    """
    spreads = tuning_spreads or [0.0] * len(methods)
    places: list[int] = []
    while (first := len(places)) < len(methods):
        below = range(first + 1, len(methods))
        p_values = holm([paired_p(methods[first], methods[i], tuning_spread=hypot(spreads[first], spreads[i])) for i in below])
        slower = [i for i, p in zip(below, p_values, strict=True) if p < significance]
        places += [first + 1] * ((slower[0] if slower else len(methods)) - first)
    return places


def below_zero_p(differences: Sequence[float]) -> float:
    """One-sided p-value of differences with a mean below zero, if they are symmetric about zero: their signs are flipped.

    The test enumerates all flips of up to 16 differences, and draws `EXCHANGES` otherwise.
    """
    values = np.asarray(differences, dtype=float)  # (n,)
    flipped = np.where(_exchanges(values.shape, EXCHANGES), -values, values)  # (flips, n)
    means = flipped.mean(axis=-1)
    return float((means <= means[0] + TIE_MARGIN).mean())


def ratio_of_means(claimed: Samples, new: Samples) -> tuple[float, float, float]:
    """The geometric mean over tasks of mean(new) / mean(claimed), and its 95 % interval: both are resampled, task by task.

    Args:
        claimed: times of claimed runs, task by task.
        new: times of new runs. Their number may differ from that of claimed runs.
    """
    rng = np.random.Generator(np.random.Philox(6))

    def log_means(samples: Samples) -> tuple[float, NDArray[np.float64]]:
        means, resampled = 0.0, np.zeros(RESAMPLES)
        for sample in samples:
            times = np.asarray(sample, dtype=float)
            means += float(np.log(times.mean())) / len(samples)
            resampled += np.log(rng.choice(times, (RESAMPLES, len(times))).mean(axis=1)) / len(samples)
        return means, resampled

    (old, old_resampled), (latest, latest_resampled) = log_means(claimed), log_means(new)
    low, high = np.quantile(latest_resampled - old_resampled, [0.025, 0.975])
    return exp(latest - old), exp(float(low)), exp(float(high))


def wilson_interval(solved: int, runs: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for the solve rate. Wilson 1927, J. Am. Stat. Assoc. 22."""
    interval = stats.binomtest(solved, runs).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def slower_p_values(claimed: Sequence[NDArray[Any]], new: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """One-sided p-values of the hypotheses that new runs are no slower than the claimed ones, (comparisons,).

    The statistic is the difference of the mean log ranks of min(T, budget), summed over tasks. Runs are permuted within each
    task. Ranks, because a run that never generalizes would outweigh many others in a mean. Their logarithms, because a faster
    method moves the earliest runs by more ranks than the late ones, which scatter (`python -m tools.simulate_verify`).

    Args:
        claimed: task by task the times of claimed runs, (comparisons, runs).
        new: the same of new runs. Their number may differ from that of claimed runs.
    """
    rng = np.random.Generator(np.random.Philox(2))
    observed: Any = 0.0  # (comparisons, 1)
    permuted: Any = 0.0  # (comparisons, RESAMPLES)
    for claimed_times, new_times in zip(claimed, new, strict=True):
        n, m = new_times.shape[1], claimed_times.shape[1]
        log_ranks = np.log(stats.rankdata(np.concatenate([new_times, claimed_times], axis=1), axis=1))  # (comparisons, n + m)
        weights = np.repeat([1 / n, -1 / m], [n, m])  # (n + m,)
        shuffled = rng.permuted(np.broadcast_to(weights, (RESAMPLES, n + m)), axis=1)  # (RESAMPLES, n + m)
        observed = observed + (log_ranks @ weights)[:, None]
        permuted = permuted + log_ranks @ shuffled.T
    p_values: NDArray[np.float64] = (1 + (permuted >= observed - TIE_MARGIN).sum(axis=1)) / (1 + RESAMPLES)
    return p_values


def less_often_p_values(claimed: Sequence[NDArray[Any]], new: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """One-sided p-values of the hypotheses that new runs solve their tasks as often as the claimed ones.

    Fisher's exact test, stratified by task: given all runs, the unsolved ones among the new are hypergeometric in every task.

    Args:
        claimed: task by task whether a claimed run is unsolved, (comparisons, runs).
        new: the same of the new runs.
    """
    pmfs = []
    for claimed_unsolved, new_unsolved in zip(claimed, new, strict=True):
        n, m = new_unsolved.shape[1], claimed_unsolved.shape[1]
        unsolved = claimed_unsolved.sum(axis=1) + new_unsolved.sum(axis=1)  # (comparisons,)
        pmfs.append(stats.hypergeom.pmf(np.arange(n + 1), n + m, unsolved[:, None], n))
    observed = np.sum([each.sum(axis=1) for each in new], axis=0)
    tails = [pmf[count:].sum() for pmf, count in zip(_sum_pmfs(pmfs), observed, strict=True)]
    return np.array(tails, dtype=np.float64).clip(0.0, 1.0)


def hidden_p_values(claimed: Sequence[NDArray[Any]], new: Sequence[NDArray[Any]], *, hidden: float) -> NDArray[np.float64]:
    """The probabilities of so few unsolved new runs, if the claims leave out a share `hidden` of runs that are unsolved.

    A task whose claimed runs are all unsolved can hide none. Arguments as in `less_often_p_values`.
    """
    can_hide = [~each.all(axis=1) for each in claimed]  # (comparisons,) each
    pmfs = []
    for claimed_unsolved, new_unsolved, can in zip(claimed, new, can_hide, strict=True):
        n, share = new_unsolved.shape[1], np.minimum(claimed_unsolved.mean(axis=1) + hidden, 1.0)
        pmfs.append(np.asarray(stats.binom.pmf(np.arange(n + 1), n, np.where(can, share, 0.0)[:, None])))
    observed = np.sum([can * each.sum(axis=1) for can, each in zip(can_hide, new, strict=True)], axis=0)
    tails = [pmf[: count + 1].sum() for pmf, count in zip(_sum_pmfs(pmfs), observed, strict=True)]
    return np.where(np.any(can_hide, axis=0), np.clip(tails, 0.0, 1.0), 0.0)


def _sum_pmfs(pmfs: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """For every comparison the distribution of the sum of independent counts, given that of each, (comparisons, counts)."""
    return [reduce(np.convolve, each) for each in zip(*pmfs, strict=True)]


def bootstrap(statistic: Callable[[np.random.Generator], float]) -> tuple[float, float]:
    """The middle 95 % of `statistic`, which resamples the runs with the generator that it gets."""
    rng = np.random.Generator(np.random.Philox(5))
    low, high = np.quantile([statistic(rng) for _ in range(RESAMPLES)], [0.025, 0.975])
    return float(low), float(high)
