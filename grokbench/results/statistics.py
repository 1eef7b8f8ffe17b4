"""Intervals and tests: bootstrap, exchange and permutation tests, Holm's correction, Wilson's interval, tied ranks."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import exp, log, log2
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ROUNDING = 1e-12  # of a log ratio; what differs by less is a tie


def bootstrap_interval(
    samples: Sequence[Sequence[float]], references: Sequence[float], confidence: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Studentized bootstrap interval of the score: every task's seeds resampled by themselves, the reference's means fixed.

    `samples` holds min(T, budget) per seed, task by task, `references` the reference's restricted mean on each task. On the log
    scale. Each resample's distance from the sample counts in its own standard errors: ten skewed times, some of them
    censored, tell too little of their spread for basic or percentile intervals, which cover less (`python -m
    tools.simulate_statistics`). A resample whose seeds all agree is given the sample's. Repeats to the bit. Davison & Hinkley
    1997, section 5.2.1.
    """
    random = np.random.Generator(np.random.Philox(0))
    distance, variance = np.zeros(resamples), np.zeros(resamples)
    seen, spread = 0.0, np.zeros(())
    for sample, fixed in zip(samples, references, strict=True):
        values = np.asarray(sample, dtype=float)
        drawn = values[random.integers(len(values), size=(resamples, len(values)))]
        distance += log(values.mean()) - np.log(drawn.mean(axis=1))
        variance += _log_mean_variance(drawn)
        seen += log(fixed) - log(values.mean())
        spread += _log_mean_variance(values)
    if not spread:
        return exp(seen / len(samples)), exp(seen / len(samples))
    errors = distance / np.sqrt(np.where(variance > 0, variance, spread))
    tail = (1 - confidence) / 2
    low, high = (seen - np.sqrt(spread) * np.quantile(errors, (1 - tail, tail))) / len(samples)
    return exp(low), exp(high)


def _log_mean_variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The estimated variance of the log of each row's mean, by the delta method: (…, n) → (…)."""
    n, mean = values.shape[-1], values.mean(axis=-1, keepdims=True)
    variance: NDArray[np.float64] = ((values / mean - 1) ** 2).sum(axis=-1) / (max(n - 1, 1) * n)
    return variance


def paired_p(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], resamples: int = 10_000) -> float:
    """Two-sided p of "no difference": the two runs of any (task, seed) might as well have changed places.

    Statistic: the mean over tasks of log(RMST_theirs / RMST_ours). Rows pair up: sample i of a task is the same seed in both.
    All 2^pairs exchanges where these are at most `resamples`, else that many drawn ones. Repeats to the bit.
    """
    a, b = (np.asarray(samples, dtype=float) for samples in (ours, theirs))  # (tasks, seeds)
    if a.size <= log2(resamples):
        exchanges = (np.arange(2**a.size)[:, None] >> np.arange(a.size) & 1).astype(bool).reshape(-1, *a.shape)
    else:
        exchanges = np.random.Generator(np.random.Philox(1)).integers(2, size=(resamples, *a.shape), dtype=np.int8).astype(bool)
        exchanges[0] = False  # what was seen is one of the possibilities
    means = [np.where(exchanges, x, y).mean(axis=-1) for x, y in ((a, b), (b, a))]  # (exchanges, tasks) each
    statistics = np.log(means[0] / means[1]).mean(axis=-1)
    return float((np.abs(statistics) >= np.abs(statistics[0]) - ROUNDING).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being one of several, in their order. Holm 1979, Scand. J. Stat. 6."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1))
    return [float(p) for p in np.minimum(adjusted, 1.0)]


def improvement_probability(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """The chance that a run of ours is sooner than one of theirs, ties half, mean over tasks. Agarwal et al. 2021."""
    a, b = (np.asarray(samples, dtype=float) for samples in (ours, theirs))  # (tasks, seeds)
    sooner, ties = (compare(a[:, :, None], b[:, None, :]).mean(axis=(1, 2)) for compare in (np.less, np.equal))
    return float((sooner + ties / 2).mean())


def tied_ranks(samples: Sequence[Sequence[Sequence[float]]], level: float = 0.05) -> list[int]:
    """Each method's rank: 1 + the number of those significantly sooner, Holm-corrected over all pairs.

    `samples[m][task][seed]` is min(T, budget); methods that can't be told apart may share a rank.
    """
    pairs = list(combinations(range(len(samples)), 2))
    adjusted = holm([paired_p(samples[i], samples[j]) for i, j in pairs])
    ranks = [1] * len(samples)
    for (i, j), p in zip(pairs, adjusted, strict=True):
        if p < level:
            i_sooner = sum(log(mean(x) / mean(y)) for x, y in zip(samples[i], samples[j], strict=True)) < 0
            ranks[j if i_sooner else i] += 1
    return ranks


def wilson_interval(solved: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for the solve rate. Wilson 1927, J. Am. Stat. Assoc. 22."""
    interval = stats.binomtest(solved, runs).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


RESAMPLES = 10_000


def slower_p(claimed: Sequence[Sequence[float]], new: Sequence[Sequence[float]]) -> float:
    """One-sided p of the new runs' being no slower: the difference of mean logs, summed over tasks, permuted within them."""
    random = np.random.Generator(np.random.Philox(2))
    total, seen = np.zeros(RESAMPLES), 0.0
    for ours, theirs in zip(claimed, new, strict=True):
        logs, n = np.log([*theirs, *ours]), len(theirs)
        seen += logs[:n].mean() - logs[n:].mean()
        shuffled = random.permuted(np.broadcast_to(logs, (RESAMPLES, len(logs))), axis=1)
        total += shuffled[:, :n].mean(axis=1) - shuffled[:, n:].mean(axis=1)
    return float((1 + (total >= seen - 1e-12).sum()) / (1 + RESAMPLES))


def bootstrap(statistic: Callable[[np.random.Generator], float]) -> tuple[float, float]:
    """The middle 95 % of a statistic of resampled runs."""
    random = np.random.Generator(np.random.Philox(5))
    low, high = np.quantile([statistic(random) for _ in range(RESAMPLES)], [0.025, 0.975])
    return float(low), float(high)
