"""Verdict files: what is kept, in which order, and files that are broken or hostile."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries.checks import check_entries
from grokbench.board.entries.verdicts import read_verdicts, save_verdict, verdict_file
from grokbench.errors import EntryError
from tests.support.entries import write_good_entry
from tests.support.verdicts import RUN, add_verdict


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """A leaderboard of one entry."""
    write_good_entry(tmp_path / "entries" / "first")
    return tmp_path


def test_verdicts_are_kept_in_order(leaderboard: Path) -> None:
    """They are read as they were written, the newest last, one on each line."""
    written = tuple(add_verdict(leaderboard, salt=salt) for salt in ("a", "b", "c"))
    assert read_verdicts(leaderboard, "first") == (written, [])
    assert len(verdict_file(leaderboard, "first").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("changes", [{"differing": [RUN]}, {"failed": ["out of memory"]}, {"p": 0.0099}])
def test_a_verdict_fails(leaderboard: Path, changes: dict[str, Any]) -> None:
    """If a run differs where it mustn't, doesn't end, or is significantly slower."""
    verdict = add_verdict(leaderboard, **changes)
    assert not verdict.passed
    assert str(verdict).endswith("NOT PASSED")
    assert add_verdict(leaderboard, p=0.01).passed


def test_a_verdict_in_words(leaderboard: Path) -> None:
    """Runs, times, problems and p, and whether a sandbox was missing."""
    lines = str(add_verdict(leaderboard, sandboxed=False, differing=[RUN], repeated=[])).splitlines()
    assert lines[0] == "run again: add_mod47-0.7-v1 seed 3; repeated to the bit: 0 of 1"
    assert lines[1] == "add_mod47-0.7-v1: claimed mean 1,100 steps, 1 new runs 1,100"
    assert lines[2] == "add_mod47-0.7-v1 seed 3 differs on the same machine, versions, threads and code"
    assert lines[3].startswith("p = 0.5000")
    assert lines[4] == "the agent ran without a sandbox"


BROKEN = [
    (b"", "Invalid JSON"),
    (b"\xff\xfe", "Invalid JSON"),
    (b"[]", "at least 1 item"),
    (b"{}", "valid array"),
    (b"[" * 100_000, "Invalid JSON"),
    (b"[{}]", "0.digest: Field required"),
    (b" " * (2 << 20), "has 2,097,152 bytes, more than"),
]


@pytest.mark.parametrize(("content", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_refuses_the_entry(leaderboard: Path, content: bytes, problem: str) -> None:
    """It may have held a failure, so nothing is written over it."""
    good = add_verdict(leaderboard)
    verdict_file(leaderboard, "first").write_bytes(content)
    (checked,) = check_entries(leaderboard=leaderboard)
    assert checked.refused
    assert "verdicts/first.json: " in str(checked.findings[0])
    assert problem in str(checked.findings[0])
    with pytest.raises(EntryError, match=r"verdicts/first\.json"):
        save_verdict(good, "first", leaderboard=leaderboard)
    assert verdict_file(leaderboard, "first").read_bytes() == content


@pytest.mark.parametrize(
    ("key", "value"),
    [("p", 2.0), ("p", float("nan")), ("passed", True), ("digest", "../x"), ("runs", [["x", -1]]), ("sandboxed", "yes")],
)
def test_a_verdict_is_strict(leaderboard: Path, key: str, value: Any) -> None:
    """Unknown keys and impossible values are findings."""
    add_verdict(leaderboard)
    path = verdict_file(leaderboard, "first")
    content = json.loads(path.read_text(encoding="utf-8"))
    content[0][key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    _, (finding,) = read_verdicts(leaderboard, "first")
    assert key in str(finding)


def test_a_file_of_no_entry_is_refused(leaderboard: Path) -> None:
    """By a printable name; the entries themselves are not."""
    add_verdict(leaderboard)
    (leaderboard / "verdicts" / "\u202egone.json").write_text("[]", encoding="utf-8")
    first, stray = check_entries(leaderboard=leaderboard)
    assert not first.refused
    assert stray.refused
    assert stray.name == r"verdicts/\u202egone.json"


def test_a_link_is_not_followed(leaderboard: Path) -> None:
    """Even to a good file."""
    add_verdict(leaderboard)
    path = verdict_file(leaderboard, "first")
    path.rename(leaderboard / "elsewhere.json")
    os.symlink(leaderboard / "elsewhere.json", path)
    _, (finding,) = read_verdicts(leaderboard, "first")
    assert "isn't a plain file" in str(finding)
