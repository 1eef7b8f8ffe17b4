"""Threads against processes: turns, ratios, and the busy neighbors."""

import pytest

from benchmarks import processes
from benchmarks.processes import CASES, SETUPS, busy_processes, measure, row, table


def test_the_ways_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setup once a round, and each goes first in turn. A ratio above 1 says that processes are faster."""
    order: list[str] = []

    def took(_case: object, setup: str, *, scale: float) -> float:
        order.append(setup)
        return {"2 threads": 3.0, "2 processes": 2.0}[setup]

    monkeypatch.setattr(processes, "seconds", took)
    taken = measure(CASES[0], rounds=2, scale=1.0)
    assert order == ["2 processes", "2 threads", "2 threads", "2 processes"]
    assert taken == {"2 threads": [3.0, 3.0], "2 processes": [2.0, 2.0]}
    assert "×1.50 [1.50–1.50]" in table([row(CASES[0], taken)])


def test_busy_neighbors_end() -> None:
    """Also after an error, and the ways are two."""
    with busy_processes(1):
        pass
    assert len(SETUPS) == 2
