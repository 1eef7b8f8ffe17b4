"""Verdicts and how far a row can be believed: what is kept, what lapses, what stays, and files that mean no good."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries.checks import check_all, check_entry
from grokbench.board.entries.verdicts import Times, Verdict, read_verdicts, save_verdict, verdict_file
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.tables import board
from grokbench.board.publishing.trust import reproductions, trust
from grokbench.runs.provenance import Provenance
from tests.support.entries import good_runs, write

CELL = ("add_mod47-0.7-v1", 3)
LEADERBOARD = Path(__file__).resolve().parents[3] / "leaderboard"


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """A leaderboard of one entry."""
    write(tmp_path / "entries" / "first")
    return tmp_path


def verdict(leaderboard: Path, name: str = "first", **changes: Any) -> Verdict:
    """A good verdict on the entry as it is, but for some changes; kept."""
    entry = check_entry(leaderboard / "entries" / name).entry
    assert entry is not None
    content: dict[str, Any] = {
        "digest": entry.digest,
        "salt": "s",
        "runs": [CELL],
        "repeated": [CELL],
        "differing": [],
        "fresh": {CELL[0]: Times(claimed=[1_000, 1_200], new=[1_100])},
        "p": 0.5,
        "failed": [],
        "sandboxed": True,
        "provenance": Provenance(
            versions={"python": "3.11"}, device="cpu", dtype="float32", threads=2, commit=None, dirty=None
        ),
    }
    one = Verdict(**content | changes)
    save_verdict(leaderboard, name, one)
    return one


def standing(leaderboard: Path) -> dict[str, Standing]:
    """Those that stand, by name."""
    return {one.entry.name: one for one in standings(check_all(leaderboard / "entries"))}


def level(leaderboard: Path, name: str = "first") -> str:
    """The trust that the entry has reached."""
    found = standing(leaderboard)
    return trust(found[name], list(found.values()))


def test_the_levels(leaderboard: Path) -> None:
    """Consistent, re-executed without a sandbox, re-executed; one failure stays, whatever comes after it."""
    assert level(leaderboard) == "consistent"
    verdict(leaderboard, sandboxed=False)
    assert level(leaderboard) == "re-executed, no sandbox"
    verdict(leaderboard)
    assert level(leaderboard) == "re-executed"
    verdict(leaderboard, p=0.009)
    verdict(leaderboard)
    assert level(leaderboard) == "FAILED re-execution"
    assert "| FAILED re-execution" in board(check_all(leaderboard / "entries"))
    assert "0&#46;009" not in page(standing(leaderboard)["first"], [])
    assert "0.0090" in page(standing(leaderboard)["first"], [])


@pytest.mark.parametrize("changes", [{"differing": [CELL]}, {"failed": ["out of memory"]}, {"p": 0.0}])
def test_what_fails(leaderboard: Path, changes: dict[str, Any]) -> None:
    """Runs that differ where they mustn't, runs that don't end, runs that are slower."""
    assert not verdict(leaderboard, **changes).passed
    assert level(leaderboard) == "FAILED re-execution"


@pytest.mark.parametrize("name", ["entry.toml", "recipe.toml", "runs.jsonl"])
def test_a_verdict_lapses_with_any_change(leaderboard: Path, name: str) -> None:
    """The digest is of every file; the page says that the verdict was on others."""
    verdict(leaderboard, failed=["x"])
    path = leaderboard / "entries" / "first" / name
    before = check_entry(path.parent).entry
    if name == "runs.jsonl":
        path.write_bytes(path.read_bytes().replace(b'"seconds":1.0', b'"seconds":2.0', 1))
    else:
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
    after = check_entry(path.parent).entry
    assert before is not None
    assert after is not None
    assert before.digest != after.digest
    assert level(leaderboard) == "consistent"
    assert "earlier files" in page(standing(leaderboard)["first"], [])


def test_verdicts_are_kept_in_order(leaderboard: Path) -> None:
    """What is written is what is read, the newest last, a line each."""
    written = tuple(verdict(leaderboard, salt=salt) for salt in ("a", "b", "c"))
    assert read_verdicts(leaderboard, "first") == (written, [])
    assert len(verdict_file(leaderboard, "first").read_text(encoding="utf-8").splitlines()) == 5


def reproduce(leaderboard: Path, **changes: Any) -> None:
    """An entry that reproduces the first, re-executed as that is."""
    form = {"authors": ["B. Else"], "reproduces": "first", "runs": good_runs(luck=1)} | changes
    write(leaderboard / "entries" / "second", **form)
    for name in ("first", "second"):
        verdict(leaderboard, name)


def test_a_reproduction(leaderboard: Path) -> None:
    """Other people's runs that can't be told apart; the page names them with p."""
    reproduce(leaderboard)
    assert level(leaderboard) == "reproduced"
    assert level(leaderboard, "second") == "re-executed"
    found = standing(leaderboard)
    assert "](second.md): ×" in page(found["first"], list(found.values()))
    verdict(leaderboard, failed=["x"])
    assert level(leaderboard) == "FAILED re-execution"


@pytest.mark.parametrize(
    "changes",
    [
        {"authors": ["someone", "a.  NONYMOUS"]},
        {"reproduces": None},
        {"runs": good_runs()},
        {"runs": good_runs(around=2_000)},
    ],
    ids=["the same author", "not meant as one", "the same runs", "another result"],
)
def test_what_is_no_reproduction(leaderboard: Path, changes: dict[str, Any]) -> None:
    """The row stays re-executed."""
    reproduce(leaderboard, **changes)
    assert level(leaderboard) == "re-executed"


def test_a_reproduction_that_differs_is_told(leaderboard: Path) -> None:
    """On the page, with p."""
    reproduce(leaderboard, runs=good_runs(around=2_000))
    found = standing(leaderboard)
    (one,) = reproductions(found["first"], list(found.values()))
    assert one.p < 0.05
    assert "DIFFERS" in page(found["first"], list(found.values()))


def test_a_reproduction_is_re_executed_itself(leaderboard: Path) -> None:
    """Neither runs that nobody ran again nor failed ones make an entry reproduced."""
    reproduce(leaderboard)
    verdict_file(leaderboard, "second").unlink()
    assert level(leaderboard) == "re-executed"
    verdict(leaderboard, "second", p=0.0)
    assert level(leaderboard) == "re-executed"


HOSTILE = [
    (b"", "Invalid JSON"),
    (b"\xff\xfe", "Invalid JSON"),
    (b"[]", "at least 1 item"),
    (b"{}", "valid array"),
    (b"[" * 100_000, "Invalid JSON"),
    (b"[{}]", "0.digest: Field required"),
    (b" " * (2 << 20), "has 2,097,152 bytes, more than"),
]


@pytest.mark.parametrize(("content", "problem"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_broken_file_is_named(leaderboard: Path, content: bytes, problem: str) -> None:
    """A finding that refuses the entry, as a failure may have stood in it; nothing is written over it."""
    good = verdict(leaderboard)
    verdict_file(leaderboard, "first").write_bytes(content)
    (checked,) = check_all(leaderboard / "entries")
    assert checked.refused
    assert "verdicts/first.json: " in str(checked.findings[0])
    assert problem in str(checked.findings[0])
    with pytest.raises(ValueError, match=r"verdicts/first\.json"):
        save_verdict(leaderboard, "first", good)


@pytest.mark.parametrize(
    ("key", "value"),
    [("p", 2.0), ("p", float("nan")), ("passed", True), ("digest", "../x"), ("runs", [["x", -1]]), ("sandboxed", "yes")],
)
def test_a_verdict_is_strict(leaderboard: Path, key: str, value: Any) -> None:
    """No key that it doesn't know, no value that can't be."""
    verdict(leaderboard)
    path = verdict_file(leaderboard, "first")
    content = json.loads(path.read_text(encoding="utf-8"))
    content[0][key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    assert key in str(read_verdicts(leaderboard, "first")[1][0])


def test_hostile_words_stay_text(leaderboard: Path) -> None:
    """What an agent's error said is text on the page."""
    verdict(leaderboard, failed=["<img src=x> | [a](http://b)\n# @all"])
    text = page(standing(leaderboard)["first"], [])
    assert "<img" not in text
    assert "](http://b)" not in text
    assert "&#60;img src&#61;x&#62;" in text


def test_what_does_not_belong_there(leaderboard: Path) -> None:
    """A file of no entry is named and refused; a link isn't followed."""
    verdict(leaderboard)
    (leaderboard / "verdicts" / "\u202egone.json").write_text("[]", encoding="utf-8")
    first, stray = check_all(leaderboard / "entries")
    assert not first.refused
    assert stray.refused
    assert stray.name == r"verdicts/\u202egone.json"
    path = verdict_file(leaderboard, "first")
    path.rename(leaderboard / "elsewhere.json")
    os.symlink(leaderboard / "elsewhere.json", path)
    assert "isn't a plain file" in str(read_verdicts(leaderboard, "first")[1][0])


def test_the_committed_schema_is_the_verdicts() -> None:
    """`leaderboard/schemas/verdict.schema.json` is what the code checks."""
    committed = json.loads((LEADERBOARD / "schemas" / "verdict.schema.json").read_text(encoding="utf-8"))
    assert committed == Verdict.model_json_schema()
