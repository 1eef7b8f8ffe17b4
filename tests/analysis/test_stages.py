"""Stages against curves whose stages are known, clean and noisy, and against curves that have none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
from grokbench.evaluation.protocol import PROTOCOL

Array = NDArray[np.float64]
STEPS = np.array(list(PROTOCOL.grid(30_000)), dtype=float)
X = np.log10(STEPS)
ANSWERS = 2000
CURVES = 200


def sigmoid(middle: float, width: float, x: Array = X) -> Array:
    """A logistic in log10(steps), by its middle and its width, in decades."""
    return np.asarray(1 / (1 + np.exp(-(x - middle) / width)))


def bump(middle: float, width: float) -> Array:
    """A Gaussian bump of height 1."""
    return np.asarray(np.exp(-0.5 * ((X - middle) / width) ** 2))


def exams(accuracy: Array, seed: int, answers: int = ANSWERS) -> Array:
    """What exams of so many questions show of an accuracy."""
    return np.random.default_rng(seed).binomial(answers, accuracy) / answers


TWO = 0.01 + 0.55 * sigmoid(2.2, 0.06) + 0.42 * sigmoid(3.6, 0.06)
NOT_MULTI_STAGE = {
    "chance": np.full_like(X, 0.01),
    "half": np.full_like(X, 0.5),
    "step": 0.01 + 0.98 * sigmoid(3, 0.01),
    "sigmoid": 0.01 + 0.98 * sigmoid(3, 0.1),
    "gentle": 0.01 + 0.98 * sigmoid(3, 0.5),
    "very gentle": 0.01 + 0.98 * sigmoid(2.7, 1.5),
    "small": 0.4 + 0.2 * sigmoid(3, 0.3),
    "drift": 0.2 + 0.4 * (X - 1) / 3.5,
    "learned before the first exam": 0.97 + 0.02 * sigmoid(3, 0.2),
    "dip": 0.9 - 0.5 * bump(3, 0.2),
}
MULTI_STAGE = {
    "two": TWO,
    "gentle": 0.01 + 0.45 * sigmoid(2, 0.12) + 0.5 * sigmoid(3.6, 0.12),
    "small first": 0.01 + 0.12 * sigmoid(2.2, 0.05) + 0.85 * sigmoid(3.6, 0.1),
    "rising plateau": 0.01 + 0.3 * sigmoid(2, 0.05) + 0.4 * sigmoid(3.6, 0.05) + 0.05 * (X - 1),
    "three": 0.01 + 0.3 * sigmoid(1.8, 0.04) + 0.3 * sigmoid(2.8, 0.04) + 0.3 * sigmoid(3.8, 0.04),
}


@pytest.mark.parametrize("width", [0.005, 0.03, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("middle", [2.0, 2.5, 3.2])
def test_one_sigmoid_is_one_surge(middle: float, width: float) -> None:
    """However steep; from 10 % to 90 % of the whole change, which a logistic takes ln 9 widths to either side of its middle."""
    accuracy = sigmoid(middle, width)
    (surge,) = surges(STEPS, accuracy)
    assert (surge.before, surge.after) == pytest.approx((accuracy[0], accuracy[-1]))
    low, high = (surge.before + share * surge.change for share in (0.1, 0.9))
    expected = [middle + width * np.log(level / (1 - level)) for level in (low, high)]
    assert np.log10([surge.start, surge.stop]) == pytest.approx(expected, abs=0.04)  # exams at 100 are as far apart


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
    """Any curve that bends up and then down, lines among them: no noise-free one is ever taken for two stages."""
    rises = np.concatenate([[0], np.sort(growing), np.sort(shrinking)[::-1]])
    steps = 10 ** (1 + decades * np.linspace(0, 1, len(rises)))
    assert not multi_stage(steps, top * np.cumsum(rises) / max(rises.sum(), 1))


def test_two_sigmoids_are_two_surges() -> None:
    """Each with its levels and its 10 % to 90 % steps; so they are on a linear grid ten times as dense."""
    dense = np.arange(10, 30_000, 10, dtype=float)
    for steps, accuracy in ((STEPS, TWO), (dense, np.interp(np.log10(dense), X, TWO))):
        first, second = surges(steps, accuracy)
        assert (first.before, first.after, second.after) == pytest.approx((0.01, 0.56, 0.98), abs=0.03)
        assert second.before == pytest.approx(0.56, abs=0.03)
        assert np.log10([first.start, first.stop]) == pytest.approx(2.2 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.03)
        assert np.log10([second.start, second.stop]) == pytest.approx(3.6 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.03)


def test_three_sigmoids_are_three_surges() -> None:
    """A plateau never swallows the surge between two others."""
    assert [round(surge.change, 1) for surge in surges(STEPS, MULTI_STAGE["three"])] == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("wide", [False, True])
def test_a_plateau_lasts_until_the_steps_have_doubled(wide: bool) -> None:
    """Two jumps with a flat stretch between, a little shorter than the least plateau, and a little longer."""
    length = PLATEAU_DECADES + (5 if wide else -5) * GRID
    accuracy = 0.4 * (X >= 2.5) + 0.4 * (2.5 + length <= X)
    assert len(surges(STEPS, accuracy)) == (2 if wide else 1)


@pytest.mark.parametrize(("rise", "expected"), [(MINIMAL_RISE * 0.9, 0), (MINIMAL_RISE * 1.1, 1)])
def test_a_surge_rises_by_the_least_rise(rise: float, expected: int) -> None:
    """Five points by default."""
    assert len(surges(STEPS, 0.3 + rise * (X > 3))) == expected
    assert len(surges(STEPS, 0.3 + rise * (X > 3), rise=MINIMAL_RISE / 2)) == 1


def test_what_takes_a_decade_to_rise_by_the_least_is_drift() -> None:
    """0.04 per decade is none, 0.06 per decade one."""
    assert not surges(STEPS, 0.3 + 0.04 * X)
    assert len(surges(STEPS, 0.3 + 0.06 * X)) == 1


def test_recovery_is_a_surge_only_past_the_old_best() -> None:
    """A double descent of accuracy is one surge up, and another where it gets higher than before."""
    assert not surges(STEPS, 0.9 - 0.5 * bump(3, 0.2))
    back = 0.6 * sigmoid(2, 0.05) - 0.3 * bump(3, 0.2)
    assert [surge.after for surge in surges(STEPS, back)] == pytest.approx([0.6], abs=0.01)
    first, second = surges(STEPS, back + 0.4 * sigmoid(3.6, 0.05))
    assert (first.after, second.before, second.after) == pytest.approx((0.6, 0.6, 1.0), abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_loss_spikes_are_no_stages(seed: int) -> None:
    """Minibatch runs lose half of their accuracy now and then, for an exam or two."""
    random = np.random.default_rng(seed)
    accuracy = 0.01 + 0.98 * sigmoid(3, 0.15)
    for at in range(10, len(X) - 10, 12):
        accuracy[at : at + random.integers(1, 3)] *= 0.5
    assert len(surges(STEPS, exams(accuracy, seed))) == 1


def counted(accuracy: Array) -> list[int]:
    """The number of surges in what exams of 2000 answers show, curve by curve."""
    return [len(surges(STEPS, exams(accuracy, seed))) for seed in range(CURVES)]


@pytest.mark.parametrize("name", NOT_MULTI_STAGE)
def test_false_alarms(name: str) -> None:
    """At most 1 noisy curve in 100 has other surges than the clean one, and at most 1 in 200 seems multi-stage."""
    clean, noisy = len(surges(STEPS, NOT_MULTI_STAGE[name])), counted(NOT_MULTI_STAGE[name])
    assert clean == (0 if name in ("chance", "half", "dip", "learned before the first exam") else 1)
    assert np.mean([count != clean for count in noisy]) <= 0.01
    assert np.mean([count > 1 for count in noisy]) <= 0.005


@pytest.mark.parametrize("name", MULTI_STAGE)
def test_detection(name: str) -> None:
    """At least 99 in 100 noisy curves with stages have them counted right."""
    stages = 3 if name == "three" else 2
    assert multi_stage(STEPS, MULTI_STAGE[name])
    assert np.mean([count == stages for count in counted(MULTI_STAGE[name])]) >= 0.99


def test_few_answers_need_a_greater_rise() -> None:
    """With 200 held-out answers noise alone rises by five points, and by fifteen it doesn't."""
    noisy = [exams(np.full_like(X, 0.5), seed, answers=200) for seed in range(100)]
    assert sum(bool(surges(STEPS, curve)) for curve in noisy) > 10
    assert not any(surges(STEPS, curve, rise=0.15) for curve in noisy)


def test_one_exam_has_no_stage() -> None:
    """Nor has one that ends before anything is learned."""
    assert surges([10], [0.5]) == []
    assert surges([10, 20, 30], [0.01, 0.02, 0.01]) == []


TRAIN = sigmoid(2, 0.05)
MEMORIZED = STEPS[np.argmax(TRAIN >= 0.99)]


@pytest.mark.parametrize("middle", [2.8, 3.3, 3.8])
def test_delay_is_the_ratio_of_steps(middle: float) -> None:
    """Train accuracy is at 99 % 0.05 ln 99 decades after its middle; a sigmoid is halfway at its middle."""
    found = delayed_generalization(STEPS, TRAIN, 0.01 + 0.98 * sigmoid(middle, 0.08))
    assert found is not None
    assert np.log10(found.memorized) == pytest.approx(2 + 0.05 * np.log(99), abs=0.02)
    assert found.memorized == MEMORIZED
    assert np.log10(found.ratio) == pytest.approx(middle - np.log10(MEMORIZED), abs=2 * GRID)
    assert (found.before, found.after) == pytest.approx((0.01, 0.99), abs=0.01)


def test_delay_after_a_first_stage() -> None:
    """Half learned with the training set, the rest long after: the gain counts from memorization."""
    found = delayed_generalization(STEPS, TRAIN, 0.6 * TRAIN + 0.35 * sigmoid(3.6, 0.05))
    assert found is not None
    assert np.log10(found.generalized) == pytest.approx(3.6, abs=0.02)
    assert (found.before, found.after) == pytest.approx((0.6, 0.95), abs=0.01)


def test_a_slow_surge_that_began_before_memorization() -> None:
    """A seventh of the rise is there when the training data is memorized, as in deep networks: still late, noise or not."""
    middle = np.log10(MEMORIZED) + 0.8
    held_out = 0.1 + 0.8 * sigmoid(middle, 0.45)
    found = delayed_generalization(STEPS, TRAIN, held_out)
    assert found is not None
    assert found.before > 0.2
    assert found.ratio > 4
    assert all(delayed_generalization(STEPS, TRAIN, exams(held_out, seed)) for seed in range(50))


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        pytest.param(TRAIN, 0.97 * TRAIN, id="learned together"),
        pytest.param(TRAIN, 0.8 * TRAIN + 0.05 * (X - 1), id="tapering off"),
        pytest.param(TRAIN, np.full_like(X, 0.01), id="never"),
        pytest.param(0.98 * TRAIN, sigmoid(3.5, 0.05), id="not memorized"),
        pytest.param(TRAIN, sigmoid(np.log10(MEMORIZED) + 0.2, 0.01), id="too soon"),
        pytest.param(sigmoid(3.5, 0.05), sigmoid(2, 0.05), id="before memorization"),
        pytest.param(TRAIN, 0.9 + 0.04 * sigmoid(3.5, 0.05), id="too little"),
    ],
)
def test_no_delay(train: Array, held_out: Array) -> None:
    """None, and with noise none in a hundred."""
    assert delayed_generalization(STEPS, train, held_out) is None
    assert not any(delayed_generalization(STEPS, train, exams(held_out, seed)) for seed in range(100))


RANK_DESCENT = 400 - 250 * sigmoid(1.8, 0.06) + 150 * sigmoid(2.6, 0.06) - 200 * sigmoid(3.5, 0.06)
NO_RANK_DESCENT = {
    "falls once": 400 - 300 * sigmoid(2.5, 0.2),
    "falls in two steps": 400 - 150 * sigmoid(2, 0.1) - 150 * sigmoid(3.5, 0.1),
    "falls and rises": 400 - 300 * bump(3, 0.3),
    "rises and falls": 100 + 300 * bump(3, 0.3),
    "stays": np.full_like(X, 250.0),
    "rises back by too little": 400 - 300 * sigmoid(2.5, 0.2) + 15 * bump(3.5, 0.1),
    "dead": np.zeros_like(X),
}


def test_rank_double_descent_has_two_falls() -> None:
    """Levels and steps of each."""
    assert rank_double_descent(STEPS, RANK_DESCENT)
    first, second = rank_falls(STEPS, RANK_DESCENT)
    assert (first.before, first.after, second.before, second.after) == pytest.approx((400, 150, 300, 100), abs=2)
    assert np.log10([first.start, first.stop]) == pytest.approx(1.8 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.04)
    assert np.log10([second.start, second.stop]) == pytest.approx(3.5 + 0.06 * np.log(9) * np.array([-1, 1]), abs=0.04)


@pytest.mark.parametrize("name", NO_RANK_DESCENT)
def test_no_rank_double_descent(name: str) -> None:
    """And with noise at most one curve in a hundred has one."""
    rank = NO_RANK_DESCENT[name]
    assert not rank_double_descent(STEPS, rank)
    assert np.mean([rank_double_descent(STEPS, noisy_rank(rank, seed)) for seed in range(CURVES)]) <= 0.01


def noisy_rank(rank: Array, seed: int) -> Array:
    """Noise of 2 % of the rank, which halves now and then for an exam or two."""
    random = np.random.default_rng(seed)
    noisy = rank * (1 + 0.02 * random.normal(size=rank.shape))
    for at in range(8, len(X) - 8, 15):
        noisy[at : at + random.integers(1, 3)] *= 0.5
    return np.asarray(noisy)


def test_rank_double_descent_is_seen_through_noise() -> None:
    """In 99 of 100 curves."""
    assert np.mean([rank_double_descent(STEPS, noisy_rank(RANK_DESCENT, seed)) for seed in range(CURVES)]) >= 0.99


@settings(max_examples=50, deadline=None)
@given(levels=st.lists(st.integers(0, 400), min_size=1, max_size=8), scale=st.floats(0.01, 100))
def test_falls_alternate_with_rises_and_do_not_depend_on_the_unit(levels: list[int], scale: float) -> None:
    """Every fall is a turn's worth or deeper, the next starts as much higher, in any unit of rank."""
    rank = np.interp(X, np.linspace(X[0], X[-1], len(levels)), levels)
    falls = rank_falls(STEPS, rank)
    least = TURN_OF_MAXIMUM * max(levels) * 0.9  # the filter may shave the maximum
    assert all(-fall.change >= least for fall in falls)
    assert all(after.before - before.after >= least for before, after in pairwise(falls))
    assert len(rank_falls(STEPS, scale * rank)) == len(falls)


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        ([], [], "one length, at least 1"),
        ([10, 20], [0.1], "one length"),
        ([10, 20], [0.1, np.nan], "finite"),
        ([10, np.inf], [0.1, 0.2], "finite"),
        ([20, 10], [0.1, 0.2], "rising"),
        ([10, 10], [0.1, 0.2], "rising"),
        ([0, 10], [0.1, 0.2], "positive"),
    ],
)
def test_what_is_no_curve_is_refused(steps: list[float], values: list[float], message: str) -> None:
    """By every function, with what was expected."""
    for refuse in (
        lambda: surges(steps, values),
        lambda: multi_stage(steps, values),
        lambda: rank_falls(steps, values),
        lambda: rank_double_descent(steps, values),
        lambda: delayed_generalization(steps, values, [0.5] * len(steps)),
        lambda: delayed_generalization(steps, [0.5] * len(steps), values),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


def test_what_is_no_accuracy_or_rank_is_refused() -> None:
    """Percentages, a rise of nothing, a negative rank."""
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1 to 98"):
        surges([10, 20, 30], [1, 50, 98])
    with pytest.raises(ValueError, match=r"lies in \(0, 1\), got 0"):
        surges([10, 20], [0.1, 0.2], rise=0)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        rank_falls([10, 20], [-1, -1])
