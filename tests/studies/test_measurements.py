"""Measurements on deep MLPs: their numbers on known curves, and when these numbers agree with the statement."""

from dataclasses import replace

import pytest

from grokbench.analysis.curves import Curves, RankChange
from grokbench.analysis.stages import Stretch
from grokbench.studies.measurements import (
    AllLateAndLaterWithDepth,
    FailedRuns,
    FirstStages,
    LateRuns,
    LateRunsByDepth,
    RankDoubleDescent,
    RankFalls,
    RankStays,
    RunsAtOnce,
    SettledRank,
    StepsByDepth,
    TunnelLengths,
    TunnelsByDepth,
    TwoStages,
)
from grokbench.studies.settings import Deep
from grokbench.studies.statements import Share
from tests.support.curves import AT_ONCE, LATE, NEVER, STILL_RISING, TWO_STAGES, Shape, make_curves

SHALLOW, DEEP = (Deep("mnist5k-n1000", depth, 8.0, 0.2) for depth in (3, 6))


def runs_of(setting: Deep, *shapes: Shape) -> dict[Deep, list[Curves]]:
    """Runs of a setting, one for each shape."""
    return {setting: [make_curves(setting, shape, seed=seed) for seed, shape in enumerate(shapes)]}


def test_late_runs() -> None:
    """A run that generalizes at once isn't late, nor is a run that never generalizes."""
    measurement = LateRuns.measure(runs_of(SHALLOW, LATE, AT_ONCE, NEVER))
    (ratio,) = measurement.ratios
    assert measurement.share == Share(1, 3)
    assert str(measurement) == f"1 of 3 runs late; {ratio:.1f} ({ratio:.1f}–{ratio:.1f}) times the steps to memorize"
    assert str(LateRuns(Share(0, 3), [])) == "0 of 3 runs late"
    assert [LateRuns(Share(count, 4), []).holds for count in (2, 3)] == [False, True]


def test_runs_at_once() -> None:
    """A run that never generalizes isn't late, but it doesn't generalize without delay either."""
    measurement = RunsAtOnce.measure(runs_of(SHALLOW, AT_ONCE, AT_ONCE, NEVER))
    assert measurement.holds
    assert str(measurement) == "2 of 3 runs generalize without delay; held out 63.3 (10.0–90.0) % at the end"


def test_failed_runs() -> None:
    """A single run that generalizes is enough against the statement, and half of the answers is generalizing."""
    assert FailedRuns([0.1, 0.499]).holds
    assert not FailedRuns([0.1, 0.5]).holds
    assert FailedRuns.measure(runs_of(SHALLOW, NEVER, NEVER)).holds
    assert not FailedRuns.measure(runs_of(SHALLOW, NEVER, AT_ONCE)).holds


def test_late_runs_by_depth() -> None:
    """The share of late runs must grow."""
    more = LateRunsByDepth.measure(runs_of(SHALLOW, LATE, AT_ONCE) | runs_of(DEEP, LATE, LATE))
    assert more.holds
    assert str(more) == "depth 3: 1 of 2 runs late; depth 6: 2 of 2 runs late"
    assert not LateRunsByDepth({3: [True], 6: [True]}).holds
    assert LateRunsByDepth({3: [True, True, False], 6: [True, True]}).holds


@pytest.mark.parametrize(
    ("steps", "later"),
    [
        pytest.param({3: [10.0, 20.0, 900.0], 6: [30.0, 40.0, 50.0]}, True, id="by the median"),
        pytest.param({3: [10.0], 6: [None]}, True, id="never is later"),
        pytest.param({3: [10.0], 6: [10.0]}, False, id="equal"),
        pytest.param({4: [10.0], 8: [30.0], 12: [20.0]}, False, id="not monotone"),
    ],
)
def test_steps_by_depth(steps: dict[int, list[float | None]], later: bool) -> None:
    """Medians over runs must never fall with depth, and rise at least once."""
    assert StepsByDepth("an event", steps).holds == later


def test_steps_by_depth_are_read_from_runs() -> None:
    """Halfway steps, or steps to memorize; the settings of a depth count together."""
    runs = runs_of(SHALLOW, AT_ONCE, NEVER) | runs_of(DEEP, LATE)
    (late,) = runs[DEEP]
    assert StepsByDepth.to_generalize(runs).steps[6] == [late.halfway_step]
    memorized = StepsByDepth.to_memorize(runs)
    assert memorized.steps[3] == [late.steps_to_memorize] * 2
    assert str(memorized).startswith("step with the training data memorized: ")


def test_all_late_and_later_with_depth() -> None:
    """The statement needs late runs alone, and steps that grow with depth."""
    later, equal = (StepsByDepth("an event", {3: [10.0], 6: [deep]}) for deep in (20.0, 10.0))
    assert AllLateAndLaterWithDepth(Share(2, 2), later).holds
    assert not AllLateAndLaterWithDepth(Share(2, 3), later).holds
    assert not AllLateAndLaterWithDepth(Share(2, 2), equal).holds


def test_rank_falls_of_settled_runs() -> None:
    """A run whose held-out accuracy still rises doesn't count."""
    falls = RankFalls.effective(runs_of(SHALLOW, LATE, STILL_RISING) | runs_of(DEEP, AT_ONCE))
    assert falls.share == Share(1, 2)
    assert not falls.holds
    shallow, deep = falls.settings
    assert str(shallow).startswith("depth 3, γ = 0.2: 1 of 1, last layer ")
    assert str(deep) == "depth 6, γ = 0.2: 0 of 1, last layer 50 → 50"
    assert str(RankFalls.numerical(runs_of(SHALLOW, STILL_RISING)).settings[0]) == "depth 3, γ = 0.2: still rising"


FALLS = [90, 90, 80, 80, 70, 60, 40, 30, 30]
FALLS_TWICE = TWO_STAGES.rank


def test_each_rank_is_read_from_its_own_measure() -> None:
    """A run whose numerical rank stays shows a fall of the effective rank alone, and the other way round."""
    effective_alone = runs_of(SHALLOW, replace(LATE, rank=FALLS, numerical=[50] * 9))
    numerical_alone = runs_of(SHALLOW, replace(LATE, rank=[50] * 9, numerical=FALLS))
    for runs, effective, numerical in ((effective_alone, 1, 0), (numerical_alone, 0, 1)):
        assert RankFalls.effective(runs).share == Share(effective, 1)
        assert RankFalls.numerical(runs).share == Share(numerical, 1)


def test_the_lag_is_that_of_the_measured_rank() -> None:
    """Half of the numerical rank's fall comes at the end here, long after that of the effective rank."""
    runs = runs_of(SHALLOW, replace(LATE, rank=FALLS, numerical=[90] * 8 + [30]))
    (early,) = RankFalls.effective(runs).settings[0].lags
    (late,) = RankFalls.numerical(runs).settings[0].lags
    assert early is not None
    assert late is not None
    assert early < 1.5 < late
    assert "last layer 90 → 30, half of it at ×" in str(RankFalls.numerical(runs))


def test_rank_falls_hold_for_most_settled_runs() -> None:
    """Over all settings together."""
    fallen = SettledRank("a", [RankChange(100, 10)] * 3, lags=[1.0] * 3)
    stayed = SettledRank("b", [RankChange(100, 100)], lags=[])
    assert RankFalls([fallen, stayed]).holds
    assert not RankFalls([stayed]).holds


@pytest.mark.parametrize(("end", "stays"), [(90.0, True), (89.0, False), (120.0, True)])
def test_a_rank_stays_above_nine_tenths(end: float, stays: bool) -> None:
    """From memorization to the end."""
    assert RankStays({SHALLOW: [RankChange(100.0, end)]}).holds == stays


def test_rank_stays_by_setting() -> None:
    """Means over the runs of each setting."""
    measurement = RankStays.measure(runs_of(SHALLOW, AT_ONCE) | runs_of(DEEP, AT_ONCE))
    settings = "depth 3, γ = 0.2: 50 → 50; depth 6, γ = 0.2: 50 → 50"
    assert str(measurement) == f"stays in 2 of 2 runs (effective rank of the last layer, {settings})"


def test_a_rank_is_followed_from_memorization() -> None:
    """A run without a surge has a rank at memorization; a rank that fell before doesn't count."""
    fallen_early = replace(NEVER, rank=[90, 30, 30, 30, 30, 30, 30, 30, 30])
    assert RankStays.measure(runs_of(SHALLOW, NEVER, fallen_early)).share == Share(1, 2)


def test_two_stages() -> None:
    """Most runs must have them."""
    assert TwoStages.measure(runs_of(DEEP, TWO_STAGES, TWO_STAGES, LATE)).holds
    assert str(TwoStages.measure(runs_of(DEEP, TWO_STAGES, LATE))) == "1 of 2 runs"


def stretch(start: float, after: float) -> Stretch:
    """A first surge that starts at a step and reaches an accuracy."""
    return Stretch(start=start, stop=2 * start, before=0.1, after=after)


@pytest.mark.parametrize(
    ("deep", "holds"),
    [
        pytest.param([stretch(200, after=0.4)], True, id="later and lower"),
        pytest.param([stretch(50, after=0.4)], False, id="sooner"),
        pytest.param([stretch(200, after=0.6)], False, id="higher"),
        pytest.param([], False, id="no two surges"),
    ],
)
def test_first_stages(deep: list[Stretch], holds: bool) -> None:
    """The deeper network's first surge is later and reaches less."""
    measurement = FirstStages({8: [stretch(100, after=0.5)], 12: deep})
    assert measurement.holds == holds
    assert ("(not every depth has two surges)" in str(measurement)) == (not deep)


def test_a_single_odd_run_does_not_decide_about_first_stages() -> None:
    """Medians over runs count: of steps, and of the accuracies that the surges reach."""
    shallow = [stretch(100, after=0.5)] * 3
    odd = [stretch(1, after=0.9), stretch(200, after=0.4), stretch(300, after=0.4)]
    assert FirstStages({8: shallow, 12: odd}).holds
    assert not FirstStages({8: odd, 12: shallow}).holds


def test_first_stages_are_of_runs_with_two() -> None:
    """A run with a single surge has no first stage."""
    runs = runs_of(DEEP, TWO_STAGES, LATE)
    assert FirstStages.measure(runs).surges == {6: [runs[DEEP][0].surges[0]]}


def test_rank_double_descent() -> None:
    """The numerical rank decides; the made-up runs have the same ranks in both measures."""
    measurement = RankDoubleDescent.measure(runs_of(DEEP, TWO_STAGES, LATE))
    assert str(measurement) == "numerical rank of the last layer: 1 of 2 runs; effective rank: 1 of 2"
    assert RankDoubleDescent(numerical=Share(2, 2), effective=Share(0, 2)).holds
    assert not RankDoubleDescent(numerical=Share(0, 2), effective=Share(2, 2)).holds
    numerical_alone = replace(TWO_STAGES, rank=[50] * 9, numerical=FALLS_TWICE)
    apart = RankDoubleDescent.measure(runs_of(DEEP, numerical_alone))
    assert (apart.numerical.count, apart.effective.count) == (1, 0)


def test_tunnels_by_depth() -> None:
    """The median must grow: a single long tunnel among three runs doesn't count."""
    assert TunnelsByDepth.measure(runs_of(SHALLOW, LATE) | runs_of(DEEP, AT_ONCE)).lengths == {3: [2], 6: [2]}
    assert TunnelsByDepth({3: [0, 0, 0], 6: [1, 1, 0]}).holds
    assert not TunnelsByDepth({3: [0, 0, 0], 6: [5, 0, 0]}).holds


def test_settings_of_a_depth_count_together() -> None:
    """Two weight decays at depth 3, with a run each; the tunnels and the late runs of both are kept."""
    runs = runs_of(SHALLOW, LATE) | runs_of(replace(SHALLOW, decay=0.1), NEVER) | runs_of(DEEP, LATE)
    assert LateRunsByDepth.measure(runs).late == {3: [True, False], 6: [True]}
    assert TunnelsByDepth.measure(runs).lengths == {3: [2, 2], 6: [2]}
    assert TunnelsByDepth({3: [0, 1], 6: [2]}).holds


@pytest.mark.parametrize(
    ("lengths", "holds"), [([[1, 1], [3, 3]], True), ([[1, 1], [2, 5]], False), ([[0, 1, 1], [3]], True), ([[1]], False)]
)
def test_tunnel_lengths_are_the_published_ones(lengths: list[list[int]], holds: bool) -> None:
    """Their rounded means over runs are compared, setting by setting."""
    assert TunnelLengths(published=(1, 3), lengths=lengths).holds == holds


def test_tunnel_lengths_are_read_from_runs() -> None:
    """A layer is in the tunnel if its rank is low for its setting's width."""
    measurement = TunnelLengths.compared_to(2, 0)(
        runs_of(SHALLOW, LATE) | runs_of(Deep("mnist5k-n60", 6, 8.0, 0.2, width=30), LATE)
    )
    assert measurement.lengths == [[2], [0]]
    assert measurement.holds
