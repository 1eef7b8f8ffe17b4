"""Pools of honest times, which simulations draw runs from: those of the leaderboard's entries."""

import numpy as np
from numpy.typing import NDArray

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.trust import current_verdicts

Times = NDArray[np.float64]  # (runs,)


def entry_pools() -> dict[str, list[Times]]:
    """Entry → for every task of its suite min(T, budget) in steps: of its official runs, and of the fresh instances."""
    return {standing.entry.name: pool_of(standing) for standing in standings(check_entries())}


def pool_of(standing: Standing) -> list[Times]:
    """The times of an entry, task by task. The fresh instances are those of its verdicts."""
    return [np.concatenate(each) for each in zip(official_times(standing), fresh_times(standing), strict=True)]


def official_times(standing: Standing) -> list[Times]:
    """The claimed times of an entry, task by task."""
    return [np.array(sample, dtype=float) for sample in standing.samples]


def fresh_times(standing: Standing) -> list[Times]:
    """The times on fresh instances of all verdicts on an entry, task by task."""
    verdicts = current_verdicts(standing)
    return [
        np.array([time for verdict in verdicts if task.id in verdict.fresh for time in verdict.fresh[task.id].new], dtype=float)
        for task in standing.tasks
    ]
