"""Stages for a CUDA machine: none that ended well is repeated, time ends the rest, and no checkpoint is packed."""

import json
import sys
import tarfile
from pathlib import Path

import pytest

from tools import gpu, wheels


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results, for stages of a second."""
    monkeypatch.setattr(gpu, "GRACE", 5)
    monkeypatch.setattr(gpu, "PACKING", 0)
    stages = {
        "good": "this --help",
        "bad": "no_such_module",
        "late": "http.server 0 --bind 127.0.0.1 --directory OUT",
        "later": "this",
    }
    monkeypatch.setattr(gpu, "STAGES", stages)
    return tmp_path / "gpu"


def execute(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Call the command with these options."""
    monkeypatch.setattr(sys, "argv", ["gpu", *options])
    gpu.main()


def test_stages_end_well_fail_or_are_stopped(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told as what it is, and one that ended well isn't repeated."""
    for name in ("runs/seed-0.json", "runs/cohort.safetensors", "site/package.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    execute(monkeypatch, "--out", str(out), "--limit", "9")
    ends = json.loads((out / "ends.json").read_text())
    assert ends == {
        "good": "ended well",
        "bad": "failed with status 1",
        "late": "stopped: the time was over",
        "later": "not begun in time",
    }
    assert "Beautiful is better than ugly" in (out / "good.txt").read_text()
    with tarfile.open(out / "results.tar.gz") as packed:
        names = packed.getnames()
    assert {"good.txt", "ends.json", "runs/seed-0.json"} < set(names)
    assert not [name for name in names if "site" in name or "safetensors" in name]
    before = (out / "good.txt").read_text()
    execute(monkeypatch, "--out", str(out), "--limit", "9", "--stages", "good", "later")
    assert (out / "good.txt").read_text() == before
    assert json.loads((out / "ends.json").read_text())["later"] == "ended well"


def test_a_folder_without_wheels_is_told(out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(SystemExit, match="has no wheels"):
        execute(monkeypatch, "--out", str(out), "--wheels", str(tmp_path))


def test_wheels_are_all_that_grokbench_needs_but_the_large_ones() -> None:
    """Also what these need in turn."""
    needed = wheels.needed("grokbench")
    assert {"gymnasium", "pydantic", "pydantic-core", "tyro", "threadpoolctl"} < needed
    assert not needed & (wheels.LEFT_OUT | {"sympy"})
