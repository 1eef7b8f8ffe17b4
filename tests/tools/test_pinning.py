"""Pinned data: fingerprints never change, and a reference is complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.evaluation.protocol import PROTOCOL
from tests.support.entries import good_runs, make_run
from tests.support.records import write_records
from tools import pin_fingerprints, pin_reference


def test_pinning_again_changes_nothing(tmp_path: Path) -> None:
    """The tool writes the committed file, with the controls."""
    target = tmp_path / "fingerprints.json"
    pin_fingerprints.pin(target)
    assert target.read_bytes() == pin_fingerprints.TARGET.read_bytes()


def test_a_changed_instance_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New tasks are added, and tasks that are no longer standard are dropped. After a refusal the file is as before."""
    target = tmp_path / "fingerprints.json"
    target.write_text('{"kept": ["a"], "gone": ["x"]}')
    monkeypatch.setattr(pin_fingerprints, "fingerprints", lambda: {"new": ["c"], "kept": ["a"]})
    pin_fingerprints.pin(target)
    assert json.loads(target.read_text()) == {"kept": ["a"], "new": ["c"]}
    monkeypatch.setattr(pin_fingerprints, "fingerprints", lambda: {"kept": ["b"], "new": ["c"]})
    with pytest.raises(ValueError, match="raise the version of kept"):
        pin_fingerprints.pin(target)
    assert json.loads(target.read_text())["kept"] == ["a"]


@pytest.fixture
def reference_runs(tmp_path: Path) -> Path:
    """The pinned reference's own runs of `mini`, as files of records."""
    entry = Path(__file__).resolve().parents[2] / "leaderboard" / "entries" / "transformer" / "runs.jsonl"
    for number, line in enumerate(entry.read_text(encoding="utf-8").splitlines()):
        (tmp_path / f"{number:02}.json").write_text(line, encoding="utf-8")
    return tmp_path


def test_the_entry_s_runs_are_the_pinned_reference(reference_runs: Path) -> None:
    """Pinning the entry `transformer` gives what is committed for its tasks."""
    committed: dict[str, Any] = json.loads(pin_reference.TARGET.read_text(encoding="utf-8"))
    pinned = pin_reference.reference([reference_runs])
    assert len(pinned["tasks"]) == 2
    assert pinned["tasks"] == {task: committed["tasks"][task] for task in pinned["tasks"]}
    assert pinned["agents"] == {"transformer": committed["agents"]["transformer"]}


def test_a_missing_seed_is_refused(reference_runs: Path) -> None:
    """A reference has every official seed of a task."""
    (reference_runs / "00.json").unlink()
    last = PROTOCOL.official_seeds[-1]
    with pytest.raises(ValueError, match=rf"add_mod47-0.7-v1 needs the seeds .*{last}\), got"):
        pin_reference.reference([reference_runs])


def test_a_damaged_record_is_refused(reference_runs: Path) -> None:
    """A damaged record could belong to a seed that would then be missing."""
    (reference_runs / "00.json").write_text('{"exams": [')
    with pytest.raises(ValueError, match=r"undamaged records, got .*00\.json"):
        pin_reference.reference([reference_runs])


def test_a_run_that_never_generalizes_is_pinned_as_null(tmp_path: Path) -> None:
    """Seeds are in ascending order, whatever the order of the files."""
    runs = [run for run in good_runs() if run.task == "add_mod47-0.7-v1"]
    assert len(runs) == len(PROTOCOL.official_seeds)
    never = make_run("add_mod47-0.7", seed=3, steps_to_generalize=1e9, recipe=find_recipe("transformer"))
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
