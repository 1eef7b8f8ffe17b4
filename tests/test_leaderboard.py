"""The committed leaderboard: its entries are accepted, and everything generated from them is up to date."""

from grokbench.board.publishing import parquet
from grokbench.board.publishing.publish import stale_files
from tests.support.committed import LEADERBOARD, ONE_WORKER, committed
from tests.support.entries import errors_of

pytestmark = ONE_WORKER


def test_the_committed_entries_are_accepted() -> None:
    """No finding refuses any of them."""
    assert [errors_of(checked) for checked in committed() if checked.refused] == []


def test_the_committed_files_are_up_to_date() -> None:
    """Tables, pages and schemas are those that the entries and the code give."""
    assert stale_files(committed(), LEADERBOARD) == [], "run `make board`"


def test_the_committed_files_hold_the_entries() -> None:
    """Contents, not bytes, which depend on the writer's version; and an entry stays small in them."""
    for name, path in parquet.files(LEADERBOARD).items():
        assert parquet.read_rows(path) == parquet.rows(committed(), name), "run `make board`"
        assert path.stat().st_size < len(committed()) * (160 << 10)
