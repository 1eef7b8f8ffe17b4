"""Verdict files: what is kept, in which order, and files that are broken or hostile."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import check_entries
from grokbench.board.entries.verdicts import (
    ComparedTimes,
    OtherFamily,
    Pace,
    last_look,
    read_verdicts,
    save_verdict,
    verdict_file,
)
from grokbench.errors import EntryError
from grokbench.results.sequential import Decision
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


@pytest.mark.parametrize(
    "changes",
    [
        {"differing": [RUN]},
        {"failed": ["out of memory"]},
        {"decision": Decision.CONTRADICTED},
        {"pace": Pace(entry_seconds=1.9, adamw_seconds=1.0)},
        {"other_family": OtherFamily(task="compose_s4-0.9-v1", right=5, limit=13)},
    ],
    ids=str,
)
def test_a_verdict_fails(leaderboard: Path, changes: dict[str, Any]) -> None:
    """If a run differs, doesn't end or is slower, a step has a second pass, or nothing is learned elsewhere."""
    verdict = add_verdict(leaderboard, **changes)
    assert not verdict.passed
    assert str(verdict).endswith("NOT PASSED")
    assert add_verdict(leaderboard).passed


def test_a_verdict_in_words(leaderboard: Path) -> None:
    """Runs, times, problems and p, and whether a sandbox was missing."""
    lines = str(add_verdict(leaderboard, sandboxed=False, differing=[RUN], repeated=[])).splitlines()
    assert lines[0] == "run again: add_mod47-0.35-v1 seed 3; repeated to the bit: 0 of 1"
    assert lines[1] == "add_mod47-0.35-v1: claimed mean 1,100 steps, 2 new runs 1,100"
    assert lines[2] == "claimed times: confirmed after 2 rounds (p = 0.5000 slower, 0.0010 too fast)"
    assert lines[3] == "mean time, fresh over claimed: ×1.00 (0.83–1.20)"
    assert lines[4] == "a step takes 1.20 times as long as AdamW's"
    assert lines[5] == "add_mod47-0.35-v1 seed 3 differs on the same machine, versions, threads and code"
    assert lines[6] == "the agent ran without a sandbox"


def test_a_verdict_without_enough_rounds_is_cut_short(leaderboard: Path) -> None:
    """It is held against nobody, and confirms nothing."""
    verdict = add_verdict(leaderboard, decision=Decision.UNDECIDED)
    assert verdict.passed
    assert verdict.cut_short
    assert "undecided, cut short after 2 rounds" in str(verdict)


def test_the_decision_follows_from_the_times(leaderboard: Path) -> None:
    """A verdict has what is needed to compute it again."""
    claimed, new = [1_000 + seed for seed in range(10)], [3_000, 3_100]
    tasks = ("sub_mod37-0.6-v1", "add_mod47-0.35-v1", "div_mod43-0.55-v1")
    fresh = {task: ComparedTimes(claimed=claimed, new=new) for task in tasks}
    verdict = add_verdict(leaderboard, fresh=fresh, decision=Decision.CONTRADICTED)
    assert verdict.recomputed() == verdict.decision
    assert verdict.rounds == 2


@pytest.mark.parametrize("name", sorted(path.stem for path in (LEADERBOARD / "verdicts").glob("*.json")))
def test_the_decisions_of_the_leaderboard_follow_from_its_times(name: str) -> None:
    """And so do the p-values."""
    verdicts, _ = read_verdicts(LEADERBOARD, name)
    for verdict in verdicts:
        look = last_look(verdict.fresh)
        assert verdict.recomputed() == verdict.decision
        assert (verdict.slower_p, verdict.too_fast_p) == pytest.approx((look.slower, look.too_fast))


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
    [
        ("slower_p", 2.0),
        ("slower_p", float("nan")),
        ("passed", True),
        ("digest", "../x"),
        ("runs", [["x", -1]]),
        ("sandboxed", "yes"),
    ],
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
