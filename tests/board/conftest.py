"""Fixtures: a good entry that tests may spoil, and a leaderboard of three entries."""

import shutil
from pathlib import Path

import pytest

from tests.support.entries import good_runs, write_good_entry


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
    (tmp_path / "README.md").write_text("# Board\n\n<!-- board -->\n<!-- /board -->\n\nThe end.\n", encoding="utf-8")
    return tmp_path
