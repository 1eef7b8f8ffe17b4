"""The tables in the README: ranks, cells, and text that must stay text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import standings
from grokbench.board.publishing.tables import BOARD_COLUMNS, board
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import Tuning
from tests.support.entries import good_runs, make_tuning, write_good_entry
from tests.support.tables import table_rows

SPACE = Space.of(find_recipe("transformer"))
TUNING, _ = make_tuning(SPACE)


class Steady(Tuning):
    """A tuning without luck."""

    spread = 0.0


STEADY = Steady(**vars(TUNING))


def board_of(
    leaderboard: Path, *, tuned: Sequence[str] = ("slow", "same", "fast", "never", "open"), tuning: Tuning = STEADY
) -> str:
    """The tables of a leaderboard, on which these entries were tuned."""
    rows = standings(check_entries(leaderboard=leaderboard))
    return board([replace(row, tuning=tuning) if row.entry.name in tuned else row for row in rows])


def ranks(text: str) -> dict[str, str]:
    """Entry → what stands in place of its rank, in the order of the rows."""
    return {row[1].split("pages/")[1].removesuffix(".md)"): row[0] for row in table_rows(text) if "pages/" in row[1]}


def test_the_fastest_is_first_and_equals_share_a_rank(leaderboard: Path) -> None:
    """Two entries that can't be told apart are both second."""
    assert ranks(board_of(leaderboard)) == {"fast": "1", "same": "2", "slow": "2"}


def test_what_the_luck_of_tuning_explains_shares_a_rank(leaderboard: Path) -> None:
    """Twice as fast isn't enough where tuning alone moves times by a quarter on both sides."""
    assert TUNING.spread > 0.2
    assert ranks(board_of(leaderboard, tuning=TUNING)) == {"fast": "1", "same": "1", "slow": "1"}


def test_only_tuned_methods_in_the_closed_division_have_a_rank(leaderboard: Path) -> None:
    """The others stand below, and the table says why."""
    write_good_entry(leaderboard / "entries" / "open", good_runs(around=300, luck=2), division="open")
    found = ranks(board_of(leaderboard, tuned=("slow", "open")))
    assert found == {"slow": "1", "open": "open", "fast": "untuned", "same": "untuned"}
    assert ranks(board_of(leaderboard, tuned=("slow",)))["open"] == "open, untuned"
    assert board_of(leaderboard).count("## `mini`") == 1


def test_cells_are_those_of_the_standing(leaderboard: Path) -> None:
    """Score with interval, solved runs, final rank, delay and trust, in the order of the columns."""
    (fast, *_) = standings(check_entries(leaderboard=leaderboard))
    header, *rows = table_rows(board_of(leaderboard, tuned=()))
    assert header == list(BOARD_COLUMNS)
    assert rows[0][2:] == [fast.score_text, "30/30", fast.final_rank_text, f"×{fast.delay:.1f}", "consistent"]


def test_the_spread_of_tuning_widens_the_interval(leaderboard: Path) -> None:
    """That of the entry and that of the reference, in quadrature."""
    (fast, *_) = standings(check_entries(leaderboard=leaderboard))
    tuned = replace(fast, tuning=TUNING)
    assert tuned.interval[0] < fast.interval[0] < fast.score < fast.interval[1] < tuned.interval[1]


def test_ranks_compare_methods_on_the_same_network(leaderboard: Path) -> None:
    """The slowest of all is first on its own network. A table stands under the name of its network."""
    write_good_entry(leaderboard / "entries" / "deep", good_runs("transformer2", around=2_000))
    text = board_of(leaderboard, tuned=("slow", "same", "fast", "deep"))
    assert ranks(text) == {"fast": "1", "same": "2", "slow": "2", "deep": "1"}
    headings = [line for line in text.splitlines() if line.startswith("##")]
    assert headings[:3] == ["## `mini`", "### One-layer transformer", "### Two-layer transformer"]


def test_an_unsolved_entry_has_no_rank(leaderboard: Path) -> None:
    """It is listed last."""
    write_good_entry(leaderboard / "entries" / "never", good_runs(around=1e9, luck=2))
    assert list(ranks(board_of(leaderboard)).items())[-1] == ("never", "unsolved")


def test_a_refused_entry_is_left_out(leaderboard: Path) -> None:
    """The others are listed."""
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    text = board_of(leaderboard)
    assert "pages/slow.md" not in text
    assert "pages/same.md" in text


def test_a_hostile_title_stays_text(leaderboard: Path) -> None:
    """No tag and no link of the title's own reaches the README."""
    text = board_of(leaderboard)
    assert "<img" not in text
    assert "](http://b)" not in text


def test_the_legend_explains_every_column() -> None:
    """A table has at most seven, and each is explained."""
    assert len(BOARD_COLUMNS) <= 7
    assert all(meaning.endswith(".") for meaning in BOARD_COLUMNS.values())


def test_an_empty_leaderboard_says_so(tmp_path: Path) -> None:
    """Instead of a legend without tables."""
    (tmp_path / "entries").mkdir()
    assert board_of(tmp_path) == "There are no accepted entries yet."
