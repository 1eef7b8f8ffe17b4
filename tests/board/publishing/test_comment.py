"""The comment on a pull request: findings, or how the entry compares with the others."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from grokbench.board.entries.checks import Checked, check_entry
from grokbench.board.entries.findings import Finding
from grokbench.board.publishing.comment import MARK, comment, comment_without_entry
from tests.support.entries import change_runs, good_runs, write_good_entry


def test_a_good_entry_is_compared_with_the_others(leaderboard: Path) -> None:
    """Faster, slower and indistinguishable entries are named, the best first."""
    same, slow, fast = (check_entry(leaderboard / "entries" / name) for name in ("same", "slow", "fast"))
    text = comment(fast, [same, slow])
    assert "**Score ×" in text
    assert "It is faster than `" in text
    text = comment(slow, [same, slow, fast])
    assert "The best so far is `fast`, ×" in text
    assert "It is slower than `fast` (×" in text
    assert "It is not distinguishable from `same` (×" in text


def test_the_first_entry_of_its_division(leaderboard: Path, tmp_path: Path) -> None:
    """It has nothing to be compared with."""
    alone = check_entry(write_good_entry(tmp_path / "open", division="open"))
    assert "the first entry of its suite and division" in comment(alone, [check_entry(leaderboard / "entries" / "fast")])


def test_notes_are_listed(tmp_path: Path) -> None:
    """They don't refuse the entry."""
    text = comment(check_entry(write_good_entry(tmp_path / "fast", good_runs(around=20))), [])
    assert "**Score ×" in text
    assert "- note&#58; runs&#46;jsonl" in text


def test_a_refused_entry_gets_all_findings_as_text(entry: Path) -> None:
    """A hostile file name is shown, not read."""
    (entry / "<img src=x>.png").write_bytes(b"x")
    change_runs(entry, lambda runs: [runs.pop(0), runs.pop(0)])
    text = comment(check_entry(entry), [])
    assert "The entry is refused: 3 findings, 30 runs are sound." in text
    assert "<img" not in text
    assert "doesn&#39;t belong to an entry" in text


def test_a_long_list_of_findings_ends(tmp_path: Path) -> None:
    """With the command that prints all of them."""
    folder = write_good_entry(tmp_path / "bad")
    for number in range(60):
        (folder / f"{number}.txt").touch()
    text = comment(check_entry(folder), [])
    assert text.count("- error") == 50
    assert text.endswith("- and 10 more: `grokbench check bad` prints all\n")


def test_p_values_are_corrected_for_the_number_of_rivals(leaderboard: Path) -> None:
    """By Holm: against two rivals the smaller p is doubled."""
    same, slow, fast = (check_entry(leaderboard / "entries" / name) for name in ("same", "slow", "fast"))

    def p_against_fast(others: list[Checked]) -> float:
        found = re.search(r"`fast` \(×[0-9.]+, p = ([0-9.e-]+)\)", comment(slow, others))
        assert found
        return float(found[1])

    assert p_against_fast([same, fast]) == pytest.approx(2 * p_against_fast([fast]), rel=0.01)


def test_without_a_reference_there_is_no_score(entry: Path) -> None:
    """The entry is accepted nevertheless."""
    checked = check_entry(entry)
    assert checked.entry is not None
    form = checked.entry.form.model_copy(update={"suite": "full"})
    text = comment(replace(checked, entry=replace(checked.entry, form=form)), [])
    assert "Its suite has no pinned reference yet, so there is no score." in text
    assert "×" not in text
    note = Finding("entry.toml", "", "replaces the entry of A", "ask", refused=False)
    assert "replaces the entry of A" in comment(replace(checked, entry=replace(checked.entry, form=form), findings=(note,)), [])


def test_every_comment_has_the_mark(entry: Path) -> None:
    """By which the workflow finds it. Nothing of the pull request can end it or add another."""
    for text in (comment(check_entry(entry), []), comment_without_entry(f"{MARK} <b>\n# touches 'x' too")):
        assert text.startswith(f"{MARK}\n### ")
        assert text.count("<") == 1
        assert text.count("\n") >= 2
