"""The page of an entry: all of its numbers, its verdicts, and text that must stay text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.checks import check_entries
from grokbench.board.entries.verdicts import RepeatedTuning
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.standings import Standing, standings
from grokbench.results.sequential import Decision
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import expected_steps
from tests.support.entries import good_runs, make_tuning, write_good_entry
from tests.support.tables import table_rows
from tests.support.verdicts import add_verdict


def all_standings(leaderboard: Path) -> list[Standing]:
    """The standings of a leaderboard."""
    return standings(check_entries(leaderboard=leaderboard))


def page_of(leaderboard: Path, name: str) -> str:
    """The page of an entry of a leaderboard."""
    every = all_standings(leaderboard)
    (standing,) = (standing for standing in every if standing.entry.name == name)
    return page(standing, every)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A leaderboard of one entry."""
    write_good_entry(tmp_path / "entries" / "first")
    return tmp_path


def test_the_page_has_every_result(first: Path) -> None:
    """Those that the table has no column for too."""
    (standing,) = all_standings(first)
    results = {row[0]: row[1] for row in table_rows(page_of(first, "first")) if len(row) == 2}
    assert results == {
        "result": "value",
        "suite": "`mini`, closed division",
        "score (95 % interval)": standing.score_text,
        "solved (95 % interval)": "30/30 (89%–100%)",
        "reached the threshold and left it": "0/30",
        "a run is faster than one of the reference": standing.faster_text,
        "faster than the reference?": f"not shown (p = {standing.p:.2g}, Holm-corrected over the 1 rows of the suite)",
        "delay (median of T over steps to memorize)": f"{standing.delay:.1f}",
        "final effective rank": standing.final_rank_text,
        "holds its level by": "training",
        "network": "transformer",
        "parameters": "209,792",
        "settings tried": "3 on add&#95;mod31-0&#46;7",
        "trust": "consistent",
    }


def test_a_tuned_entry_shows_what_tuning_brought(first: Path) -> None:
    """The chosen values, the expected steps after so many settings, and the figure. Other entries have none of it."""
    (standing,) = all_standings(first)
    tuning, _ = make_tuning(Space.of(find_recipe("transformer")))
    text = page(replace(standing, tuning=tuning), [standing])
    assert "![RMST over learning rate and weight decay, and over the settings tried](first-tuning.png)" in text
    (expected,) = (row for row in table_rows(text) if row[0] == "expected RMST")
    assert expected[1:] == [f"{expected_steps(tuning.sampled, count):,.0f}" for count in (1, 2, 4, 8, 16, 32)]
    assert "tuning.png" not in page(standing, [standing])


def test_the_page_has_the_commands_that_repeat_it(first: Path) -> None:
    """An agent of the entry's own has no recipe file to run."""
    text = page_of(first, "first")
    assert "grokbench run --suite mini --agents leaderboard/entries/first/recipe.toml --out runs\n" in text
    assert 'grokbench verify first --salt "$(openssl rand -hex 16)"' in text


def test_every_task_has_a_row(first: Path) -> None:
    """The control's too."""
    tasks = [row[0] for row in table_rows(page_of(first, "first")) if len(row) > 2]
    assert tasks[:4] == ["task", "sub_mod37-0.6-v1", "add_mod47-0.35-v1", "div_mod43-0.55-v1"]  # ratios to the reference
    assert tasks[4:] == ["task", "add_mod47-0.35-v1", "div_mod43-0.55-v1", "random_mod23-0.5-v1", "sub_mod37-0.6-v1"]


def test_a_verdict_shows_means_and_the_repeated_tuning(first: Path) -> None:
    """A mean tells of unsolved runs what ranks don't."""
    key = (3, "sub_mod31-0.65-v1", 0)
    add_verdict(first, tuning=RepeatedTuning(runs=[key], repeated=[key], differing=[]))
    (row,) = table_rows(page_of(first, "first"))[-1:]
    assert (row[2], row[7]) == ("1 of 1, tuning 1 of 1", "×1.00 (0.83–1.20)")


def test_verdicts_are_listed_with_their_decision(first: Path) -> None:
    """Those on earlier files too, the newest last."""
    add_verdict(first, decision=Decision.CONTRADICTED, slower_p=0.00009)
    add_verdict(first, digest="0" * 64, sandboxed=False)
    old, new = table_rows(page_of(first, "first"))[-2:]
    assert (old[0], old[4], old[6][:12], old[9][:6]) == ("these files", "yes", "contradicted", "FAILED")
    assert (new[0], new[4], new[8], new[9]) == ("earlier files", "no", "1.20", "passed")
    assert new[6] == "confirmed after 2 rounds (p = 0.5000 slower, 0.0010 too fast)"


def test_a_reproduction_is_linked(first: Path) -> None:
    """From the page of the original with its p-value, and back."""
    write_good_entry(first / "entries" / "second", good_runs(luck=1), authors=["B. Else"], reproduces="first")
    add_verdict(first, "second")
    assert "An independent reproduction of [first](first.md)." in page_of(first, "second")
    text = page_of(first, "first")
    assert "](second.md): ×" in text
    assert "not told apart from this entry (p = " in text


def test_a_hostile_title_stays_text(leaderboard: Path) -> None:
    """Tags and links in a title are shown, not read."""
    text = page_of(leaderboard, "fast")
    assert "<img" not in text
    assert "](http://b)" not in text
    assert "Fast &#60;img src&#61;x&#62;" in text


def test_hostile_words_of_an_agent_stay_text(first: Path) -> None:
    """Its error is part of a verdict."""
    add_verdict(first, failed=["<img src=x> | [a](http://b)\n# @all"])
    text = page_of(first, "first")
    assert "<img" not in text
    assert "](http://b)" not in text
    assert "&#60;img src&#61;x&#62;" in text


def test_a_reproduction_that_differs_says_so(first: Path) -> None:
    """It stays on the page of the original."""
    write_good_entry(first / "entries" / "second", good_runs(around=2_000), authors=["B. Else"], reproduces="first")
    add_verdict(first, "second")
    assert ", DIFFERS (p = " in page_of(first, "first")


def test_every_text_of_an_entry_stays_text(tmp_path: Path) -> None:
    """Authors, description and license too. A description of several paragraphs stays in its own."""
    hostile = "<b>[x](http://b)</b>"
    form: dict[str, Any] = {"authors": [hostile], "license": hostile, "description": f"{hostile}\n\n# A heading"}
    write_good_entry(tmp_path / "entries" / "first", **form)
    text = page_of(tmp_path, "first")
    assert "<b>" not in text
    assert "](http://b)" not in text
    assert "# A heading" not in text
