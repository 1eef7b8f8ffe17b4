"""The folder of runs: damaged files, a full disk, a folder that can't be written, records of other runs, locks."""

import errno
import os
from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.errors import RecordError, StoreError
from grokbench.runs.plan import plan
from grokbench.runs.records import read_record
from grokbench.runs.store import Store
from tests.runs.test_engine import records, run


def test_damaged_files_are_set_aside_and_done_again(tmp_path: Path) -> None:
    """A damaged record or checkpoint costs its own runs alone, and is kept beside them."""
    run(tmp_path, max_steps=200)
    expected = records(tmp_path)
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5] + b"wrong")
    record = next(tmp_path.rglob("seed-0.json"))
    record.write_text(record.read_text()[:200])
    callback = run(tmp_path, max_steps=200)
    assert any("start over" in note for note in callback.messages)
    assert records(tmp_path) == expected
    assert len(list(tmp_path.rglob("*.damaged"))) == 2


def test_a_full_disk_is_explained_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do. Finished runs are safe, and the same command goes on."""
    run(tmp_path, seeds=(0,), max_steps=100)
    before = records(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StoreError, match="free some space"):
            run(tmp_path, seeds=(0, 1), max_steps=200)
    assert records(tmp_path) == before
    assert not list(tmp_path.rglob(".writing-*"))
    run(tmp_path, seeds=(0, 1), max_steps=200)
    assert [record["exams"][-1]["step"] for record in records(tmp_path)] == [200, 200]


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    """The error comes before anything runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another --out"):
        run(tmp_path / "file" / "runs")


def test_another_runs_record_is_not_taken(tmp_path: Path) -> None:
    """A record under another run's name is refused, not overwritten."""
    run(tmp_path, seeds=(0,), max_steps=100)
    path = next(tmp_path.rglob("seed-0.json"))
    path.rename(path.with_name("seed-1.json"))
    with pytest.raises(RecordError, match="another run"):
        run(tmp_path, seeds=(1,), max_steps=100)


def test_records_are_read_back_as_written(tmp_path: Path) -> None:
    """The outcome in a record that is read follows from its exams."""
    run(tmp_path, max_steps=300)
    for path in tmp_path.rglob("*.json"):
        record = read_record(path)
        assert record.recomputed().steps_to_memorize == record.outcome.steps_to_memorize


def test_a_claimed_run_is_nobody_elses(tmp_path: Path) -> None:
    """A second claim gets the other runs alone, and all of them once the first is released."""
    runs = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0, 1, 2])[0].runs
    store = Store(tmp_path)
    with store.claim_all(runs[:2]) as first, Store(tmp_path).claim_all(runs) as second:
        assert (first, second) == (runs[:2], runs[2:])
    with store.claim_all(runs) as all_of_them:
        assert all_of_them == runs


def test_a_checkpoints_name_is_short(tmp_path: Path) -> None:
    """Few seeds are spelled out, many are hashed; a salt has its own mark."""
    (few,) = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0])
    (salted,) = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0], salt="s")
    store = Store(tmp_path)
    assert store.checkpoint_path(few.experiments[0], [0, 1]).name == "cohort-0-1.safetensors"
    assert len(store.checkpoint_path(few.experiments[0], range(1_000)).name) < 60
    assert "-salt-" in store.checkpoint_path(salted.experiments[0], [0, 1]).name
