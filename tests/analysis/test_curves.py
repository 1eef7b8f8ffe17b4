"""What is measured on a run, on curves with known answers."""

import numpy as np
import pytest

from grokbench.analysis.curves import Curves
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.studies.settings import Deep
from tests.support.curves import AT_ONCE, LATE, NEVER, STILL_RISING, TWO_STAGES, Shape, make_curves

SETTING = Deep("mnist5k-n1000", depth=3, alpha=8.0, decay=0.05)
BUDGET = SETTING.steps
GRID = list(PROTOCOL.grid(BUDGET))


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


def test_the_fit_is_of_both_accuracies(late: Curves) -> None:
    """The preferred pattern is half-learned when held-out accuracy is about halfway."""
    assert late.halfway_step is not None
    assert np.exp(late.fit.model.patterns[-1].onset) == pytest.approx(late.halfway_step, rel=0.3)
    assert late.fit.rmse < 0.05
