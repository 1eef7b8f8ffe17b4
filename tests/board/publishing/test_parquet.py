"""The Parquet files: runs, exams and tables as `datasets` reads them, and the error where the extra is missing."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from grokbench.board.entries.checks import Checked, check_entries
from grokbench.board.publishing import parquet
from grokbench.board.publishing.standings import standings
from grokbench.errors import MissingExtraError
from grokbench.evaluation.ranks import MEASURES
from grokbench.results.scoring import Reference
from tests.support.entries import write_good_entry

LOAD = """
import json, sys
from datasets import load_dataset
rows = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
print(json.dumps([{name: feature.dtype for name, feature in rows.features.items()}, list(rows)]))
"""


@pytest.fixture
def checked(tmp_path: Path) -> list[Checked]:
    """One good entry, checked, in a leaderboard's folder."""
    write_good_entry(tmp_path / "entries" / "first")
    return check_entries(leaderboard=tmp_path)


def load(path: Path, cache: Path) -> Any:
    """The types and all rows as `load_dataset` gives them, offline, in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", LOAD, str(path), str(cache)]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", parquet.CONFIGURATIONS)
def test_a_round_trip(checked: Sequence[Checked], tmp_path: Path, name: str) -> None:
    """Every row of an entry comes back with its types. A second write does nothing."""
    assert parquet.write_data(checked, tmp_path) == list(parquet.files(tmp_path).values())
    assert parquet.write_data(checked, tmp_path) == []
    types, rows = load(parquet.files(tmp_path)[name], tmp_path / "cache")
    assert types == {column: kind for column, (kind, _) in parquet.CONFIGURATIONS[name].columns.items()}
    assert rows == parquet.rows(checked, name)


def test_runs_and_exams_are_those_of_the_entry(checked: Sequence[Checked]) -> None:
    """Accuracies beside the counts; the key of an exam finds its run."""
    assert checked[0].entry is not None
    exams: dict[tuple[str, int], list[parquet.Row]] = {}
    for row in parquet.rows(checked, "exams"):
        exams.setdefault((row["task"], row["seed"]), []).append(row)
    for row, run in zip(parquet.rows(checked, "runs"), checked[0].entry.runs, strict=True):
        assert (row["task"], row["seed"], row["steps_to_generalize"]) == (run.task, run.seed, run.outcome.steps_to_generalize)
        its = exams[row["task"], row["seed"]]
        assert [exam["held_out"] for exam in its] == [exam.held_out for exam in run.exams]
        ranks = [exam["effective_rank"] for exam in its if exam["effective_rank"] is not None]
        assert median(ranks[-5:]) == row["final_rank"]
        assert its[-1]["train_accuracy"] == 1.0


def test_the_table_has_the_standings(leaderboard: Path) -> None:
    """In the order of the README, with the reference's score but no interval of it."""
    checked = check_entries(leaderboard=leaderboard)
    rows = parquet.rows(checked, "table")
    by_name = {standing.entry.name: standing for standing in standings(checked)}
    assert [row["entry"] for row in rows] == sorted(by_name, key=lambda name: -by_name[name].score)
    for row in rows:
        standing = by_name[row["entry"]]
        assert row["score"] == round(standing.score, parquet.DECIMALS)
        assert (row["solved"], row["runs"]) == (len(standing.solved), len(standing.runs))
        assert (row["rank"], row["tuned"], row["trust"]) == ("untuned", False, "consistent")
        assert row["score_low"] < row["score"] < row["score_high"]


def test_the_reference_has_no_interval(checked: Sequence[Checked], reference: Reference, monkeypatch: Any) -> None:
    """Its score is 1 by definition."""
    monkeypatch.setattr("grokbench.board.publishing.standings.Standing.is_reference", property(lambda standing: True))
    (row,) = parquet.rows(checked, "table")
    assert (row["score_low"], row["score_high"]) == (None, None)


def test_a_diverged_run_has_no_ranks(checked: Sequence[Checked], tmp_path: Path) -> None:
    """Null where the features weren't finite, in a file that keeps its types."""
    entry = checked[0].entry
    assert entry is not None
    last = entry.runs[0].exams[-1].model_copy(update={"ranks": None})
    broken = entry.runs[0].model_copy(update={"exams": [last]})
    object.__setattr__(entry, "runs", (broken, *entry.runs[1:]))
    parquet.write_data(checked, tmp_path)
    row = parquet.read_rows(parquet.files(tmp_path)["exams"])[0]
    assert row["effective_rank"] is None
    assert row["step"] == last.step


@pytest.mark.parametrize("name", parquet.CONFIGURATIONS)
def test_refused_entries_are_left_out(tmp_path: Path, name: str) -> None:
    """Their runs can't be relied on."""
    (write_good_entry(tmp_path / "entries" / "first") / "runs.jsonl").write_bytes(b"")
    assert parquet.rows(check_entries(leaderboard=tmp_path), name) == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install; importing the module needs nothing."""
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    for use in (lambda: parquet.write_data([], tmp_path), lambda: parquet.read_rows(tmp_path / "x")):
        with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[hub\]'"):
            use()
    code = "import sys, grokbench.board.publishing.parquet; assert not {'datasets', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", parquet.CONFIGURATIONS)
def test_a_damaged_file_is_written_again(checked: Sequence[Checked], tmp_path: Path, name: str) -> None:
    """Cut anywhere, as a writer that was killed leaves it."""
    parquet.write_data(checked, tmp_path)
    path = parquet.files(tmp_path)[name]
    whole = path.read_bytes()
    for length in (0, 4, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert parquet.stale_data(checked, tmp_path) == [path]
        assert parquet.write_data(checked, tmp_path) == [path]
        assert parquet.read_rows(path) == parquet.rows(checked, name)


def test_an_exam_row_has_the_last_layer_and_shares_of_its_own_questions(checked: Sequence[Checked]) -> None:
    """Held-out answers are divided by the held-out questions."""
    entry = checked[0].entry
    assert entry is not None
    exam = entry.runs[0].exams[0].model_copy(update={"ranks": {name: [1.0, 2.0] for name in MEASURES}})
    object.__setattr__(entry, "runs", (entry.runs[0].model_copy(update={"exams": [exam]}),))
    (row,) = parquet.rows(checked, "exams")
    assert {row[name] for name in MEASURES} == {2.0}
    task = entry.runs[0].parsed_task()
    assert row["held_out_accuracy"] * task.num_held_out == pytest.approx(exam.held_out)
    assert row["train_accuracy"] * task.num_train == pytest.approx(exam.train)
