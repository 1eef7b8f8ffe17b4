"""Pinned data: fingerprints never change, and a reference is complete."""

import json
import shutil
from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.scoring import Reference
from grokbench.runs.records import read_record
from grokbench.sweeps.space import Space
from grokbench.tasks import list_tasks
from tests.support.entries import by_recipe, good_runs, make_run, make_tuning
from tests.support.records import write_records
from tools import pin_fingerprints, pin_reference

ENTRIES = Path(__file__).resolve().parents[2] / "leaderboard" / "entries"


def test_pinning_again_changes_nothing(tmp_path: Path) -> None:
    """The committed file has every standard task with its controls, and the tool writes it as it is."""
    target = Path(shutil.copy(pin_fingerprints.TARGET, tmp_path))
    pin_fingerprints.pin(target)
    assert target.read_bytes() == pin_fingerprints.TARGET.read_bytes()


def test_a_changed_instance_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New tasks are added, and tasks that left their suite stay pinned. After a refusal the file is as before."""
    target = tmp_path / "fingerprints.json"
    target.write_text('{"kept": ["a"], "left": ["x"]}')
    monkeypatch.setattr(pin_fingerprints, "fingerprints", lambda: {"new": ["c"], "kept": ["a"]})
    pin_fingerprints.pin(target)
    assert json.loads(target.read_text()) == {"kept": ["a"], "new": ["c"], "left": ["x"]}
    monkeypatch.setattr(pin_fingerprints, "fingerprints", lambda: {"kept": ["b"], "new": ["c"]})
    before = target.read_bytes()
    with pytest.raises(ValueError, match="raise the version of kept"):
        pin_fingerprints.pin(target)
    assert target.read_bytes() == before


@pytest.fixture
def reference_runs(tmp_path: Path) -> Path:
    """The runs of a reference on `mini`, as files of records."""
    return write_records(tmp_path / "runs", good_runs(luck=7))


def test_the_runs_of_a_reference_are_pinned(reference_runs: Path, reference: Reference) -> None:
    """Every task's times, seed by seed, and the agent's hash."""
    pinned = pin_reference.reference([reference_runs])
    tasks = {task: {int(seed): time for seed, time in times.items()} for task, times in pinned["tasks"].items()}
    assert len(tasks) == 3
    assert Reference(pinned["agents"], tasks) == reference


@pytest.mark.parametrize(("entry", "suite"), [("adamw-tuned", "core"), ("adamw-tuned-mini", "mini")])
def test_the_entries_runs_are_the_pinned_reference(tmp_path: Path, entry: str, suite: str) -> None:
    """Pinning the entries of tuned AdamW gives what is committed for their tasks and agents."""
    runs = (ENTRIES / entry / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(runs):
        (tmp_path / f"{number:02}.json").write_text(line, encoding="utf-8")
    pinned, committed = pin_reference.reference([tmp_path]), json.loads(pin_reference.TARGET.read_text(encoding="utf-8"))
    assert set(pinned["tasks"]) == {task.id for task in list_tasks(suite)}
    assert pinned["tasks"].items() <= committed["tasks"].items()
    assert pinned["agents"].items() <= committed["agents"].items()


def test_a_missing_seed_is_refused(reference_runs: Path) -> None:
    """A reference has every official seed of a task."""
    run = read_record(reference_runs / "000.json")
    (reference_runs / "000.json").unlink()
    last = PROTOCOL.official_seeds[-1]
    with pytest.raises(ValueError, match=rf"{run.task} needs the seeds .*{last}\), got"):
        pin_reference.reference([reference_runs])


def test_a_damaged_record_is_refused(reference_runs: Path) -> None:
    """A damaged record could belong to a seed that would then be missing."""
    (reference_runs / "000.json").write_text('{"exams": [')
    with pytest.raises(ValueError, match=r"undamaged records, got .*000\.json"):
        pin_reference.reference([reference_runs])


def test_a_run_that_never_generalizes_is_pinned_as_null(tmp_path: Path) -> None:
    """Seeds are in ascending order, whatever the order of the files."""
    runs = [run for run in good_runs() if run.task == "add_mod47-0.35-v1"]
    assert len(runs) == len(PROTOCOL.official_seeds)
    never = make_run("add_mod47-0.35", seed=3, steps_to_generalize=1e9, recipe=find_recipe("transformer"))
    runs = [never if run.seed == never.seed else run for run in reversed(runs)]
    pin_reference.pin([write_records(tmp_path / "runs", runs)], tmp_path / "reference.json")
    (times,) = json.loads((tmp_path / "reference.json").read_text(encoding="utf-8"))["tasks"].values()
    assert list(times) == [str(seed) for seed in PROTOCOL.official_seeds]
    assert times == {str(run.seed): run.outcome.steps_to_generalize for run in runs}
    assert [seed for seed, time in times.items() if time is None] == ["3"]


def test_controls_are_not_part_of_a_reference(tmp_path: Path) -> None:
    """They are never scored, and have fewer seeds."""
    runs = good_runs()
    assert any(run.parsed_task().control for run in runs)
    pinned = pin_reference.reference([write_records(tmp_path / "runs", runs)])
    assert set(pinned["tasks"]) == {run.task for run in runs if not run.parsed_task().control}


def test_a_task_with_runs_of_two_agents_is_refused(tmp_path: Path) -> None:
    """Even if both have all official seeds; the error names them."""
    folders = [write_records(tmp_path / name, good_runs(name)) for name in ("transformer", "mlp")]
    with pytest.raises(ValueError, match="expected one agent per task, got mlp, transformer on the same tasks"):
        pin_reference.reference(folders)


def test_a_tuned_reference_has_the_spread_of_its_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs are those of the recipe that the tuning chooses; any other recipe is refused."""
    tuning, _ = make_tuning(Space.of(find_recipe("transformer")))
    monkeypatch.setattr(pin_reference, "read_folder", lambda folder: (None, None))
    monkeypatch.setattr(pin_reference, "finished_tuning", lambda space, store: (tuning, {}))
    other = write_records(tmp_path / "other", good_runs())
    with pytest.raises(ValueError, match=r"expected runs of the recipe that .* chooses, got transformer"):
        pin_reference.reference([other], tmp_path)
    runs = by_recipe(good_runs(), tuning.recipe("tuned"))
    pinned = pin_reference.reference([write_records(tmp_path / "runs", runs)], tmp_path)
    assert pinned["tuning_spread"] == round(tuning.spread, 4) > 0
