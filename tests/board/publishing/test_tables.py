"""The tables in the README: ranks, cells, and text that must stay text."""

from pathlib import Path

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import standings
from grokbench.board.publishing.tables import BOARD_COLUMNS, board
from tests.support.entries import good_runs, write_good_entry
from tests.support.tables import table_rows


def board_of(leaderboard: Path) -> str:
    """The tables of a leaderboard."""
    return board(standings(check_entries(leaderboard=leaderboard)))


def test_the_fastest_is_first_and_equals_share_a_rank(leaderboard: Path) -> None:
    """Two entries that can't be told apart are both second."""
    rows = [row for row in table_rows(board_of(leaderboard)) if "pages/" in row[1]]
    assert [row[0] for row in rows] == ["1", "2", "2"]
    assert "pages/fast.md" in rows[0][1]


def test_cells_are_those_of_the_standing(leaderboard: Path) -> None:
    """Score with interval, solved runs, comparison, final rank and trust, in the order of the columns."""
    (fast, *_) = standings(check_entries(leaderboard=leaderboard))
    low, high = fast.interval
    header, *rows = table_rows(board_of(leaderboard))
    assert header == list(BOARD_COLUMNS)
    assert rows[0][2:] == [
        f"×{fast.score:.2f} ({low:.2f}–{high:.2f})",
        "yes",
        "30/30",
        fast.final_rank_text,
        "consistent",
    ]


def test_divisions_have_tables_of_their_own(leaderboard: Path) -> None:
    """An open entry isn't ranked among the closed ones."""
    write_good_entry(leaderboard / "entries" / "open", good_runs(around=300, luck=2), division="open")
    text = board_of(leaderboard)
    assert text.index("## `mini`, closed division") < text.index("## `mini`, open division")
    ranks = {row[1].split("pages/")[1]: row[0] for row in table_rows(text) if "pages/" in row[1]}
    assert ranks["open.md)"] == ranks["fast.md)"] == "1"


def test_an_unsolved_entry_has_no_rank(leaderboard: Path) -> None:
    """It is listed last."""
    write_good_entry(leaderboard / "entries" / "never", good_runs(around=1e9, luck=2))
    rows = [row for row in table_rows(board_of(leaderboard)) if "pages/" in row[1]]
    assert rows[-1][0] == "unsolved"
    assert "pages/never.md" in rows[-1][1]


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
