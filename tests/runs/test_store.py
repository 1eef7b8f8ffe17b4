"""The folder of runs: damaged files, a full disk, a folder that can't be written, records of other runs, locks."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.errors import CheckpointError, RecordError, StoreError
from grokbench.runs import engine
from grokbench.runs.plan import Experiment, Run, plan
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store, find_records, read_checkpoint
from grokbench.tasks import parse_id
from tests.runs.test_engine import records, run
from tests.support.callbacks import Silent
from tests.support.entries import make_run

TASK = "add_mod5-0.5-v1"


def planned(seed: int = 0, *, task: str = TASK, salt: str = "", agent: str = "mlp") -> Run:
    """A run to be made."""
    return Run(Experiment(parse_id(task), find_recipe(agent), salt), seed)


def record_of(run: Run, **changes: Any) -> RunRecord:
    """A made-up record of the run."""
    experiment = run.experiment
    record = make_run(experiment.task.id, seed=run.seed, steps_to_generalize=500, recipe=experiment.recipe)
    return record.model_copy(update={"salt": experiment.salt} | changes)


def test_damaged_files_are_set_aside_and_done_again(tmp_path: Path) -> None:
    """Only the runs of a damaged record or checkpoint are made again. The damaged file is kept beside them."""
    run(tmp_path, max_steps=200)
    expected = records(tmp_path)
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5] + b"wrong")
    record = next(tmp_path.rglob("seed-0.json"))
    record.write_text(record.read_text()[:200])
    callback = run(tmp_path, max_steps=200)
    assert any("start over" in note for note in callback.messages)
    assert any("not a run record" in note and "moved to seed-0.json.damaged" in note for note in callback.messages)
    assert records(tmp_path) == expected
    assert len(list(tmp_path.rglob("*.damaged"))) == 2


def test_a_damaged_record_is_told_once(tmp_path: Path) -> None:
    """Also where one store serves several calls, as in a tuning."""
    store, plans = Store(tmp_path), plan(["add_mod5-0.5-to10"], [find_recipe("mlp")], seeds=[0])
    store.record_path(plans[0].runs[0]).parent.mkdir(parents=True)
    store.record_path(plans[0].runs[0]).write_text("{")
    callback = Silent()
    for _ in range(2):
        assert engine.run(plans, store, callbacks=[callback], device="cpu")
    assert ["moved to" in message for message in callback.messages] == [True]


def test_a_record_that_can_not_be_read_stays(tmp_path: Path) -> None:
    """It may be whole."""
    store, (wanted,) = Store(tmp_path), plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0])[0].runs
    store.record_path(wanted).mkdir(parents=True)
    with pytest.raises(RecordError, match="Is a directory"):
        store.finished(wanted)
    assert store.record_path(wanted).is_dir()


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
    """The outcome of every record follows from its exams."""
    run(tmp_path, max_steps=300)
    for path in tmp_path.rglob("*.json"):
        record = read_record(path)
        assert record.recomputed().steps_to_memorize == record.outcome.steps_to_memorize


def test_a_run_can_be_claimed_once(tmp_path: Path) -> None:
    """A second claim gets only the runs that are free, and all of them once the first claim is released."""
    runs = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0, 1, 2])[0].runs
    store = Store(tmp_path)
    with store.claim_all(runs[:2]) as first, Store(tmp_path).claim_all(runs) as second:
        assert (first, second) == (runs[:2], runs[2:])
    with store.claim_all(runs) as all_of_them:
        assert all_of_them == runs


def test_a_checkpoints_name_is_short(tmp_path: Path) -> None:
    """Few seeds are spelled out, many are hashed, and a salted cohort has an ending of its own."""
    (few,) = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0])
    (salted,) = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0], salt="s")
    store = Store(tmp_path)
    assert store.checkpoint_path(few.experiments[0], [0, 1]).name == "cohort-0-1.safetensors"
    assert len(store.checkpoint_path(few.experiments[0], range(1_000)).name) < 60
    assert "-salt-" in store.checkpoint_path(salted.experiments[0], [0, 1]).name


def test_cohorts_of_other_recipes_have_other_checkpoints() -> None:
    """Their first run and their seeds may be the same. A recipe with many seeds has the name of before."""
    store, experiment = Store(Path()), planned().experiment
    names = [store.checkpoint_path(experiment, [0, 0], recipes).name for recipes in (["a", "b"], ["a", "c"], ["a", "a"], [])]
    assert len(set(names)) == 3
    assert names[2] == names[3] == "cohort-0-0.safetensors"


@settings(max_examples=60, deadline=None)
@given(cohorts=st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True), min_size=2, max_size=2))
def test_every_cohort_has_a_checkpoint_of_its_own(cohorts: list[list[int]]) -> None:
    """The names of two cohorts differ where their seeds do, and every file system accepts them."""
    names = [Store(Path()).checkpoint_path(planned().experiment, seeds).name for seeds in cohorts]
    assert (names[0] == names[1]) == (cohorts[0] == cohorts[1])
    assert all(len(name) <= 100 for name in names)


OTHERS: list[dict[str, Any]] = [{"seed": 1}, {"task": "mul_mod5-0.5-v1"}, {"salt": "grain"}, {"agent": "transformer"}]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_runs_do_not_share_a_record(tmp_path: Path, other: dict[str, Any]) -> None:
    """Each run has a file of its own. A file that holds the record of another run is an error."""
    store, run, another = Store(tmp_path), planned(), planned(**other)
    store.write_record(run, record_of(run))
    assert store.finished(run)
    assert not store.finished(another)
    store.write_record(another, record_of(run))
    with pytest.raises(RecordError, match="holds the record of another run"):
        store.finished(another)


def test_an_incomplete_record_is_not_finished(tmp_path: Path) -> None:
    """It is replaced by the complete record, which is then found."""
    store, run = Store(tmp_path), planned()
    path = store.write_record(run, record_of(run, incomplete="stopped"))
    assert not store.finished(run)
    store.write_record(run, record_of(run))
    assert store.finished(run)
    assert find_records([tmp_path]) == ([read_record(path)], [])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(errno.EDQUOT, "Disk quota exceeded")], ids=str)
def test_an_interrupted_write_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException] | OSError
) -> None:
    """Nothing half-written stays. A quota that is used up is explained as a full disk is."""
    store, run = Store(tmp_path), planned()
    path = store.write_record(run, record_of(run))

    def fail(handle: int) -> None:
        raise stop

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, StoreError), match=r"free some space|^$"):
        store.write_record(run, record_of(run, incomplete="stopped"))
    assert read_record(path).incomplete is None
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_everyone_may_read_a_record(tmp_path: Path) -> None:
    """A temporary file, from which it was made, is its owner's alone."""
    path = Store(tmp_path).write_record(planned(), record_of(planned()))
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_checkpoint_may_be_gone_already(tmp_path: Path) -> None:
    """Two processes may remove it."""
    Store(tmp_path).remove(tmp_path / "cohort-0.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_comes_back_or_is_refused(tmp_path: Path) -> None:
    """A file that is missing, or cut anywhere, is refused by its name."""
    path = Store(tmp_path).checkpoint_path(planned().experiment, [0])
    Store(tmp_path).write_checkpoint(path, {"step": 5, "weights": np.arange(3.0)})
    tree = read_checkpoint(path)
    assert tree["step"] == 5
    np.testing.assert_array_equal(tree["weights"], [0, 1, 2])
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cohort-0\.safetensors: not a usable checkpoint"):
            read_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cohort-0\.safetensors: not a usable checkpoint"):
        read_checkpoint(path)


def test_checkpoints_are_found_in_the_experiments_own_folder(tmp_path: Path) -> None:
    """Those that were moved aside, and those of other recipes, are not among them."""
    store, experiment = Store(tmp_path), planned().experiment
    other = Experiment(experiment.task, recipe("mlp", name="mlp", network={"init_scale": 2.0}))
    paths = [store.checkpoint_path(experiment, [0]), store.checkpoint_path(experiment, [1])]
    for path in (*paths, store.checkpoint_path(other, [2])):
        store.write_checkpoint(path, {})
    assert store.checkpoint_paths(experiment) == paths
    store.set_aside(paths[0])
    assert store.checkpoint_paths(experiment) == paths[1:]


def test_a_salted_run_has_a_lock_of_its_own(tmp_path: Path) -> None:
    """Seeds, salts, tasks and agents are claimed apart."""
    with Store(tmp_path).claim_all([planned()]):
        others = [planned(**other) for other in OTHERS]
        with Store(tmp_path).claim_all([planned(), *others]) as claimed:
            assert claimed == others


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    """The next process can go on at once."""
    with pytest.raises(ZeroDivisionError), Store(tmp_path).claim_all([planned()]):
        raise ZeroDivisionError
    with Store(tmp_path).claim_all([planned()]) as claimed:
        assert claimed == [planned()]


HOLD = """
import sys
from pathlib import Path
from grokbench.agents.recipes import find_recipe
from grokbench.runs.plan import plan
from grokbench.runs.store import Store
with Store(Path(sys.argv[1])).claim_all(plan([sys.argv[2]], [find_recipe("mlp")], seeds=[0])[0].runs):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """Its runs are busy while it lives, and free once it is gone."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), TASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with Store(tmp_path).claim_all([planned()]) as while_it_lives:
            assert while_it_lives == []
        holder.kill()
        holder.wait()
    with Store(tmp_path).claim_all([planned()]) as afterwards:
        assert afterwards == [planned()]


def test_records_behind_links_are_found_once(tmp_path: Path) -> None:
    """Folders of runs are moved to larger disks. A link to a folder above ends nothing in a circle."""
    store, run = Store(tmp_path / "far"), planned()
    store.write_record(run, record_of(run))
    (tmp_path / "runs").mkdir()
    for name, target in (("one", "far"), ("two", "far"), ("above", ".")):
        (tmp_path / "runs" / name).symlink_to(tmp_path / target, target_is_directory=True)
    records, errors = find_records([tmp_path / "runs"])
    assert (len(records), errors) == (1, [])


def test_records_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """Each once, however many of the folders hold it. Other JSON files are passed over, damaged records aren't."""
    for each in (planned(1), planned(0)):
        folder = Store(tmp_path).write_record(each, record_of(each)).parent
    (folder / "notes.json").write_text('{"a": 1}')
    (folder / "seed-2.json").write_text('{"exams": [')
    found, errors = find_records([folder, tmp_path])
    assert [record.seed for record in found] == [0, 1]
    assert len(errors) == 1
    assert "seed-2.json" in str(errors[0])


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """And nothing is left in it by the trial."""
    Store(tmp_path / "a" / "b").prepare()
    assert list((tmp_path / "a" / "b").iterdir()) == []
