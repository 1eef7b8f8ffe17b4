"""Verdicts on the entries of a leaderboard, without any re-execution."""

from pathlib import Path
from typing import Any

from grokbench.board.entries.verdicts import ComparedTimes, Pace, Verdict, save_verdict
from grokbench.results.sequential import Decision
from tests.support.entries import PROVENANCE, read_good_entry

RUN = ("add_mod47-0.35-v1", 3)


def add_verdict(leaderboard: Path, name: str = "first", **changes: Any) -> Verdict:
    """Save a good verdict on the entry's present files, with some changes."""
    content: dict[str, Any] = {
        "digest": read_good_entry(leaderboard / "entries" / name).digest,
        "salt": "s",
        "runs": [RUN],
        "repeated": [RUN],
        "differing": [],
        "fresh": {RUN[0]: ComparedTimes(claimed=[1_000, 1_200], new=[1_000, 1_200])},
        "decision": Decision.CONFIRMED,
        "slower_p": 0.5,
        "too_fast_p": 0.001,
        "pace": Pace(entry_seconds=0.012, adamw_seconds=0.01),
        "other_family": None,
        "failed": [],
        "sandboxed": True,
        "provenance": PROVENANCE,
    }
    verdict = Verdict(**content | changes)
    save_verdict(verdict, name, leaderboard=leaderboard)
    return verdict
