"""Pinned data: fingerprints never change, and a reference is complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from grokbench.evaluation.protocol import PROTOCOL
from tools import pin_fingerprints, pin_reference


def test_pinning_again_changes_nothing(tmp_path: Path) -> None:
    """Controls included, the committed file is what the tool writes."""
    target = tmp_path / "fingerprints.json"
    pin_fingerprints.pin(target)
    assert target.read_bytes() == pin_fingerprints.TARGET.read_bytes()


def test_a_changed_instance_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New tasks are added and old ones dropped; a task with other instances leaves the file alone."""
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
    """It could be a missing seed."""
    (reference_runs / "00.json").write_text('{"exams": [')
    with pytest.raises(ValueError, match=r"undamaged records, got .*00\.json"):
        pin_reference.reference([reference_runs])
