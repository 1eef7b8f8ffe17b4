"""Sweeps that run: the records, resuming, and sparse exams."""

from pathlib import Path

import pytest

import grokbench
from grokbench.errors import SweepError
from grokbench.evaluation.protocol import PROTOCOL, SPARSE_PROTOCOL
from grokbench.results.frames import Runs

VARY = {"weight_decay": [0.1, 1.0]}


def swept(out: Path | None = None, **options: object) -> Runs:
    """Eight short runs."""
    changes = {"ratio": [0.5, 0.6], "seeds": [0, 1], "budget": 40, "exams": "sparse", "out": out, "processes": 1} | options
    return grokbench.sweep("mlp", "add_mod5-{ratio}", vary=VARY, **changes)  # type: ignore[arg-type]


def test_all_runs_come_back_as_data_frames(tmp_path: Path) -> None:
    """With their parts of the task and hyperparameters, and they aren't made twice."""
    runs = swept(tmp_path).runs
    assert len(runs) == 8
    settings = set(zip(runs["ratio"], runs["optimizer.weight_decay"], strict=True))
    assert settings == {(ratio, decay) for ratio in (0.5, 0.6) for decay in (0.1, 1.0)}
    assert (runs["p"] == 5).all()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed-*.json")}
    assert len(before) == 8
    swept(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed-*.json")}


def test_sparse_exams_are_few_and_measure_no_ranks(tmp_path: Path) -> None:
    """The record says so, and its file has another name than that of a run with all exams."""
    sparse, full = swept(tmp_path), swept(tmp_path, exams="full")
    assert {record.exam_grid for record in sparse.records} == {"sparse"}
    assert {record.exam_grid for record in full.records} == {None}
    for runs, protocol in ((sparse, SPARSE_PROTOCOL), (full, PROTOCOL)):
        steps = runs.exams[runs.exams["seed"] == 0]["step"].drop_duplicates().tolist()
        assert steps == [step for step in protocol.grid(80).steps if step <= max(steps)]
    assert sparse.exams["effective_rank"].isna().all()
    assert "effective_rank" in full.exams
    assert len(list(tmp_path.rglob("seed-*-sparse-budget-40.json"))) == 8
    assert len(grokbench.load_runs(tmp_path)) == 16


def test_a_setting_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    """Up to rounding: a member of a cohort learns what it learns alone."""
    together = {(record.task, record.agent.hash, record.seed): record for record in swept(tmp_path / "together").records}
    for ratio in (0.5, 0.6):
        alone = grokbench.sweep(
            "mlp", f"add_mod5-{ratio}", vary={"weight_decay": [1.0]}, seeds=[1], budget=40, exams="sparse", processes=1
        )
        (record,) = alone.records
        other = together[record.task, record.agent.hash, record.seed]
        assert [exam.train for exam in record.exams] == [exam.train for exam in other.exams]


def test_nothing_runs_if_an_axis_is_wrong(tmp_path: Path) -> None:
    """No folder is made."""
    with pytest.raises(SweepError, match="nothing is called decay"):
        grokbench.sweep("mlp", "add_mod5-0.5", decay=[1], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
