"""Standings: scores, intervals and texts of the accepted entries."""

from math import prod
from pathlib import Path
from statistics import mean

import pytest

from grokbench.board.entries.checks import check_entries, check_entry
from grokbench.board.publishing.standings import Standing, standings, summary
from grokbench.results import scoring
from grokbench.runs.records import RunRecord
from tests.support.entries import good_runs, write_good_entry


def standing_of(folder: Path, runs: list[RunRecord] | None = None) -> Standing:
    """The standing of a written entry."""
    (standing,) = standings([check_entry(write_good_entry(folder, runs))])
    return standing


def with_parameters(runs: list[RunRecord], *parameters: int | None) -> list[RunRecord]:
    """The first runs with these numbers of parameters, all others with the last of them."""
    numbers = [*parameters, *[parameters[-1]] * len(runs)]
    pairs = zip(runs, numbers, strict=False)
    return [run.model_copy(update={"cost": run.cost.model_copy(update={"parameters": number})}) for run, number in pairs]


def test_the_score_is_the_ratio_of_mean_times(tmp_path: Path) -> None:
    """Computed here from the runs and the pinned reference: the geometric mean over the three tasks."""
    standing = standing_of(tmp_path / "good")
    ratios = []
    for task in ("sub_mod37-0.6-v1", "add_mod47-0.35-v1", "div_mod43-0.55-v1"):
        reference = mean(steps or 5_000 for steps in scoring.reference().tasks[task].values())
        own = mean(run.outcome.steps_to_generalize or 5_000 for run in good_runs() if run.task == task)
        ratios.append(reference / own)
    assert standing.score == pytest.approx(prod(ratios) ** (1 / 3))
    low, high = standing.interval
    assert low < standing.score < high


def test_the_control_is_never_scored(tmp_path: Path) -> None:
    """30 of 32 runs are."""
    standing = standing_of(tmp_path / "good")
    assert len(standing.runs) == 30
    assert not any(run.task.startswith("random") for run in standing.runs)
    assert standing.solved_text == "30/30"


def test_an_entry_that_never_generalizes_is_unsolved(tmp_path: Path) -> None:
    """It has a score, and neither a rank nor a final rank."""
    standing = standing_of(tmp_path / "slow", good_runs(around=1e9))
    assert standing.unsolved
    assert (standing.solved_text, standing.faster_text, standing.final_rank_text) == ("0/30", "0%", "")
    assert standing.score < 1


@pytest.mark.parametrize(
    ("parameters", "text"), [([1_000], "1,000"), ([None], ""), ([1_000, 2_000, None], "1,000–2,000"), ([None, 5], "5")]
)
def test_parameters_are_a_number_or_a_range(tmp_path: Path, parameters: list[int | None], text: str) -> None:
    """Runs that don't state them are left out."""
    assert standing_of(tmp_path / "good", with_parameters(good_runs(), *parameters)).parameters_text == text


def test_refused_entries_have_no_standing(leaderboard: Path) -> None:
    """The others keep their order."""
    (leaderboard / "entries" / "same" / "runs.jsonl").write_bytes(b"")
    assert [standing.entry.name for standing in standings(check_entries(leaderboard=leaderboard))] == ["fast", "slow"]


def test_the_summary_is_one_line(leaderboard: Path) -> None:
    """With the score, or with the refusal."""
    good = summary(check_entry(leaderboard / "entries" / "slow"))
    assert good.startswith("accepted, 32 sound runs, score ×")
    assert good.endswith("30 of 30 runs generalize")
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    assert summary(check_entry(leaderboard / "entries" / "slow")) == "refused, 0 sound runs"


@pytest.mark.parametrize(("censored", "unsolved"), [(15, False), (16, True)])
def test_half_of_the_runs_are_enough_for_a_rank(tmp_path: Path, censored: int, unsolved: bool) -> None:
    """Fifteen of the thirty scored runs. Only their ranks count."""
    slow = {(run.task, run.seed): run for run in good_runs(around=1e9)}
    runs = [slow[run.task, run.seed] if i < censored else run for i, run in enumerate(good_runs())]
    standing = standing_of(tmp_path / "half", runs)
    assert standing.unsolved is unsolved
    assert standing.final_rank_text.endswith(f"({30 - censored})")


def test_the_probability_is_that_of_being_faster(tmp_path: Path) -> None:
    """Near one for an entry that is faster in every run, and near zero for one that is slower in every run."""
    fast, slow = (standing_of(tmp_path / f"around-{around}", good_runs(around=around)) for around in (100, 9_000))
    assert (fast.faster_text, slow.faster_text) == ("100%", "0%")
