"""Runs as DataFrames: rows, columns and types, on real runs and on made-up ones."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import grokbench
from grokbench.agents.recipes import find_recipe
from grokbench.errors import RecordError, ResultError
from grokbench.evaluation.rows import COLUMNS
from grokbench.results.frames import NUMBERS, RUN_COLUMNS, RunResult, Runs
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import ExamRecord, RunRecord, to_json
from grokbench.runs.store import Store
from tests.support.entries import make_run

ADD, MUL = "add_mod47-0.7-v1", "mul_mod47-0.7-v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes with two seeds each, paused after a hundred steps."""
    out = tmp_path_factory.mktemp("runs")
    recipes = [grokbench.recipe("mlp"), grokbench.recipe("mlp", optimizer={"weight_decay": 3.0})]
    engine.run(plan(["add_mod11-0.6"], recipes, seeds=[0, 1]), Store(out), device="cpu", max_steps=100)
    return out


def test_a_row_for_every_run(folder: Path) -> None:
    """Names, outcome, cost and hyperparameters. Steps are whole numbers, missing where the event hasn't happened."""
    runs = grokbench.load_runs(folder)
    frame = runs.runs
    assert len(frame) == len(runs) == 4
    assert sorted(frame["optimizer.weight_decay"].unique()) == [0.3, 3.0]
    assert frame["steps_to_generalize"].isna().all()
    assert str(frame["steps_to_generalize"].dtype) == "Int64"
    assert (frame["steps"] == 100).all()
    assert frame["incomplete"].str.startswith("stopped").all()
    by_decay = frame.groupby("optimizer.weight_decay")["parameters"].nunique()
    assert by_decay.tolist() == [1, 1]


def test_a_row_for_every_exam(folder: Path) -> None:
    """Accuracies are shares of the task's questions, and agree with the record."""
    runs = grokbench.load_runs(str(folder))
    assert len(runs.exams) == 4 * 20
    first = runs[0]
    assert isinstance(first, RunResult)
    assert first.exams["step"].tolist() == list(range(5, 101, 5))
    assert first.exams["effective_rank"].notna().tolist() == [True, False] * 10
    expected = [exam.train / first.record.parsed_task().num_train for exam in first.record.exams]
    assert first.exams["train_accuracy"].tolist() == expected
    pd.testing.assert_series_equal(
        first.exams["effective_rank"],
        runs.exams[(runs.exams["agent"] == first.record.agent.name) & (runs.exams["seed"] == first.record.seed)][
            "effective_rank"
        ].reset_index(drop=True),
    )


def test_layers_are_numbered(folder: Path) -> None:
    """Each of several layers has a column, and the plain name is the last layer's."""
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
    """The error names the folder or the file."""
    with pytest.raises(RecordError, match="there is no folder"):
        grokbench.load_runs(tmp_path / "none")
    (tmp_path / "seed-0.json").write_text('{"exams": ')
    (tmp_path / "seed-1.json").write_text("")
    with pytest.raises(RecordError, match=r"2 damaged records: .*seed-0\.json"):
        grokbench.load_runs(tmp_path)


def made_up(task: str = ADD, seed: int = 0, *, t: float = 600, agent: str = "mlp", **changes: Any) -> RunRecord:
    """A record without training that generalizes at about step `t`."""
    return make_run(task, seed=seed, steps_to_generalize=t, recipe=find_recipe(agent)).model_copy(update=changes)


def last_exam(record: RunRecord, **changes: Any) -> pd.Series:
    """The row of the record's last exam, with changes in that exam."""
    exams = [*record.exams[:-1], record.exams[-1].model_copy(update=changes)]
    return RunResult(record.model_copy(update={"exams": exams})).exams.iloc[-1]


def test_every_value_of_a_record_is_in_its_row() -> None:
    """Outcome and cost under their own names, and the budget and the salt of the task."""
    record = made_up(salt="grain")
    row = Runs((record,)).runs.iloc[0]
    expected = record.outcome.model_dump() | record.cost.model_dump()
    expected |= {"task": ADD, "agent": "mlp", "seed": 0, "salt": "grain", "budget": record.parsed_task().budget}
    assert {name: row[name] for name in expected} == expected


def test_missing_steps_do_not_turn_the_others_into_floats() -> None:
    """Whole numbers stay whole beside a run that never generalized. Its own cells are missing."""
    frame = Runs((made_up(), made_up(seed=1, t=1e9))).runs
    for name in ("first_crossing", "steps_to_generalize"):
        assert str(frame[name].dtype) == "Int64"
        assert frame[name].isna().tolist() == [False, True]


def test_hyperparameters_of_several_agents_share_a_table() -> None:
    """Each has its own columns, empty for an agent that doesn't have them."""
    frame = Runs((made_up(), made_up(agent="transformer"))).runs.set_index("agent")
    for agent in ("mlp", "transformer"):
        for table, values in find_recipe(agent).plain_hyperparameters.items():
            for name, value in values.items():
                assert frame.loc[agent, f"{table}.{name}"] == (tuple(value) if isinstance(value, list) else value)
    assert frame["network.hidden"].nunique() == 1  # lists couldn't be compared
    assert frame["network.hidden"].isna().tolist() == [False, True]


def test_held_out_answers_are_shares_of_the_held_out_questions() -> None:
    """Not of the training questions, of which there are more."""
    record = made_up()
    task = record.parsed_task()
    assert task.num_train != task.num_held_out
    shares = [exam.held_out / task.num_held_out for exam in record.exams]
    assert RunResult(record).exams["held_out_accuracy"].tolist() == shares
    assert shares[-1] == 1.0


def test_exams_of_several_runs_name_their_run() -> None:
    """In the order of the runs."""
    records = (made_up(), made_up(MUL, 1, agent="transformer"))
    frame = Runs(records).exams
    names = frame[["run", "task", "agent", "seed", "salt"]].drop_duplicates().to_numpy().tolist()
    assert names == [[0, ADD, "mlp", 0, ""], [1, MUL, "transformer", 1, ""]]
    joined = frame.join(Runs(records).runs[["operation"]], on="run")
    assert joined.groupby("operation").size().to_dict() == {"add": len(records[0].exams), "mul": len(records[1].exams)}
    assert len(frame) == sum(len(record.exams) for record in records)


def test_a_metric_never_replaces_a_column() -> None:
    """An agent may call its own number `train_accuracy`, or like a rank or a key of the run."""
    record = made_up()
    plain = last_exam(record)
    names = ("step", "train_accuracy", "held_out_accuracy", "loss", "held_out_loss", "effective_rank", "seed")
    row = last_exam(record, metrics={name: [-1.0] for name in names} | {"task": [-1.0, -2.0]})
    pd.testing.assert_series_equal(row[plain.index], plain, check_names=False)
    assert (row["metric.train_accuracy"], row["metric.effective_rank"], row["metric.task.2"]) == (-1.0, -1.0, -2.0)


def test_a_hyperparameter_never_replaces_a_column() -> None:
    """An agent's own `p` isn't the modulus, and its `seed` isn't the run's."""
    record = made_up()
    agent = record.agent.model_copy(update={"hyperparameters": {"p": 0.1, "seed": 7, "steps": 3, "width": 8}})
    plain, row = (Runs((each,)).runs.iloc[0] for each in (record, record.model_copy(update={"agent": agent})))
    assert (row["p"], row["seed"], row["steps"]) == (47, plain["seed"], plain["steps"])
    assert (row["hyperparameter.p"], row["hyperparameter.seed"], row["hyperparameter.steps"], row["width"]) == (0.1, 7, 3, 8)


def test_a_diverged_exam_has_no_ranks_and_no_loss() -> None:
    """The columns stay, with missing values."""
    row = last_exam(made_up(), ranks=None, loss=None)
    assert row[["effective_rank", "loss"]].isna().all()
    assert row["train_accuracy"] == 1.0


def test_without_runs_there_are_empty_tables() -> None:
    """Only a figure needs runs."""
    runs = Runs(())
    assert (len(runs.runs), len(runs.exams), len(runs)) == (0, 0, 0)
    assert "solved" in runs.table()
    with pytest.raises(ResultError, match="no runs to draw"):
        runs.plot()


def test_columns_and_their_types_do_not_depend_on_the_values() -> None:
    """Without runs, without ranks, and where no run has a value."""
    assert Runs(()).runs.columns.tolist() == Runs((made_up(),)).runs.columns[: len(RUN_COLUMNS)].tolist()
    assert Runs(()).exams.columns.tolist() == ["run", "task", "agent", "seed", "salt", *COLUMNS]
    paused = made_up().model_copy(update={"exams": []})
    assert RunResult(paused).exams["step"].tolist() == []
    sparse = paused.model_copy(update={"exams": [exam.model_copy(update={"ranks": None}) for exam in made_up().exams]})
    assert RunResult(sparse).exams["effective_rank"].isna().all()
    frame = Runs((sparse.model_copy(update={"outcome": sparse.outcome.model_copy(update={"final_rank": None})}),)).runs
    assert {str(frame[name].dtype) for name in NUMBERS} == {"float64"}
    assert {str(RunResult(sparse).exams[name].dtype) for name in COLUMNS[1:]} == {"float64"}


def test_a_run_can_be_a_key() -> None:
    """Equal runs are one key."""
    assert len({RunResult(made_up()), RunResult(made_up()), RunResult(made_up(seed=1))}) == 2


def test_runs_are_a_sequence() -> None:
    """They are counted from either end, and an index beyond the ends is an error."""
    records = tuple(made_up(seed=seed) for seed in range(3))
    runs = Runs(records)
    assert runs[-1].record == records[2]
    assert [run.record for run in reversed(runs)] == list(reversed(records))
    assert RunResult(records[1]) in runs
    assert runs[::2].records == records[::2]
    with pytest.raises(IndexError):
        runs[3]


def test_a_result_shows_its_end() -> None:
    """Its outcome, or the reason why it is incomplete."""
    record = made_up()
    shown = repr(RunResult(record))
    assert shown.startswith(f"RunResult({ADD} mlp seed 0: generalized, ")
    assert f"steps_to_generalize={record.outcome.steps_to_generalize}" in shown
    assert "failed: it broke" in repr(RunResult(record.model_copy(update={"incomplete": "failed: it broke"})))


def test_runs_of_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default those below `runs`; a folder in another adds nothing."""
    for record, name in ((made_up(), "runs/a"), (made_up(seed=1), "runs/b"), (made_up(seed=2), "more")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "seed.json").write_text(to_json(record), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [run.record.seed for run in grokbench.load_runs()] == [0, 1]
    assert [run.record.seed for run in grokbench.load_runs("more", "runs", "runs/a")] == [2, 0, 1]
