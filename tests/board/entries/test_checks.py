"""Checks of whole entries: a good entry is accepted, and everything wrong with an entry is found and named."""

import os
import shutil
from pathlib import Path

import pytest

from grokbench.board.entries.checks import check_entries, check_entry, find_entry
from grokbench.errors import EntryError
from tests.support.entries import (
    JsonRuns,
    change_runs,
    change_text,
    errors_of,
    good_runs,
    restate_hash,
    write_good_entry,
)


def test_a_good_entry_has_no_findings(entry: Path) -> None:
    """And all of its runs are sound."""
    checked = check_entry(entry)
    assert checked.findings == ()
    assert len(checked.sound_runs) == 32
    assert checked.entry is not None
    assert checked.entry.network == "transformer"


@pytest.mark.parametrize(("original", "accepted"), [("first", True), ("frist", False), ("again", False)])
def test_a_reproduction_names_another_entry(tmp_path: Path, original: str, accepted: bool) -> None:
    """A name that doesn't exist, or the entry's own, refuses it."""
    write_good_entry(tmp_path / "entries" / "first")
    write_good_entry(tmp_path / "entries" / "again", good_runs(luck=1), reproduces=original)
    (checked,) = (checked for checked in check_entries(leaderboard=tmp_path) if checked.name == "again")
    assert checked.refused != accepted
    assert accepted or f"reproduces {original!r}, which isn't another entry" in errors_of(checked)


def test_a_folder_name_has_small_letters_digits_and_hyphens(entry: Path) -> None:
    """Another name is a finding, and a link to an entry is no entry."""
    renamed = entry.rename(entry.with_name("Not_Good"))
    assert "the folder's name" in errors_of(check_entry(renamed))
    os.symlink(renamed, entry.with_name("link"))
    assert "is no entry's folder" in errors_of(check_entry(entry.with_name("link")))


def test_a_closed_entry_keeps_the_network(entry: Path) -> None:
    """A wider network belongs to the open division, with the runs that it made."""

    def widen(runs: JsonRuns) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["network"]["width"] = 256
            run["agent"]["feature_dims"] = [256]
            restate_hash(run)

    change_runs(entry, widen)
    change_text(entry / "recipe.toml", "width = 128", "width = 256")
    assert "its [network] isn't a baseline's" in errors_of(check_entry(entry))
    change_text(entry / "entry.toml", '"closed"', '"open"')
    assert not check_entry(entry).refused


def test_a_closed_entry_has_a_recipe_that_makes_an_agent(entry: Path) -> None:
    """A hyperparameter that the baseline doesn't know refuses it."""

    def add(runs: JsonRuns) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["training"]["luck"] = 1
            restate_hash(run)

    change_runs(entry, add)
    change_text(entry / "recipe.toml", "[training]", "[training]\nluck = 1")
    assert "makes no agent" in errors_of(check_entry(entry))


def test_everything_beside_the_entries_is_reported(template: Path, tmp_path: Path) -> None:
    """Files and links are refused by name, except git's own."""
    shutil.copytree(template, tmp_path / "entries" / "good")
    (tmp_path / "entries" / ".gitkeep").touch()
    assert not any(checked.refused for checked in check_entries(leaderboard=tmp_path))
    (tmp_path / "entries" / "code.py").touch()
    os.symlink("/etc", tmp_path / "entries" / "link")
    assert [checked.name for checked in check_entries(leaderboard=tmp_path) if checked.refused] == ["code.py", "link"]


def test_runs_of_another_entry_are_noted(template: Path, tmp_path: Path) -> None:
    """The second of two entries with the same exams has a note for each run, and isn't refused."""
    for name in ("first", "second"):
        shutil.copytree(template, tmp_path / "entries" / name)
    first, second = check_entries(leaderboard=tmp_path)
    assert first.findings == ()
    assert not second.refused
    assert len([finding for finding in second.findings if "the same exams as in 'first'" in finding.problem]) == 32


def test_an_entry_is_found_by_name_or_folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the same name elsewhere doesn't hide the leaderboard's entry."""
    stored = shutil.copytree(template, tmp_path / "entries" / "good")
    (tmp_path / "elsewhere" / "good").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_entry("good", leaderboard=tmp_path) == stored
    assert find_entry(str(template), leaderboard=tmp_path) == template
    (checked,) = check_entries(["good"], leaderboard=tmp_path)
    assert checked.name == "good"
    assert not checked.refused


def test_an_unknown_name_is_an_error_with_a_suggestion(template: Path, tmp_path: Path) -> None:
    """It is a mistake of the caller, not a refused entry."""
    shutil.copytree(template, tmp_path / "entries" / "good")
    with pytest.raises(EntryError, match=r"there is no entry 'god' in .*entries: .*did you mean 'good'\?"):
        check_entries(["god"], leaderboard=tmp_path)
    with pytest.raises(EntryError, match=r"there is no folder .*nowhere"):
        check_entries(leaderboard=tmp_path / "nowhere")
