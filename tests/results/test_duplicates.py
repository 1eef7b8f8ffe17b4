"""Runs that two folders have: the same ones count once, and different ones are an error."""

import json
import sys
from pathlib import Path

import pytest

from grokbench.board.entries.submit import runs_to_submit
from grokbench.cli import main
from grokbench.errors import ResultError
from grokbench.results.duplicates import without_duplicates
from grokbench.results.frames import load_runs
from grokbench.runs.records import RunRecord
from grokbench.runs.store import find_records
from tests.support.entries import good_runs


def write_runs(folder: Path, runs: list[RunRecord]) -> Path:
    """A folder with the records."""
    folder.mkdir()
    for number, run in enumerate(runs):
        (folder / f"{number}.json").write_text(json.dumps(run.model_dump(by_alias=True)), encoding="utf-8")
    return folder


def other_exams(run: RunRecord) -> RunRecord:
    """The same run with one right answer less at its first exam."""
    first, *others = run.exams
    changed = first.model_copy(update={"held_out": first.held_out - 1 if first.held_out else 1})
    return run.model_copy(update={"exams": [changed, *others]})


def test_the_same_record_counts_once() -> None:
    """So does a repetition with the same exams, and an incomplete record beside a complete one."""
    runs = good_runs()[:3]
    slower = runs[0].model_copy(update={"cost": runs[0].cost.model_copy(update={"seconds": 99.0})})
    stopped = other_exams(runs[1]).model_copy(update={"incomplete": "stopped"})
    assert without_duplicates([stopped, *runs, slower, stopped]) == [runs[1], runs[0], runs[2]]


def test_other_seeds_salts_and_recipes_are_other_runs() -> None:
    """Their exams differ, and nothing is wrong."""
    run = good_runs()[0]
    salted = other_exams(run).model_copy(update={"salt": "s"})
    changed = other_exams(run).model_copy(update={"agent": run.agent.model_copy(update={"hash": "0" * 64})})
    assert len(without_duplicates([run, salted, changed, good_runs()[1]])) == 4


def test_two_folders_with_different_exams_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `submit`, `score`, `plot` and `load_runs`, in both orders of the folders."""
    runs = good_runs()
    first = write_runs(tmp_path / "first", runs)
    second = write_runs(tmp_path / "second", [*runs[:4], other_exams(runs[4])])
    problem = f"{runs[4].task} seed {runs[4].seed} of transformer is there twice, with different exams"
    for folders in ([first, second], [second, first]):
        with pytest.raises(ResultError, match=problem):
            load_runs(*folders)
        for command in ("score", "plot"):
            monkeypatch.setattr(sys, "argv", ["grokbench", command, *map(str, folders)])
            with pytest.raises(SystemExit) as status:
                main()
            assert status.value.code == 2
            assert problem in capsys.readouterr().err
        with pytest.raises(ResultError, match=problem):
            runs_to_submit(find_records(folders)[0], suite="mini")
    assert len(runs_to_submit(load_runs(first, first).records, suite="mini")) == 32
