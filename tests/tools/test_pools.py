"""The pools that simulations draw from."""

from pathlib import Path

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import standings
from tests.support.entries import write_good_entry
from tests.support.verdicts import add_verdict
from tools.pools import pool_of


def test_a_pool_has_official_and_fresh_times(tmp_path: Path) -> None:
    """Of every task the ten official ones, then those of the verdicts on the present files."""
    write_good_entry(tmp_path / "entries" / "first")
    verdict = add_verdict(tmp_path)
    add_verdict(tmp_path, digest="0" * 64)
    (first,) = standings(check_entries(leaderboard=tmp_path))
    fresh = [verdict.fresh[task.id].new if task.id in verdict.fresh else [] for task in first.tasks]
    assert [times.tolist() for times in pool_of(first)] == [a + b for a, b in zip(first.samples, fresh, strict=True)]
