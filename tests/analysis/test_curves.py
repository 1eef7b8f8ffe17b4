"""Measurements of a run, on curves with known answers."""

from collections.abc import Callable

import numpy as np
import pytest

import grokbench
from grokbench.analysis.curves import EFFECTIVE_RANK, GENERALIZED, NUMERICAL_RANK, Curves
from grokbench.errors import CurveError
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.studies.settings import Deep
from tests.support.curves import AT_ONCE, LATE, NEVER, STILL_RISING, TWO_STAGES, Shape, make_curves

SETTING = Deep("mnist5k-n1000", depth=3, alpha=8.0, decay=0.05)
BUDGET = SETTING.steps
GRID = list(PROTOCOL.grid(BUDGET).steps)


def first_exam(step: float) -> int:
    """The first exam at or after a step."""
    return next(exam for exam in GRID if exam >= step)


@pytest.fixture(scope="module")
def late() -> Curves:
    """A run that memorizes early and generalizes late, while its rank falls."""
    return make_curves(SETTING, LATE)


def test_accuracies_are_shares_of_the_questions(late: Curves) -> None:
    """1,000 training images and 4,000 held-out ones, at every exam."""
    assert late.steps.tolist() == GRID
    assert (late.train[0], late.held_out[0]) == pytest.approx((0.1, 0.1))
    assert (late.final_train, late.final_held_out) == pytest.approx((1.0, 0.9))
    assert late.rank().shape == (len(GRID), 2)


def test_steps_to_memorize_and_to_accuracies(late: Curves) -> None:
    """The first exams after train accuracy is 99 %, and after held-out accuracy passes a level."""
    assert late.steps_to_memorize == first_exam(LATE.knot(1, budget=BUDGET))
    assert late.halfway_step == first_exam(LATE.knot(5.5, budget=BUDGET))  # 0.5 is halfway from 0.1 to 0.9
    assert late.first_step_at(0.5) == late.halfway_step
    assert late.first_step_at(0.95) is None


@pytest.mark.parametrize(
    ("shape", "at_once", "delayed", "surges", "settled"),
    [
        pytest.param(LATE, False, True, 1, True, id="late"),
        pytest.param(AT_ONCE, True, False, 1, True, id="at once"),
        pytest.param(TWO_STAGES, False, True, 2, True, id="two stages"),
        pytest.param(STILL_RISING, False, True, 1, False, id="still rising"),
        pytest.param(NEVER, False, False, 0, False, id="never"),
    ],
)
def test_how_a_run_generalizes(shape: Shape, at_once: bool, delayed: bool, surges: int, settled: bool) -> None:
    """Late or at once, in how many surges, and whether it is done."""
    run = make_curves(SETTING, shape)
    assert run.generalizes_at_once == at_once
    assert (run.delay is not None) == delayed
    assert len(run.surges) == surges
    assert run.settled == settled


def test_a_run_that_never_memorizes_has_no_halfway_step() -> None:
    """Its rank counts from the first exam."""
    run = make_curves(SETTING, Shape([0.1, 0.5], [0.1, 0.5], [90, 30]))
    assert run.steps_to_memorize is None
    assert run.halfway_step is None
    assert run.rank_lag() is None
    assert (run.rank_change_since_memorizing().start, run.rank_change_since_memorizing().end) == pytest.approx((90, 30))


def test_rank_changes(late: Curves) -> None:
    """From 90 at memorization, from between 60 and 75 at the surge, to 30."""
    since_memorizing, since_surge = late.rank_change_since_memorizing(), late.rank_change_since_surge()
    assert since_memorizing.start == pytest.approx(90, abs=2)
    assert 60 < since_surge.start < 75
    assert since_memorizing.end == since_surge.end == 30


def test_rank_lag_compares_half_of_the_fall_with_the_halfway_step(late: Curves) -> None:
    """The rank passes the middle of its fall between points 5 and 6, a little later than held-out accuracy."""
    change = late.rank_change_since_surge()
    position = 5 + (60 - (change.start + change.end) / 2) / (60 - 40)  # the rank falls from 60 to 40 between these points
    assert late.halfway_step is not None
    assert late.rank_lag() == first_exam(LATE.knot(position, budget=BUDGET)) / late.halfway_step


def test_a_rank_that_stays_has_no_lag() -> None:
    """There is no fall to be late."""
    assert make_curves(SETTING, AT_ONCE).rank_lag() is None


def test_falls_of_the_rank_are_counted(late: Curves) -> None:
    """Rises separate them."""
    assert late.num_rank_falls() == 1
    assert make_curves(SETTING, TWO_STAGES).num_rank_falls() == 2


@pytest.mark.parametrize(("width", "length"), [(41, 2), (40, 0), (30, 0)])
def test_tunnel_layers_have_a_rank_below_three_quarters_of_the_width(late: Curves, width: int, length: int) -> None:
    """Both layers end at rank 30, which is three quarters of 40."""
    assert late.tunnel(width) == length


Rank = Callable[[float], float]  # the rank of a layer at a step


def with_ranks(run: Curves, **ranks: list[Rank]) -> Curves:
    """The same run with other ranks: for every measure, the rank of every layer as a function of the step."""
    exams = [
        exam.model_copy(
            update={"ranks": {name: [layer(exam.step) for layer in layers] for name, layers in ranks.items()}},
        )
        for exam in run.record.exams
    ]
    return Curves(run.record.model_copy(update={"exams": exams}))


def falling(before: float, after: float, *, at: float) -> Rank:
    """A rank that falls around a step."""
    return lambda step: after + (before - after) / (1 + (step / at) ** 8)


def ending_at(rank: float) -> Rank:
    """A rank of 50 that is another at the last exam alone."""
    return lambda step: rank if step == BUDGET else 50.0


@pytest.fixture(scope="module")
def layered(late: Curves) -> Curves:
    """The late run with three layers. They differ from each other, and the second measure differs from the first."""
    return with_ranks(
        late,
        effective_rank=[lambda _: 50.0, falling(80, 40, at=200), falling(60, 20, at=5_000)],
        deep_grokking_rank_code=[falling(90, 10, at=5_000), lambda _: 70.0, lambda _: 30.0],
    )


def test_every_measure_has_a_column_for_each_layer(layered: Curves) -> None:
    """Exams are rows. The effective rank is read unless another measure is named."""
    rank = layered.rank()
    assert rank.shape == (len(GRID), 3)
    np.testing.assert_array_equal(rank[:, 1], [falling(80, 40, at=200)(step) for step in GRID])
    np.testing.assert_array_equal(rank, layered.rank(EFFECTIVE_RANK))
    assert (layered.rank(NUMERICAL_RANK)[:, 1:] == [70, 30]).all()


def test_measurements_are_of_the_named_layer_and_measure(layered: Curves) -> None:
    """By default they are of the last layer's effective rank. The first layer's effective rank stays at 50."""
    assert layered.num_rank_falls() == layered.num_rank_falls(layer=1) == 1
    assert layered.num_rank_falls(layer=0) == layered.num_rank_falls(NUMERICAL_RANK) == 0
    assert layered.num_rank_falls(NUMERICAL_RANK, layer=0) == 1
    for change in (layered.rank_change_since_surge, layered.rank_change_since_memorizing):
        assert change().end == pytest.approx(20, abs=0.1)
        assert change(layer=0).start == change(layer=0).end == 50
        assert change(NUMERICAL_RANK).start == change(NUMERICAL_RANK).end == 30
        assert change(NUMERICAL_RANK, layer=0).end == pytest.approx(10, abs=0.1)
    assert layered.rank_lag(layer=0) is None
    assert layered.rank_lag(NUMERICAL_RANK) is None
    assert layered.rank_lag() == layered.rank_lag(NUMERICAL_RANK, layer=0) is not None


def test_memorizing_comes_before_the_surge(layered: Curves) -> None:
    """The second layer's rank falls at step 200, after memorization and before the surge."""
    assert layered.steps_to_memorize is not None
    assert layered.steps_to_memorize < 100
    assert layered.surges[0].start > 500
    assert layered.rank_change_since_memorizing(layer=1).start == pytest.approx(80, abs=1)
    assert layered.rank_change_since_surge(layer=1).start == pytest.approx(40, abs=1)


def test_a_rank_between_two_exams_is_read_in_log_steps(late: Curves) -> None:
    """A rank that is linear in ln(step) is read without any error where the surge starts."""
    line = with_ranks(late, effective_rank=[lambda step: 100 - 7 * np.log(step)])
    start = line.surges[0].start
    assert start not in GRID
    assert line.rank_change_since_surge().start == pytest.approx(100 - 7 * np.log(start), rel=1e-12)


@pytest.mark.parametrize(
    ("ranks", "length"),
    [([10, 90, 20, 30], 2), ([90, 90, 90, 10], 1), ([10, 10, 10, 90], 0), ([1, 2, 3, 4], 4), ([1, 75, 74, 1], 2)],
)
def test_a_tunnel_is_counted_from_the_last_layer(late: Curves, ranks: list[float], length: int) -> None:
    """Up to the first layer with three quarters of 100 or more. Only the final ranks of the numerical measure count."""
    layers = [ending_at(rank) for rank in ranks]
    run = with_ranks(late, deep_grokking_rank_code=layers, effective_rank=[lambda _: 1.0, lambda _: 99.0])
    assert run.tunnel(100) == length
    assert run.tunnel(100, measure=EFFECTIVE_RANK) == 0


def test_an_accuracy_counts_from_the_exam_that_shows_it(late: Curves) -> None:
    """The exam with exactly this accuracy is the first that has reached it."""
    exam = int(np.argmax(late.held_out > 0.3))
    assert late.first_step_at(float(late.held_out[exam])) == GRID[exam]
    assert late.first_step_at(float(late.held_out[exam]) + 1e-9) == GRID[exam + 1]
    assert late.first_step_at(0) == GRID[0]


def test_a_fall_at_the_end_doesnt_move_the_halfway_step() -> None:
    """It is halfway to the best held-out accuracy, 0.9, although the run ends at 0.3."""
    run = make_curves(SETTING, Shape(LATE.train, [*LATE.held_out[:8], 0.3], LATE.rank))
    assert run.final_held_out == pytest.approx(0.3)
    assert run.halfway_step == first_exam(LATE.knot(5.5, budget=BUDGET))
    assert not run.generalizes_at_once


@pytest.mark.parametrize(("level", "expected"), [(GENERALIZED - 0.01, False), (GENERALIZED, True)])
def test_generalizing_at_once_takes_half_of_the_answers(level: float, expected: bool) -> None:
    """A run without delay that ends below that hasn't generalized."""
    run = make_curves(SETTING, Shape(AT_ONCE.train, [0.1, *[level] * 8], AT_ONCE.rank))
    assert run.delay is None
    assert run.generalizes_at_once == expected


def test_a_metric_that_was_never_reported_is_empty(late: Curves) -> None:
    """It has no steps."""
    assert len(late.metric("nothing").steps) == len(late.metric("nothing").values) == 0


def test_metrics_have_their_own_steps(late: Curves) -> None:
    """Every exam has weight norms, every tenth has probes."""
    norms, probes = late.metric("weight_norm"), late.metric("probe")
    assert norms.steps.tolist() == GRID
    assert norms.values.shape == (len(GRID), 3)
    assert probes.steps.tolist() == GRID[::10]
    assert (probes.values == [0.25, 0.75]).all()


def test_a_run_ends_before_it_diverges() -> None:
    """The exam without finite features is left out."""
    run = make_curves(SETTING, LATE, diverged_at=GRID[20])
    assert run.steps.tolist() == GRID[:20]
    assert len(run.rank()) == len(run.train) == len(run.held_out) == 20


def test_a_run_that_diverges_at_once_keeps_an_exam() -> None:
    """Its ranks are 0, so that every measurement has a value."""
    run = make_curves(SETTING, LATE, diverged_at=GRID[0])
    assert run.steps.tolist() == [GRID[0]]
    assert run.rank().tolist() == [[0, 0]]
    assert run.surges == []
    assert not run.settled


def test_sparse_exams_have_no_rank() -> None:
    """Zeros would say that the network is a tunnel."""
    run = grokbench.sweep("mlp", "add_mod5-0.5-to50", seeds=[0], exams="sparse")[0]
    with pytest.raises(CurveError, match="measured no ranks: make the run with full exams"):
        Curves(run.record).rank()


def test_the_fit_is_of_both_accuracies(late: Curves) -> None:
    """The preferred pattern is half-learned when held-out accuracy is about halfway."""
    assert late.halfway_step is not None
    assert np.exp(late.fit.model.patterns[-1].onset) == pytest.approx(late.halfway_step, rel=0.3)
    assert late.fit.rmse < 0.05
