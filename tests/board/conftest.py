"""Fixtures: a good entry that tests may spoil, and a leaderboard of three entries."""

import shutil
from pathlib import Path

import pytest

from grokbench.results import scoring
from grokbench.results.scoring import Reference
from tests.support.entries import good_runs, write_good_entry
from tests.support.reference import made_up_reference


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> Reference:
    """A made-up reference on `mini`, in place of the pinned one."""
    made_up = made_up_reference()
    monkeypatch.setattr(scoring, "reference", lambda: made_up)
    return made_up


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good entry that stays as it is."""
    return write_good_entry(tmp_path_factory.mktemp("template") / "good")


@pytest.fixture
def entry(template: Path, tmp_path: Path) -> Path:
    """A copy of the good entry."""
    return shutil.copytree(template, tmp_path / "good")


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """A leaderboard of three entries, of which `fast` is twice as fast and has a hostile title."""
    write_good_entry(tmp_path / "entries" / "slow")
    write_good_entry(tmp_path / "entries" / "same", good_runs(luck=1))
    write_good_entry(tmp_path / "entries" / "fast", good_runs(around=500), title="Fast <img src=x> [a](http://b) @all #1")
    sections = "<!-- board -->\n<!-- /board -->\n\n<!-- columns -->\n<!-- /columns -->"
    (tmp_path / "README.md").write_text(f"# Board\n\n{sections}\n\nThe end.\n", encoding="utf-8")
    return tmp_path
