"""Runs as DataFrames: rows, columns and types, on real runs and on made-up ones."""

from pathlib import Path

import pandas as pd
import pytest

import grokbench
from grokbench.errors import RecordError
from grokbench.results.frames import RunResult, Runs
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import ExamRecord
from grokbench.runs.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes with two seeds each, paused after a hundred steps."""
    out = tmp_path_factory.mktemp("runs")
    recipes = [grokbench.recipe("mlp"), grokbench.recipe("mlp", training={"weight_decay": 3.0})]
    engine.run(plan(["add_mod11-0.6"], recipes, seeds=[0, 1]), Store(out), device="cpu", max_steps=100)
    return out


def test_a_row_for_every_run(folder: Path) -> None:
    """Names, outcome, cost and hyperparameters; steps are whole numbers, missing where the event hasn't come."""
    runs = grokbench.load_runs(folder)
    frame = runs.runs
    assert len(frame) == len(runs) == 4
    assert sorted(frame["training.weight_decay"].unique()) == [0.3, 3.0]
    assert frame["steps_to_generalize"].isna().all()
    assert str(frame["steps_to_generalize"].dtype) == "Int64"
    assert (frame["steps"] == 100).all()
    assert frame["incomplete"].str.startswith("stopped").all()
    by_decay = frame.groupby("training.weight_decay")["parameters"].nunique()
    assert by_decay.tolist() == [1, 1]


def test_a_row_for_every_exam(folder: Path) -> None:
    """Accuracies are shares of the task's questions, and agree with the record."""
    runs = grokbench.load_runs(str(folder))
    assert len(runs.exams) == 4 * 10
    first = runs[0]
    assert isinstance(first, RunResult)
    assert first.exams["step"].tolist() == list(range(10, 101, 10))
    expected = [exam.train / first.record.parsed_task().num_train for exam in first.record.exams]
    assert first.exams["train_accuracy"].tolist() == expected
    pd.testing.assert_series_equal(
        first.exams["effective_rank"],
        runs.exams[(runs.exams["agent"] == first.record.agent.name) & (runs.exams["seed"] == first.record.seed)][
            "effective_rank"
        ].reset_index(drop=True),
    )


def test_layers_are_numbered(folder: Path) -> None:
    """With several layers each has a column, and the plain name is the last one's."""
    record = grokbench.load_runs(folder)[0].record
    exam = ExamRecord(
        step=10, train=1, held_out=1, loss=None, ranks={"effective_rank": [3.0, 5.0]}, metrics={"norm": [1.0, 2.0], "x": [7.0]}
    )
    row = RunResult(record.model_copy(update={"exams": [exam]})).exams.iloc[0]
    assert (row["effective_rank"], row["effective_rank.1"], row["effective_rank.2"]) == (5.0, 3.0, 5.0)
    assert (row["norm.1"], row["norm.2"], row["x"]) == (1.0, 2.0, 7.0)


def test_a_collection_of_runs(folder: Path) -> None:
    """It has a length, slices, a table and a figure, and a short text."""
    runs = grokbench.load_runs(folder)
    assert isinstance(runs[:2], Runs)
    assert len(runs[:2]) == 2
    assert [run.record.seed for run in runs] == [0, 1, 0, 1]
    assert "add_mod11-0.6-v1" in runs.table()
    assert len(runs.plot().axes) == 2
    assert repr(runs) == "Runs(4 runs of 1 tasks)"
    assert "stopped" in repr(runs[0])


def test_a_folder_that_is_missing_or_damaged(folder: Path, tmp_path: Path) -> None:
    """Both are named."""
    with pytest.raises(RecordError, match="there is no folder"):
        grokbench.load_runs(tmp_path / "none")
    (tmp_path / "seed-0.json").write_text('{"exams": ')
    with pytest.raises(RecordError, match=r"1 damaged records: .*seed-0\.json"):
        grokbench.load_runs(tmp_path)
