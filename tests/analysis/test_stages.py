"""Stages of curves with known stages, clean and noisy, and of curves without any."""

import doctest
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.analysis import stages
from grokbench.analysis.series import FloatArray
from grokbench.analysis.stages import (
    GRID,
    MINIMAL_RISE,
    PLATEAU_DECADES,
    TURN_OF_MAXIMUM,
    delayed_generalization,
    multi_stage,
    rank_double_descent,
    rank_falls,
    surges,
)
from grokbench.errors import CurveError
from grokbench.evaluation.protocol import PROTOCOL

STEPS = np.array(list(PROTOCOL.grid(30_000).steps), dtype=float)
LOG_STEPS = np.log10(STEPS)
ANSWERS = 2000  # held-out answers in an exam
CURVES = 200  # noisy curves per test


def sigmoid(middle: float, width: float) -> FloatArray:
    """A logistic in log10(step), (T,), by its middle and its width in decades."""
    return np.asarray(1 / (1 + np.exp(-(LOG_STEPS - middle) / width)))


def bump(middle: float, width: float) -> FloatArray:
    """A Gaussian bump of height 1 in log10(step), (T,)."""
    return np.asarray(np.exp(-0.5 * ((LOG_STEPS - middle) / width) ** 2))


def exams(accuracy: FloatArray, seed: int, answers: int = ANSWERS) -> FloatArray:
    """The accuracy that exams with this number of held-out answers show, (T,)."""
    return np.random.default_rng(seed).binomial(answers, accuracy) / answers


TWO = 0.01 + 0.55 * sigmoid(2.2, 0.06) + 0.42 * sigmoid(3.6, 0.06)
NOT_MULTI_STAGE = {
    "chance": np.full_like(LOG_STEPS, 0.01),
    "half": np.full_like(LOG_STEPS, 0.5),
    "step": 0.01 + 0.98 * sigmoid(3, 0.01),
    "sigmoid": 0.01 + 0.98 * sigmoid(3, 0.1),
    "gentle": 0.01 + 0.98 * sigmoid(3, 0.5),
    "very gentle": 0.01 + 0.98 * sigmoid(2.7, 1.5),
    "small": 0.4 + 0.2 * sigmoid(3, 0.3),
    "drift": 0.2 + 0.4 * (LOG_STEPS - LOG_STEPS[0]) / (LOG_STEPS[-1] - LOG_STEPS[0]),
    "learned before the first exam": 0.97 + 0.02 * sigmoid(3, 0.2),
    "dip": 0.9 - 0.5 * bump(3, 0.2),
}
MULTI_STAGE = {
    "two": TWO,
    "gentle": 0.01 + 0.45 * sigmoid(2, 0.12) + 0.5 * sigmoid(3.6, 0.12),
    "small first": 0.01 + 0.12 * sigmoid(2.2, 0.05) + 0.85 * sigmoid(3.6, 0.1),
    "rising plateau": 0.01 + 0.3 * sigmoid(2, 0.05) + 0.4 * sigmoid(3.6, 0.05) + 0.05 * (LOG_STEPS - LOG_STEPS[0]),
    "three": 0.01 + 0.3 * sigmoid(1.8, 0.04) + 0.3 * sigmoid(2.8, 0.04) + 0.3 * sigmoid(3.8, 0.04),
}


@pytest.mark.parametrize("width", [0.005, 0.03, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("middle", [2.0, 2.5, 3.2])
def test_a_sigmoid_is_a_single_surge(middle: float, width: float) -> None:
    """However gentle it is. The surge lasts from 10 % to 90 % of the change, where the logistic can be inverted."""
    accuracy = sigmoid(middle, width)
    (surge,) = surges(STEPS, accuracy)
    assert (surge.before, surge.after) == pytest.approx((accuracy[0], accuracy[-1]))
    low, high = (surge.before + share * surge.change for share in (0.1, 0.9))
    expected = [middle + width * np.log(level / (1 - level)) for level in (low, high)]
    assert np.log10([surge.start, surge.stop]) == pytest.approx(expected, abs=0.04)  # the gap between exams around step 100


@settings(max_examples=50, deadline=None)
@given(
    growing=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    shrinking=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    top=st.floats(0.1, 1),
    decades=st.floats(0.5, 5),
)
def test_a_slope_that_rises_and_then_falls_has_one_stage(
    growing: list[float], shrinking: list[float], top: float, decades: float
) -> None:
    """No curve without noise that bends up and then down has two stages; a line is such a curve."""
    rises = np.concatenate([[0], np.sort(growing), np.sort(shrinking)[::-1]])
    steps = 10 ** (1 + decades * np.linspace(0, 1, len(rises)))
    assert not multi_stage(steps, top * np.cumsum(rises) / max(rises.sum(), 1))


def test_two_sigmoids_are_two_surges() -> None:
    """Each has its levels and its steps at 10 % and 90 %, on the exams' grid and on a dense linear grid."""
    dense = np.arange(10, 30_000, 10, dtype=float)
    for steps, accuracy in ((STEPS, TWO), (dense, np.interp(np.log10(dense), LOG_STEPS, TWO))):
        first, second = surges(steps, accuracy)
        assert (first.before, first.after, second.after) == pytest.approx((0.01, 0.56, 0.98), abs=0.03)
        assert second.before == pytest.approx(0.56, abs=0.03)
        assert np.log10([first.start, first.stop]) == pytest.approx(2.2 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.03)
        assert np.log10([second.start, second.stop]) == pytest.approx(3.6 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.03)


def test_three_sigmoids_are_three_surges() -> None:
    """A plateau doesn't swallow the surge between two others."""
    assert [round(surge.change, 1) for surge in surges(STEPS, MULTI_STAGE["three"])] == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("wide", [False, True])
def test_a_plateau_lasts_until_the_steps_have_doubled(wide: bool) -> None:
    """Two jumps are a single surge if the flat stretch between them is a little shorter than the least plateau."""
    length = PLATEAU_DECADES + (5 if wide else -5) * GRID
    accuracy = 0.4 * (LOG_STEPS >= 2.5) + 0.4 * (2.5 + length <= LOG_STEPS)
    assert len(surges(STEPS, accuracy)) == (2 if wide else 1)


@pytest.mark.parametrize(("rise", "expected"), [(MINIMAL_RISE * 0.9, 0), (MINIMAL_RISE * 1.1, 1)])
def test_a_surge_rises_by_the_least_rise(rise: float, expected: int) -> None:
    """Less isn't a surge, unless `rise` is lowered."""
    assert len(surges(STEPS, 0.3 + rise * (LOG_STEPS > 3))) == expected
    assert len(surges(STEPS, 0.3 + rise * (LOG_STEPS > 3), rise=MINIMAL_RISE / 2)) == 1


def test_a_rise_slower_than_the_least_rise_per_decade_is_drift() -> None:
    """The least rise is 0.05: 0.04 per decade is drift, 0.06 per decade is a surge."""
    assert not surges(STEPS, 0.3 + 0.04 * LOG_STEPS)
    assert len(surges(STEPS, 0.3 + 0.06 * LOG_STEPS)) == 1


def test_recovery_is_a_surge_only_past_the_old_best() -> None:
    """After a dip, accuracy surges again only where it gets higher than before."""
    assert not surges(STEPS, 0.9 - 0.5 * bump(3, 0.2))
    back = 0.6 * sigmoid(2, 0.05) - 0.3 * bump(3, 0.2)
    assert [surge.after for surge in surges(STEPS, back)] == pytest.approx([0.6], abs=0.01)
    first, second = surges(STEPS, back + 0.4 * sigmoid(3.6, 0.05))
    assert (first.after, second.before, second.after) == pytest.approx((0.6, 0.6, 1.0), abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_loss_spikes_are_no_stages(seed: int) -> None:
    """Runs on minibatches sometimes lose half of their accuracy for an exam or two."""
    random = np.random.default_rng(seed)
    accuracy = 0.01 + 0.98 * sigmoid(3, 0.15)
    for at in range(10, len(LOG_STEPS) - 10, 12):
        accuracy[at : at + random.integers(1, 3)] *= 0.5
    assert len(surges(STEPS, exams(accuracy, seed))) == 1


def count_noisy_surges(accuracy: FloatArray) -> list[int]:
    """The number of surges in each of `CURVES` noisy exam curves of an accuracy."""
    return [len(surges(STEPS, exams(accuracy, seed))) for seed in range(CURVES)]


@pytest.mark.parametrize("name", NOT_MULTI_STAGE)
def test_false_alarms(name: str) -> None:
    """At most 1 noisy curve in 100 differs from the clean curve in its surges, and at most 1 in 200 seems multi-stage."""
    clean, noisy = len(surges(STEPS, NOT_MULTI_STAGE[name])), count_noisy_surges(NOT_MULTI_STAGE[name])
    assert clean == (0 if name in ("chance", "half", "dip", "learned before the first exam") else 1)
    assert np.mean([count != clean for count in noisy]) <= 0.01
    assert np.mean([count > 1 for count in noisy]) <= 0.005


@pytest.mark.parametrize("name", MULTI_STAGE)
def test_detection(name: str) -> None:
    """The stages of at least 99 in 100 noisy curves are counted right."""
    num_stages = 3 if name == "three" else 2
    assert multi_stage(STEPS, MULTI_STAGE[name])
    assert np.mean([count == num_stages for count in count_noisy_surges(MULTI_STAGE[name])]) >= 0.99


def test_few_answers_need_a_greater_rise() -> None:
    """With 200 held-out answers, noise alone rises by 0.05, but not by 0.15."""
    noisy = [exams(np.full_like(LOG_STEPS, 0.5), seed, answers=200) for seed in range(100)]
    assert sum(bool(surges(STEPS, curve)) for curve in noisy) > 10
    assert not any(surges(STEPS, curve, rise=0.15) for curve in noisy)


def test_one_exam_has_no_stage() -> None:
    """A run that ends before it learns has none either."""
    assert surges([10], [0.5]) == []
    assert surges([10, 20, 30], [0.01, 0.02, 0.01]) == []


TRAIN = sigmoid(2, 0.05)
MEMORIZED = STEPS[np.argmax(TRAIN >= 0.99)]


@pytest.mark.parametrize("middle", [2.8, 3.3, 3.8])
def test_delay_is_the_ratio_of_steps(middle: float) -> None:
    """Train accuracy reaches 99 % at 0.05 ln 99 decades after its middle; held-out accuracy is halfway at its middle."""
    delay = delayed_generalization(STEPS, train=TRAIN, held_out=0.01 + 0.98 * sigmoid(middle, 0.08))
    assert delay is not None
    assert np.log10(delay.memorized_step) == pytest.approx(2 + 0.05 * np.log(99), abs=0.02)
    assert delay.memorized_step == MEMORIZED
    assert np.log10(delay.ratio) == pytest.approx(middle - np.log10(MEMORIZED), abs=2 * GRID)
    assert (delay.before, delay.after) == pytest.approx((0.01, 0.99), abs=0.01)


def test_delay_after_a_first_stage() -> None:
    """If a part is learned with the training data and the rest long after, the gain counts from memorization."""
    delay = delayed_generalization(STEPS, train=TRAIN, held_out=0.6 * TRAIN + 0.35 * sigmoid(3.6, 0.05))
    assert delay is not None
    assert np.log10(delay.generalized_step) == pytest.approx(3.6, abs=0.02)
    assert (delay.before, delay.after) == pytest.approx((0.6, 0.95), abs=0.01)


def test_a_slow_surge_that_began_before_memorization() -> None:
    """As in deep networks: a seventh of the rise comes before memorization, and the run is late all the same."""
    middle = np.log10(MEMORIZED) + 0.8
    held_out = 0.1 + 0.8 * sigmoid(middle, 0.45)
    delay = delayed_generalization(STEPS, train=TRAIN, held_out=held_out)
    assert delay is not None
    assert delay.before > 0.2
    assert delay.ratio > 4
    assert all(delayed_generalization(STEPS, train=TRAIN, held_out=exams(held_out, seed)) for seed in range(50))


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        pytest.param(TRAIN, 0.97 * TRAIN, id="learned together"),
        pytest.param(TRAIN, 0.8 * TRAIN + 0.05 * (LOG_STEPS - LOG_STEPS[0]), id="tapering off"),
        pytest.param(TRAIN, np.full_like(LOG_STEPS, 0.01), id="never"),
        pytest.param(0.98 * TRAIN, sigmoid(3.5, 0.05), id="not memorized"),
        pytest.param(TRAIN, sigmoid(np.log10(MEMORIZED) + 0.2, 0.01), id="too soon"),
        pytest.param(sigmoid(3.5, 0.05), sigmoid(2, 0.05), id="before memorization"),
        pytest.param(TRAIN, 0.9 + 0.04 * sigmoid(3.5, 0.05), id="too little"),
    ],
)
def test_no_delay(train: FloatArray, held_out: FloatArray) -> None:
    """The clean curve has none, nor has any of a hundred noisy ones."""
    assert delayed_generalization(STEPS, train=train, held_out=held_out) is None
    assert not any(delayed_generalization(STEPS, train=train, held_out=exams(held_out, seed)) for seed in range(100))


RANK_DESCENT = 400 - 250 * sigmoid(1.8, 0.06) + 150 * sigmoid(2.6, 0.06) - 200 * sigmoid(3.5, 0.06)
NO_RANK_DESCENT = {
    "falls once": 400 - 300 * sigmoid(2.5, 0.2),
    "falls in two steps": 400 - 150 * sigmoid(2, 0.1) - 150 * sigmoid(3.5, 0.1),
    "falls and rises": 400 - 300 * bump(3, 0.3),
    "rises and falls": 100 + 300 * bump(3, 0.3),
    "stays": np.full_like(LOG_STEPS, 250.0),
    "rises back by too little": 400 - 300 * sigmoid(2.5, 0.2) + 15 * bump(3.5, 0.1),
    "dead": np.zeros_like(LOG_STEPS),
}


def test_rank_double_descent_has_two_falls() -> None:
    """Each has its levels and its steps at 10 % and 90 %."""
    assert rank_double_descent(STEPS, RANK_DESCENT)
    first, second = rank_falls(STEPS, RANK_DESCENT)
    assert (first.before, first.after, second.before, second.after) == pytest.approx((400, 150, 300, 100), abs=2)
    assert np.log10([first.start, first.stop]) == pytest.approx(1.8 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.04)
    assert np.log10([second.start, second.stop]) == pytest.approx(3.5 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.04)


@pytest.mark.parametrize("name", NO_RANK_DESCENT)
def test_no_rank_double_descent(name: str) -> None:
    """The clean curve has none, and at most one noisy curve in a hundred has one."""
    rank = NO_RANK_DESCENT[name]
    assert not rank_double_descent(STEPS, rank)
    assert np.mean([rank_double_descent(STEPS, noisy_rank(rank, seed)) for seed in range(CURVES)]) <= 0.01


def noisy_rank(rank: FloatArray, seed: int) -> FloatArray:
    """The rank with noise of 2 %, halved now and then for an exam or two, (T,)."""
    random = np.random.default_rng(seed)
    noisy = rank * (1 + 0.02 * random.normal(size=rank.shape))
    for at in range(8, len(LOG_STEPS) - 8, 15):
        noisy[at : at + random.integers(1, 3)] *= 0.5
    return np.asarray(noisy)


def test_rank_double_descent_is_seen_through_noise() -> None:
    """It is found in at least 99 of 100 noisy curves."""
    assert np.mean([rank_double_descent(STEPS, noisy_rank(RANK_DESCENT, seed)) for seed in range(CURVES)]) >= 0.99


@settings(max_examples=50, deadline=None)
@given(levels=st.lists(st.integers(0, 400), min_size=1, max_size=8), scale=st.floats(0.01, 100))
def test_falls_alternate_with_rises_and_do_not_depend_on_the_unit(levels: list[int], scale: float) -> None:
    """Every fall is at least the least turn, and the next one starts at least as much higher. The unit changes nothing."""
    rank = np.interp(LOG_STEPS, np.linspace(LOG_STEPS[0], LOG_STEPS[-1], len(levels)), levels)
    falls = rank_falls(STEPS, rank)
    least = TURN_OF_MAXIMUM * max(levels) * 0.9  # the filter may shave the maximum
    assert all(-fall.change >= least for fall in falls)
    assert all(after.before - before.after >= least for before, after in pairwise(falls))
    assert len(rank_falls(STEPS, scale * rank)) == len(falls)


@pytest.mark.parametrize(
    "analyze",
    [
        lambda steps, values: surges(steps, values),
        lambda steps, values: multi_stage(steps, values),
        lambda steps, values: rank_falls(steps, values),
        lambda steps, values: rank_double_descent(steps, values),
        lambda steps, values: delayed_generalization(steps, train=values, held_out=[0.5] * len(steps)),
        lambda steps, values: delayed_generalization(steps, train=[0.5] * len(steps), held_out=values),
    ],
)
def test_every_function_checks_its_curves(analyze: Callable[[list[float], list[float]], object]) -> None:
    """A value that isn't finite is an error for every curve."""
    with pytest.raises(CurveError, match="finite"):
        analyze([10, 20], [0.1, np.nan])


def test_values_out_of_range_are_refused() -> None:
    """Percentages, a least rise of 0, a negative rank."""
    with pytest.raises(CurveError, match=r"\[0, 1\], got 1 to 98"):
        surges([10, 20, 30], [1, 50, 98])
    with pytest.raises(CurveError, match=r"must lie in \(0, 1\), got 0"):
        surges([10, 20], [0.1, 0.2], rise=0)
    with pytest.raises(CurveError, match="at least 0, got -1"):
        rank_falls([10, 20], [-1, -1])


def test_columns_of_a_table_are_curves() -> None:
    """A notebook passes the columns of a run's exams."""
    exams_table = pd.DataFrame({"step": STEPS.astype(int), "held_out_accuracy": TWO})
    assert surges(exams_table["step"], exams_table["held_out_accuracy"]) == surges(STEPS, TWO)


def test_the_docstrings_examples() -> None:
    """Every example prints the output that the docstring shows."""
    examples = doctest.testmod(stages, extraglobs={"np": np})
    assert examples.attempted > 0
    assert not examples.failed
