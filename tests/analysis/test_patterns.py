"""The toy model against closed forms and sums written out by hand, and fits against known patterns."""

import doctest
from dataclasses import replace
from itertools import combinations
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokbench.analysis import patterns
from grokbench.analysis.patterns import DOUBLE_DESCENT, GROKKING, Pattern, PatternModel, fit
from grokbench.analysis.series import FloatArray
from grokbench.errors import CurveError
from grokbench.evaluation.protocol import PROTOCOL

TIMES = np.arange(300.0)  # the steps of the paper's figures
STEPS = np.array(list(PROTOCOL.grid(20_000).steps), dtype=float)
SHARES = st.floats(0, 1)
PATTERN = st.builds(Pattern, st.floats(0.01, 1), st.floats(0, 300), SHARES, SHARES)


def test_learned_closed_form() -> None:
    """A pattern has half its maximum at the onset, three quarters ln 3 / speed later, and all of it in the end."""
    model = PatternModel((Pattern(0.15, 30, 1, 0.7),))
    shares = model.learned([30, 30 + np.log(3) / 0.15, 30 - np.log(3) / 0.15, 1e6, -1e6])
    assert shares == pytest.approx(np.array([[0.35, 0.525, 0.175, 0.7, 0]]))


@pytest.mark.parametrize("model", [DOUBLE_DESCENT, GROKKING])
def test_three_patterns_written_out(model: PatternModel) -> None:
    """Train accuracy is the union of three events; held-out accuracy sums each pattern's use times its generalization."""
    p1, p2, p3 = model.learned(TIMES)
    union = p1 + p2 + p3 - p1 * p2 - p1 * p3 - p2 * p3 + p1 * p2 * p3
    assert model.train_accuracy(TIMES) == pytest.approx(union)
    either = p1 * p2 * (1 - p3) / 2
    used1, used2 = (p * (1 - p3) - either for p in (p1, p2))
    g1, g2, g3 = (pattern.generalization for pattern in model.patterns)
    assert model.held_out_accuracy(TIMES) == pytest.approx(used1 * g1 + used2 * g2 + p3 * g3)


@given(several=st.lists(PATTERN, min_size=1, max_size=4), t=st.floats(0, 300))
def test_without_preference_it_is_inclusion_and_exclusion(several: list[Pattern], t: float) -> None:
    """The published sum over exact sets equals a sum over "these at least", with the mean generalization of each set."""
    model = PatternModel(tuple(several))
    shares = model.learned([t])[:, 0]
    expected = 0.0
    for size in range(1, len(several) + 1):
        for chosen in combinations(range(len(several)), size):
            all_apply = float(np.prod(shares[list(chosen)]))
            expected += (-1) ** (size + 1) * all_apply * mean(several[i].generalization for i in chosen)
    assert model.held_out_accuracy([t])[0] == pytest.approx(expected, abs=1e-9)


@given(others=st.lists(PATTERN, max_size=3), t=st.floats(0, 300), g=SHARES, p=SHARES)
def test_the_preferred_pattern_overrides_the_rest(others: list[Pattern], t: float, g: float, p: float) -> None:
    """Where it applies, its own generalization counts; elsewhere, the accuracy of the others."""
    preferred = Pattern(1, -1e3, g, p, preferred=True)  # learned long ago: its share is its maximum
    rest = float(PatternModel(tuple(others)).held_out_accuracy([t])[0]) if others else 0.0
    accuracy = PatternModel((*others, preferred)).held_out_accuracy([t])
    assert accuracy[0] == pytest.approx(p * g + (1 - p) * rest, abs=1e-9)


@given(several=st.lists(PATTERN, min_size=1, max_size=4), t=st.floats(0, 300))
def test_held_out_accuracy_is_train_accuracy_if_all_patterns_generalize(several: list[Pattern], t: float) -> None:
    """It is never above train accuracy, and equal to it if every generalization is 1."""
    model = PatternModel(tuple(several))
    (train,) = model.train_accuracy([t])
    assert model.held_out_accuracy([t])[0] <= train + 1e-9
    perfect = PatternModel(tuple(replace(pattern, generalization=1) for pattern in several))
    assert perfect.held_out_accuracy([t])[0] == pytest.approx(train, abs=1e-9)


def test_double_descent_rises_falls_and_rises() -> None:
    """Heuristics reach 0.5, memorization halves their use to 0.35, and the end is at 0.2 + 0.8 · 0.35 = 0.48."""
    accuracy = DOUBLE_DESCENT.held_out_accuracy(np.arange(600.0))
    peak = int(accuracy[:100].argmax())
    trough = peak + int(accuracy[peak:200].argmin())
    assert 30 < peak < 50 < trough < 150
    assert accuracy[peak] > 0.5 > 0.4 > accuracy[trough] > 0.35
    assert accuracy[-1] == pytest.approx(0.48, abs=1e-3)
    assert (np.diff(accuracy[: peak + 1]) > 0).all()
    assert (np.diff(accuracy[peak : trough + 1]) < 0).all()
    assert (np.diff(accuracy[trough:]) > 0).all()
    assert DOUBLE_DESCENT.train_accuracy([100.0])[0] > 0.99


def test_grokking_memorizes_long_before_it_generalizes() -> None:
    """Memorized by 90 with test accuracy below 1 %; half right at 200 exactly, where the preferred pattern is half learned."""
    train, held_out = GROKKING.train_accuracy(TIMES), GROKKING.held_out_accuracy(TIMES)
    memorized = int(np.argmax(train >= 0.99))
    assert memorized < 90
    assert held_out[memorized] < 0.01
    assert held_out[200] == pytest.approx(0.5)
    assert int(np.argmax(held_out >= 0.99)) > 3 * memorized


def test_two_preferred_patterns_are_refused() -> None:
    """The model doesn't say which of them is followed."""
    preferred = GROKKING.patterns[2]
    with pytest.raises(CurveError, match="at most one pattern can be preferred"):
        PatternModel((preferred, preferred))


TWO = PatternModel((Pattern(8, 5, 0.1), Pattern(4, 8, 0.97, preferred=True)))
PARTIAL = PatternModel((Pattern(20, 4.5, 0.01, 0.9), Pattern(3, 7, 0.99, preferred=True)))
THREE = PatternModel((Pattern(6, 4, 0.9, 0.6), Pattern(5, 5.5, 0.05), Pattern(4, 8, 0.98, preferred=True)))


@pytest.mark.parametrize("model", [TWO, THREE])
def test_a_vector_holds_all_that_a_fit_chooses(model: PatternModel) -> None:
    """Four numbers a pattern, but for the preferred pattern's maximum of 1, from which the same model follows."""
    vector = model.to_vector()
    assert vector.shape == (4 * len(model.patterns) - 1,)
    again = PatternModel.from_vector(vector)
    for pattern, original in zip(again.patterns, model.patterns, strict=True):
        assert pattern.speed == pytest.approx(original.speed)
        assert replace(pattern, speed=original.speed) == original


def curves_of(model: PatternModel) -> tuple[FloatArray, FloatArray]:
    """Train and held-out accuracy of a model with t = ln(step), at `STEPS`."""
    return model.train_accuracy(np.log(STEPS)), model.held_out_accuracy(np.log(STEPS))


@pytest.mark.parametrize("truth", [TWO, PARTIAL, THREE])
@pytest.mark.parametrize("seed", range(3))
def test_fit_recovers_known_patterns_through_noise(truth: PatternModel, seed: int) -> None:
    """With noise of 1 %: onsets within 3 %, speeds within 15 %, shares within 0.03, and the noise as error."""
    random = np.random.default_rng(seed)
    train, held_out = (curve + random.normal(0, 0.01, curve.shape) for curve in curves_of(truth))
    fitted = fit(STEPS, train=train, held_out=held_out, count=len(truth.patterns))
    assert fitted.rmse == pytest.approx(0.01, rel=0.1)
    for pattern, known in zip(fitted.model.patterns, truth.patterns, strict=True):
        assert pattern.preferred == known.preferred
        assert pattern.speed == pytest.approx(known.speed, rel=0.15)
        assert np.exp(pattern.onset) == pytest.approx(np.exp(known.onset), rel=0.03)
        assert pattern.generalization == pytest.approx(known.generalization, abs=0.03)
        assert pattern.maximum == pytest.approx(known.maximum, abs=0.03)


def test_a_third_pattern_is_needed_where_there_are_three() -> None:
    """Two can't follow a held-out accuracy that rises, falls and rises; three follow it to rounding."""
    train, held_out = curves_of(THREE)
    assert fit(STEPS, train=train, held_out=held_out, count=3).rmse < 1e-4
    assert fit(STEPS, train=train, held_out=held_out, count=2).rmse > 0.03


@pytest.mark.parametrize("factor", [0.5, 20])
def test_a_slower_run_has_later_onsets_and_the_same_speeds(factor: float) -> None:
    """Time is ln(step): a run that is slower by a factor throughout is the same run, shifted."""
    train, held_out = curves_of(TWO)
    fitted = fit(factor * STEPS, train=train, held_out=held_out)
    for pattern, known in zip(fitted.model.patterns, TWO.patterns, strict=True):
        assert pattern.onset - np.log(factor) == pytest.approx(known.onset, abs=0.01)
        assert pattern.speed == pytest.approx(known.speed, rel=0.01)


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
def test_fit_refuses_bad_input(steps: list[float], accuracy: list[float], count: int, message: str) -> None:
    """The error says what was expected."""
    with pytest.raises(CurveError, match=message):
        fit(steps, train=accuracy, held_out=accuracy, count=count)


def test_the_docstrings_examples() -> None:
    """Every example prints the output that the docstring shows."""
    examples = doctest.testmod(patterns, extraglobs={"np": np})
    assert examples.attempted > 0
    assert not examples.failed
