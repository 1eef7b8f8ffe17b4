"""Simulations of re-execution, on pools whose truth is known."""

from collections.abc import Sequence

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.board.verification.rerun import FRESH
from grokbench.evaluation.protocol import PROTOCOL
from tests.support.entries import make_run
from tools import simulate_verify
from tools.simulate_verify import (
    POOL_ENVIRONMENTS,
    SEEDS,
    Comparison,
    comparisons,
    count_unrepeated,
    pool_differences,
    times_by_task,
)


def test_certain_cases_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest claims from a pool without spread are never refused, and claims twice too fast always."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 3)
    pool = [[500] * 25, [800] * 25]
    comparison = Comparison("flat", pool, pool)
    assert comparison.refusals(1.0) == 0
    assert comparison.refusals(2.0) == 3
    name, tasks, honest, *found = comparison.row()
    assert (name, tasks, honest.split()[0], found[-1]) == ("flat", "2", "0.0%", "100.0%")


def test_differences_are_counted_against_the_base_pool() -> None:
    """Times on the same instance are compared, and the base pool isn't compared with itself."""
    pools = {"1 thread": [[500, 510], [700, 710]], "2 threads": [[500, 511], [700, 712]]}
    text = pool_differences(pools, {"1 thread": 0, "2 threads": 1})
    assert "with 1 thread and with 2 threads: 2 of 4 times differ; 1 runs" in text
    assert len(text.splitlines()) == 1


def test_claimed_and_new_runs_have_different_seeds() -> None:
    """Without replacement no seed is drawn twice, in each of the tasks."""
    drawn: list[tuple[set[float], set[float]]] = []
    pool = [list(range(100, 125)), list(range(200, 225))]

    def recorded(claimed: Sequence[Sequence[float]], new: Sequence[Sequence[float]]) -> float:
        drawn.extend((set(a), set(b)) for a, b in zip(claimed, new, strict=True))
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate_verify, "slower_p", recorded)
        patch.setattr(simulate_verify, "SIMULATIONS", 5)
        assert Comparison("flat", pool, pool).refusals(1.0) == 0
    assert len(drawn) == 2 * 5
    for claimed, new in drawn:
        assert (len(claimed), len(new)) == (len(PROTOCOL.official_seeds), FRESH)
        assert not claimed & new


def test_slower_claims_are_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification asks whether new runs are slower than the claim, not whether they are faster."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 3)
    assert Comparison("flat", [[500] * 25] * 2, [[500] * 25] * 2).refusals(0.5) == 0


def test_every_pair_of_pools_is_compared_with_one_task_and_with_two() -> None:
    """Claimed runs come from the first pool of a pair, new runs from the second."""
    pools = {name: [[10 * i + j] * 25 for j in range(2)] for i, name in enumerate(POOL_ENVIRONMENTS)}
    rows = comparisons(pools)
    assert [len(row.claimed) for row in rows] == [1] * (len(rows) // 2) + [2] * (len(rows) // 2)
    two = next(row for row in rows if row.name == "mlp, 1 thread → 2 threads" and len(row.claimed) == 2)
    assert (two.claimed, two.new, two.replace) == (pools["1 thread"], pools["2 threads"], False)
    entry = rows[-1]
    assert entry.replace
    assert entry.claimed == entry.new
    assert [len(times) for times in entry.claimed] == [len(PROTOCOL.official_seeds)] * 2


def test_times_come_task_by_task_and_a_censored_run_has_the_budget() -> None:
    """As many as a pool has seeds, in their order."""
    recipe = find_recipe("mlp")
    steps = {"add_mod47-0.7": 300.0, "mul_mod47-0.7": 500.0}
    runs = [
        make_run(task, seed=seed, steps_to_generalize=1e9 if seed == 4 else step, recipe=recipe)
        for task, step in steps.items()
        for seed in range(SEEDS)
    ]
    times = times_by_task(runs)
    assert [len(task) for task in times] == [SEEDS] * 2
    for task, first in zip(times, (runs[0], runs[SEEDS]), strict=True):
        expected = [first.outcome.steps_to_generalize] * SEEDS
        expected[4] = first.parsed_task().budget
        assert task == expected


def test_a_run_that_does_not_repeat_counts_if_the_records_name_the_same_machine() -> None:
    """A difference between machines is expected, and equal exams have repeated."""
    recipe = find_recipe("mlp")
    run, other = (make_run("add_mod47-0.7", seed=0, steps_to_generalize=step, recipe=recipe) for step in (300.0, 500.0))
    elsewhere = other.model_copy(update={"provenance": other.provenance.model_copy(update={"threads": 7})})
    assert count_unrepeated([run, run, run], [run, other, elsewhere]) == 1
