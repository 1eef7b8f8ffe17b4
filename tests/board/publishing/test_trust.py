"""Trust in an entry: what raises it, what lowers it, and what is no reproduction."""

from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.trust import TRUST_LEGEND, Trust, reproductions, trust
from grokbench.results.sequential import MOST_ROUNDS, Decision
from tests.support.entries import change_text, good_runs, write_good_entry
from tests.support.verdicts import RUN, add_verdict


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """A leaderboard of one entry."""
    write_good_entry(tmp_path / "entries" / "first")
    return tmp_path


def standings_by_name(leaderboard: Path) -> dict[str, Standing]:
    """The accepted entries by their names."""
    return {standing.entry.name: standing for standing in standings(check_entries(leaderboard=leaderboard))}


def trust_in(leaderboard: Path, name: str = "first") -> Trust:
    """The trust that the entry has reached."""
    by_name = standings_by_name(leaderboard)
    return trust(by_name[name], list(by_name.values()))


def test_trust_grows_with_good_verdicts(leaderboard: Path) -> None:
    """A re-execution without a sandbox counts less."""
    assert trust_in(leaderboard) == "consistent"
    add_verdict(leaderboard, sandboxed=False)
    assert trust_in(leaderboard) == "re-executed, no sandbox"
    add_verdict(leaderboard)
    assert trust_in(leaderboard) == "re-executed"


@pytest.mark.parametrize("changes", [{"differing": [RUN]}, {"failed": ["out of memory"]}, {"decision": Decision.CONTRADICTED}])
def test_a_failure_stays(leaderboard: Path, changes: dict[str, Any]) -> None:
    """Whatever comes after it."""
    add_verdict(leaderboard, **changes)
    add_verdict(leaderboard)
    assert trust_in(leaderboard) == "FAILED re-execution"


def test_rounds_that_decide_nothing_are_a_level_of_their_own(leaderboard: Path) -> None:
    """Whatever was decided without a sandbox. A verdict that confirms goes before it."""
    add_verdict(leaderboard, sandboxed=False)
    add_verdict(leaderboard, decision=Decision.UNDECIDED, fresh={RUN[0]: {"claimed": [100], "new": [100] * MOST_ROUNDS}})
    assert trust_in(leaderboard) == "re-executed, undecided"
    add_verdict(leaderboard)
    assert trust_in(leaderboard) == "re-executed"


def test_a_verdict_that_was_cut_short_confirms_nothing(leaderboard: Path) -> None:
    """Time ran out before the evidence decided."""
    add_verdict(leaderboard, decision=Decision.UNDECIDED)
    assert trust_in(leaderboard) == "consistent"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("recipe.toml", "[training]", "# changed\n[training]"),
        ("runs.jsonl", '"seconds":1.0', '"seconds":2.0'),
        ("entry.toml", 'division = "closed"', 'division = "open"'),
    ],
)
def test_a_verdict_lapses_when_what_it_depends_on_changes(leaderboard: Path, name: str, old: str, new: str) -> None:
    """Because the digest covers it."""
    add_verdict(leaderboard, failed=["x"])
    change_text(leaderboard / "entries" / "first" / name, old, new)
    assert trust_in(leaderboard) == "consistent"


@pytest.mark.parametrize(("old", "new"), [("title = ", "title = 'Another' # "), ("description = ", "description = 'x' # ")])
def test_a_verdict_outlives_a_change_of_texts(leaderboard: Path, old: str, new: str) -> None:
    """So a misprint can be mended without hours of computing, and mending one sheds no failure."""
    add_verdict(leaderboard, failed=["x"])
    change_text(leaderboard / "entries" / "first" / "entry.toml", old, new)
    assert trust_in(leaderboard) == "FAILED re-execution"


def reproduce(leaderboard: Path, **changes: Any) -> None:
    """Add an entry that reproduces the first, and re-execute both."""
    form = {"authors": ["B. Else"], "reproduces": "first", "runs": good_runs(luck=1)} | changes
    write_good_entry(leaderboard / "entries" / "second", **form)
    for name in ("first", "second"):
        add_verdict(leaderboard, name)


def test_an_entry_is_reproduced_by_other_people(leaderboard: Path) -> None:
    """Whose runs can't be told apart. A later failure of the original counts more."""
    reproduce(leaderboard)
    assert trust_in(leaderboard) == "reproduced"
    assert trust_in(leaderboard, "second") == "re-executed"
    add_verdict(leaderboard, failed=["x"])
    assert trust_in(leaderboard) == "FAILED re-execution"


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
def test_some_entries_are_no_reproduction(leaderboard: Path, changes: dict[str, Any]) -> None:
    """The original stays re-executed."""
    reproduce(leaderboard, **changes)
    assert trust_in(leaderboard) == "re-executed"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("Zoë Ångström", normalize("NFD", "Zoë Ångström"), id="composed and decomposed"),
        pytest.param("Nguyễn", "Nguye\u0302\u0303n", id="two accents"),
        pytest.param("김", "\u1100\u1175\u11b7", id="a syllable of three letters"),
        pytest.param("A. Weiß", "A. WEISS", id="capitals of another length"),
        pytest.param("A. Nonymous", "Ａ. Nonymous", id="full width"),
        pytest.param("\u0390annis", normalize("NFD", "\u0390annis").upper(), id="capitals of a decomposed letter"),
    ],
)
def test_a_name_in_another_spelling_is_the_same_author(tmp_path: Path, first: str, second: str) -> None:
    """Letters that Unicode composes in several ways, case, and variants of a letter."""
    write_good_entry(tmp_path / "entries" / "first", authors=[first])
    reproduce(tmp_path, authors=[second])
    assert trust_in(tmp_path) == "re-executed"


def test_a_reproduction_with_another_result_is_kept(leaderboard: Path) -> None:
    """With its p-value."""
    reproduce(leaderboard, runs=good_runs(around=2_000))
    by_name = standings_by_name(leaderboard)
    (reproduction,) = reproductions(by_name["first"], list(by_name.values()))
    assert reproduction.p < 0.05
    assert not reproduction.agrees


@pytest.mark.parametrize("changes", [None, {"decision": Decision.CONTRADICTED}], ids=["never re-executed", "failed"])
def test_a_reproduction_must_be_re_executed(leaderboard: Path, changes: dict[str, Any] | None) -> None:
    """Runs that nobody repeated confirm nothing."""
    write_good_entry(leaderboard / "entries" / "second", good_runs(luck=1), authors=["B. Else"], reproduces="first")
    add_verdict(leaderboard, "first")
    if changes is not None:
        add_verdict(leaderboard, "second", **changes)
    assert trust_in(leaderboard) == "re-executed"


def test_the_legend_has_every_level() -> None:
    """In the order of trust."""
    assert list(TRUST_LEGEND) == list(Trust)


def test_a_lapsed_verdict_confirms_no_reproduction(leaderboard: Path) -> None:
    """The verdict was on files that the reproduction no longer has."""
    reproduce(leaderboard)
    with (leaderboard / "entries" / "second" / "recipe.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert trust_in(leaderboard) == "re-executed"


def test_a_reproduction_needs_a_verdict_on_the_original_too(leaderboard: Path) -> None:
    """Without it the original stays consistent."""
    write_good_entry(leaderboard / "entries" / "second", good_runs(luck=1), authors=["B. Else"], reproduces="first")
    add_verdict(leaderboard, "second")
    assert trust_in(leaderboard) == "consistent"
