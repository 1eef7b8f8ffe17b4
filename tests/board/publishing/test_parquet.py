"""The Parquet file: the entries' runs as `datasets` reads them, and the error where the extra is missing."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing import parquet
from grokbench.errors import MissingExtraError
from grokbench.evaluation.ranks import MEASURES
from tests.support.entries import write_good_entry

LEADERBOARD = Path(__file__).resolve().parents[3] / "leaderboard"
LOAD = """
import json, sys
from datasets import load_dataset
rows = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
print(json.dumps([rows.features["exams"].feature["step"].dtype, list(rows)]))
"""


def load(path: Path, cache: Path) -> Any:
    """The type of a step and all rows as `load_dataset` gives them, offline, in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", LOAD, str(path), str(cache)]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_round_trip(tmp_path: Path) -> None:
    """Every run and exam of an entry comes back, the accuracies beside the counts. A second write does nothing."""
    write_good_entry(tmp_path / "entries" / "first")
    checked = check_entries(leaderboard=tmp_path)
    path = tmp_path / parquet.FILE
    assert parquet.write_runs(checked, path)
    assert not parquet.write_runs(checked, path)
    kind, rows = load(path, tmp_path / "cache")
    assert kind == "int64"
    assert rows == parquet.rows(checked)
    assert checked[0].entry is not None
    for row, run in zip(rows, checked[0].entry.runs, strict=True):
        assert (row["task"], row["seed"], row["steps_to_generalize"]) == (run.task, run.seed, run.outcome.steps_to_generalize)
        assert [exam["held_out"] for exam in row["exams"]] == [exam.held_out for exam in run.exams]
        ranks = [exam["effective_rank"] for exam in row["exams"] if exam["effective_rank"] is not None]
        assert median(ranks[-5:]) == row["final_rank"]
        assert row["exams"][-1]["train_accuracy"] == 1.0


def test_a_diverged_run_has_no_ranks(tmp_path: Path) -> None:
    """Null where the features weren't finite, in a file that keeps its types."""
    write_good_entry(tmp_path / "entries" / "first")
    checked = check_entries(leaderboard=tmp_path)
    entry = checked[0].entry
    assert entry is not None
    last = entry.runs[0].exams[-1].model_copy(update={"ranks": None})
    broken = entry.runs[0].model_copy(update={"exams": [last]})
    object.__setattr__(entry, "runs", (broken,))
    parquet.write_runs(checked, tmp_path / parquet.FILE)
    (row,) = parquet.read_runs(tmp_path / parquet.FILE)
    assert row["exams"][0]["effective_rank"] is None
    assert row["exams"][0]["step"] == last.step


def test_refused_entries_are_left_out(tmp_path: Path) -> None:
    """Their runs can't be relied on."""
    (write_good_entry(tmp_path / "entries" / "first") / "runs.jsonl").write_bytes(b"")
    assert parquet.rows(check_entries(leaderboard=tmp_path)) == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install; importing the module needs nothing."""
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    for use in (lambda: parquet.write_runs([], tmp_path / "x"), lambda: parquet.read_runs(tmp_path / "x")):
        with pytest.raises(MissingExtraError, match=r"pip install 'grokbench\[hub\]'"):
            use()
    code = "import sys, grokbench.board.publishing.parquet; assert not {'datasets', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_committed_file_holds_the_entries() -> None:
    """Contents, not bytes, which depend on the writer's version; and it stays small."""
    path = LEADERBOARD / parquet.FILE
    assert parquet.read_runs(path) == parquet.rows(check_entries(leaderboard=LEADERBOARD)), "run `make board`"
    assert path.stat().st_size < 2 << 20


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    """Cut anywhere, as a writer that was killed leaves it."""
    write_good_entry(tmp_path / "entries" / "first")
    checked, path = check_entries(leaderboard=tmp_path), tmp_path / parquet.FILE
    parquet.write_runs(checked, path)
    whole = path.read_bytes()
    for length in (0, 4, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert parquet.write_runs(checked, path)
        assert parquet.read_runs(path) == parquet.rows(checked)


def test_an_exam_row_has_the_last_layer_and_shares_of_its_own_questions(tmp_path: Path) -> None:
    """Held-out answers are divided by the held-out questions."""
    write_good_entry(tmp_path / "entries" / "first")
    checked = check_entries(leaderboard=tmp_path)
    entry = checked[0].entry
    assert entry is not None
    exam = entry.runs[0].exams[0].model_copy(update={"ranks": {name: [1.0, 2.0] for name in MEASURES}})
    object.__setattr__(entry, "runs", (entry.runs[0].model_copy(update={"exams": [exam]}),))
    ((row,),) = (run["exams"] for run in parquet.rows(checked))
    assert {row[name] for name in MEASURES} == {2.0}
    task = entry.runs[0].parsed_task()
    assert row["held_out_accuracy"] * task.num_held_out == pytest.approx(exam.held_out)
    assert row["train_accuracy"] * task.num_train == pytest.approx(exam.train)
