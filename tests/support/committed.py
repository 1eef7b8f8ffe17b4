"""The committed leaderboard, checked once for all tests of a process: it takes half a minute."""

from functools import cache
from pathlib import Path

import pytest

from grokbench.board.entries.checks import Checked, check_entries

LEADERBOARD = Path(__file__).resolve().parents[2] / "leaderboard"
ONE_WORKER = pytest.mark.xdist_group("committed")


@cache
def committed() -> tuple[Checked, ...]:
    """Every committed entry with its findings, in the order of names."""
    return tuple(check_entries(leaderboard=LEADERBOARD))
