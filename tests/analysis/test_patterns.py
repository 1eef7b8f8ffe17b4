"""The toy model against its closed forms and sums written out by hand, and fits against patterns that are known."""

from itertools import combinations
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from grokbench.analysis import patterns
from grokbench.analysis.patterns import DOUBLE_DESCENT, GROKKING, Pattern, fit, learned
from grokbench.evaluation.protocol import PROTOCOL

Array = NDArray[np.float64]
TIMES = np.arange(300.0)  # the paper's
STEPS = np.array(list(PROTOCOL.grid(20_000)), dtype=float)
SHARES = st.floats(0, 1)
PATTERN = st.builds(Pattern, st.floats(0.01, 1), st.floats(0, 300), SHARES, SHARES)


def test_the_papers_values() -> None:
    """α, b, g and γ of types 1, 2 and 3; only γ differs between the settings."""
    for setting, maxima in ((DOUBLE_DESCENT, [0.7, 1, 0.2]), (GROKKING, [0, 1, 1])):
        assert [(p.speed, p.onset, p.generalization) for p in setting] == [(0.15, 30, 1), (0.15, 50, 0), (0.05, 200, 1)]
        assert [p.maximum for p in setting] == maxima
        assert [p.preferred for p in setting] == [False, False, True]


def test_learned_closed_form() -> None:
    """Half the maximum at the onset, three quarters ln 3 / speed later, all of it in the end."""
    pattern = Pattern(0.15, 30, 1, 0.7)
    shares = learned([pattern], [30, 30 + np.log(3) / 0.15, 30 - np.log(3) / 0.15, 1e6, -1e6])
    assert shares == pytest.approx(np.array([[0.35, 0.525, 0.175, 0.7, 0]]))


@pytest.mark.parametrize("setting", [DOUBLE_DESCENT, GROKKING])
def test_three_patterns_written_out(setting: tuple[Pattern, ...]) -> None:
    """The union of three events, and of the held-out examples what the share of each pattern's use gets right."""
    p1, p2, p3 = learned(setting, TIMES)
    union = p1 + p2 + p3 - p1 * p2 - p1 * p3 - p2 * p3 + p1 * p2 * p3
    assert patterns.train_accuracy(setting, TIMES) == pytest.approx(union)
    either = p1 * p2 * (1 - p3) / 2
    used1, used2 = (p * (1 - p3) - either for p in (p1, p2))
    g1, g2, g3 = (p.generalization for p in setting)
    assert patterns.test_accuracy(setting, TIMES) == pytest.approx(used1 * g1 + used2 * g2 + p3 * g3)


@given(several=st.lists(PATTERN, min_size=1, max_size=4), t=st.floats(0, 300))
def test_without_preference_it_is_inclusion_and_exclusion_of_means(several: list[Pattern], t: float) -> None:
    """Σ_A (−1)^(|A|+1) · mean of g over A · ∏_A p: as the events of "these at least" have it."""
    shares = learned(several, [t])[:, 0]
    expected = 0.0
    for size in range(1, len(several) + 1):
        for chosen in combinations(range(len(several)), size):
            both = float(np.prod(shares[list(chosen)]))
            expected += (-1) ** (size + 1) * both * mean(several[i].generalization for i in chosen)
    assert patterns.test_accuracy(several, [t])[0] == pytest.approx(expected, abs=1e-9)


@given(others=st.lists(PATTERN, max_size=3), t=st.floats(0, 300), g=SHARES, p=SHARES)
def test_the_preferred_pattern_overrides_the_rest(others: list[Pattern], t: float, g: float, p: float) -> None:
    """By total probability: its own generalization where it applies, the rest's accuracy where it doesn't."""
    preferred = Pattern(1, -1e3, g, p, preferred=True)  # learned long ago: its share is its maximum
    rest = float(patterns.test_accuracy(others, [t])[0]) if others else 0.0
    assert patterns.test_accuracy([*others, preferred], [t])[0] == pytest.approx(p * g + (1 - p) * rest, abs=1e-9)


@given(several=st.lists(PATTERN, min_size=1, max_size=4), t=st.floats(0, 300))
def test_test_accuracy_is_train_accuracy_where_all_generalize(several: list[Pattern], t: float) -> None:
    """With every g = 1 the probabilities of the sets add up to that of any pattern; never is test above train."""
    (train,) = patterns.train_accuracy(several, [t])
    assert patterns.test_accuracy(several, [t])[0] <= train + 1e-9
    perfect = [Pattern(p.speed, p.onset, 1, p.maximum) for p in several]
    assert patterns.test_accuracy(perfect, [t])[0] == pytest.approx(train, abs=1e-9)


def test_double_descent_rises_falls_and_rises() -> None:
    """At first 0.5 by heuristics, then down as memorization halves their use to 0.35, then up to 0.2 + 0.8 · 0.35."""
    accuracy = patterns.test_accuracy(DOUBLE_DESCENT, np.arange(600.0))
    top = int(accuracy[:100].argmax())
    bottom = top + int(accuracy[top:200].argmin())
    assert 30 < top < 50 < bottom < 150
    assert accuracy[top] > 0.5 > 0.4 > accuracy[bottom] > 0.35
    assert accuracy[-1] == pytest.approx(0.48, abs=1e-3)
    assert (np.diff(accuracy[: top + 1]) > 0).all()
    assert (np.diff(accuracy[top : bottom + 1]) < 0).all()
    assert (np.diff(accuracy[bottom:]) > 0).all()
    assert patterns.train_accuracy(DOUBLE_DESCENT, [100.0])[0] > 0.99


def test_grokking_memorizes_long_before_it_generalizes() -> None:
    """Memorized by 90 with test accuracy below 1 %; half right at 200 exactly, where the preferred pattern is half learned."""
    train, test = patterns.train_accuracy(GROKKING, TIMES), patterns.test_accuracy(GROKKING, TIMES)
    memorized = int(np.argmax(train >= 0.99))
    assert memorized < 90
    assert test[memorized] < 0.01
    assert test[200] == pytest.approx(0.5)
    assert int(np.argmax(test >= 0.99)) > 3 * memorized


def test_two_preferred_patterns_are_refused() -> None:
    """Which of them is followed isn't said."""
    with pytest.raises(ValueError, match="at most one pattern is preferred"):
        patterns.test_accuracy([GROKKING[2], GROKKING[2]], TIMES)


TWO = (Pattern(8, 5, 0.1), Pattern(4, 8, 0.97, preferred=True))
PARTIAL = (Pattern(20, 4.5, 0.01, 0.9), Pattern(3, 7, 0.99, preferred=True))
THREE = (Pattern(6, 4, 0.9, 0.6), Pattern(5, 5.5, 0.05), Pattern(4, 8, 0.98, preferred=True))


@pytest.mark.parametrize("truth", [TWO, PARTIAL, THREE])
@pytest.mark.parametrize("seed", range(3))
def test_fit_recovers(truth: tuple[Pattern, ...], seed: int) -> None:
    """Through noise of 1 %: onsets within 3 %, speeds within 15 %, shares within 0.03, and a residual that is the noise."""
    random, t = np.random.default_rng(seed), np.log(STEPS)
    train, test = (f(truth, t) + random.normal(0, 0.01, t.shape) for f in (patterns.train_accuracy, patterns.test_accuracy))
    found = fit(STEPS, train, test, len(truth))
    assert found.rmse == pytest.approx(0.01, rel=0.1)
    for ours, known in zip(found.patterns, truth, strict=True):
        assert ours.preferred == known.preferred
        assert ours.speed == pytest.approx(known.speed, rel=0.15)
        assert np.exp(ours.onset) == pytest.approx(np.exp(known.onset), rel=0.03)
        assert (ours.generalization, ours.maximum) == pytest.approx((known.generalization, known.maximum), abs=0.03)


def test_a_third_pattern_is_needed_where_there_are_three() -> None:
    """Two can't follow a test accuracy that rises, falls and rises; three follow it to rounding."""
    t = np.log(STEPS)
    curves = patterns.train_accuracy(THREE, t), patterns.test_accuracy(THREE, t)
    assert fit(STEPS, *curves, 3).rmse < 1e-4
    assert fit(STEPS, *curves, 2).rmse > 0.03


@pytest.mark.parametrize("factor", [0.5, 20])
def test_a_slower_run_has_later_onsets_and_the_same_speeds(factor: float) -> None:
    """Time is ln(step): a run at one pace throughout, however slow, is the same run shifted."""
    t = np.log(STEPS)
    curves = patterns.train_accuracy(TWO, t), patterns.test_accuracy(TWO, t)
    for ours, known in zip(fit(factor * STEPS, *curves).patterns, TWO, strict=True):
        assert ours.onset - np.log(factor) == pytest.approx(known.onset, abs=0.01)
        assert ours.speed == pytest.approx(known.speed, rel=0.01)


@pytest.mark.parametrize(
    ("steps", "accuracy", "count", "message"),
    [
        ([1, 2, 3], [0, 0, 1], 2, "at least 4"),
        ([1, 2, 3, 4], [0, 0, 1], 2, "one length"),
        ([1, 2, 3, 4], [0, 0, 1, np.nan], 2, "finite"),
        ([0, 1, 2, 3], [0, 0, 1, 1], 2, "positive"),
        ([2, 1, 3, 4], [0, 0, 1, 1], 2, "rising"),
        ([1, 2, 3, 4], [0, 0, 1, 1], 0, "1 to 6 patterns, got 0"),
    ],
)
def test_what_can_not_be_fitted_is_refused(steps: list[float], accuracy: list[float], count: int, message: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=message):
        fit(steps, accuracy, accuracy, count)
