"""The sequential test of claimed times."""

import numpy as np
import pytest

from grokbench.results.sequential import LOOKS, Decision, contradicted_below, last_look, look, repeats
from grokbench.results.statistics import slower_p_values

BUDGETS = {f"task {i}": 5_000 for i in range(3)}


def times(rng: np.random.Generator, runs: int, spread: float = 0.2) -> dict[str, list[float]]:
    """Log-normal times on three tasks."""
    return {f"task {i}": (800 * (1 + i) * rng.lognormal(0, spread, runs)).tolist() for i in range(3)}


@pytest.mark.parametrize(
    ("speedup", "decision"), [(1.0, Decision.CONFIRMED), (1.5, Decision.CONTRADICTED), (3.0, Decision.CONTRADICTED)]
)
def test_clear_evidence_decides_early(speedup: float, decision: Decision) -> None:
    """With a standard deviation of .2, a few rounds are enough."""
    rng = np.random.default_rng(0)
    claimed = {task: [t / speedup for t in its] for task, its in times(rng, 10).items()}
    last = last_look(claimed, times(rng, 48), BUDGETS)
    assert last.decision == decision
    assert last.rounds <= 6


def with_unsolved(rng: np.random.Generator, times: dict[str, list[float]], share: float) -> dict[str, list[float]]:
    """The times, with each set to the budget with this probability."""
    return {task: [BUDGETS[task] if rng.random() < share else t for t in its] for task, its in times.items()}


@pytest.mark.parametrize("seed", range(5))
def test_claims_that_leave_out_unsolved_runs_are_contradicted(seed: int) -> None:
    """The times of the other runs are honest."""
    rng = np.random.default_rng(seed)
    claimed, new = times(rng, 10), with_unsolved(rng, times(rng, 48), 0.4)
    assert last_look(claimed, new, BUDGETS).decision == Decision.CONTRADICTED


def test_a_few_rounds_confirm_no_claim_that_all_runs_are_solved() -> None:
    """With three tasks it takes 15 solved runs to exclude that three in ten are unsolved; honest claims pass then."""
    rng = np.random.default_rng(0)
    last = last_look(times(rng, 10), times(rng, 48), BUDGETS)
    assert (last.decision, last.rounds) == (Decision.CONFIRMED, 6)


def test_claims_that_no_run_is_solved_hide_nothing() -> None:
    """Two rounds confirm them."""
    unsolved = {task: [float(budget)] * 10 for task, budget in BUDGETS.items()}
    last = last_look(unsolved, {task: its[:2] for task, its in unsolved.items()}, BUDGETS)
    assert (last.decision, last.rounds) == (Decision.CONFIRMED, 2)


def test_unsolved_runs_are_no_evidence_of_speed() -> None:
    """Claims of whose runs half are honestly unsolved, and the others are 1.5 times too fast, are hardly ever confirmed.

    Times beyond the budget, which the claims times 1.5 would have, made the equally unsolved new runs look fast.
    """
    confirmed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        claimed = {task: [t / 1.5 for t in its] for task, its in times(rng, 10, 0.5).items()}
        claimed, new = with_unsolved(rng, claimed, 0.5), with_unsolved(rng, times(rng, 16, 0.5), 0.5)
        confirmed += look(claimed, new, BUDGETS, rounds=16).too_fast < 0.05
    assert confirmed <= 6  # 2 of 40 are expected; 3 standard deviations more


def test_repeated_runs_may_be_as_fast_as_claimed() -> None:
    """Seeds that differ by much are compared in pairs: half as fast again is found, a few per cent of noise isn't."""
    rng = np.random.default_rng(0)
    claimed = times(rng, 10, 0.8)
    noisy = {task: [t * rng.lognormal(0, 0.2) for t in its] for task, its in claimed.items()}
    slower = {task: [1.5 * t for t in its] for task, its in noisy.items()}
    assert repeats(claimed, claimed, BUDGETS)
    assert repeats(claimed, noisy, BUDGETS)
    assert not repeats(claimed, slower, BUDGETS)
    assert repeats(slower, claimed, BUDGETS)


@pytest.mark.parametrize("correlation", [0.8, 0.92, 0.98])
def test_repeated_runs_excuse_no_claim_that_is_too_fast(correlation: float) -> None:
    """On another machine a seed's run differs. Claims that are 1.5 times too fast are excused in 5 of 100 cases."""
    excused, honest = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        claimed = times(rng, 10, 0.5)
        noise = 0.5 * np.sqrt(2 - 2 * correlation)  # of the difference of two log times with this correlation
        again = {task: [t * rng.lognormal(0, noise) for t in its] for task, its in claimed.items()}
        honest += repeats(claimed, again, BUDGETS)
        excused += repeats({task: [t / 1.5 for t in its] for task, its in claimed.items()}, again, BUDGETS)
    assert honest >= 57
    assert excused <= 8  # 3 of 60 are expected; 3 standard deviations more


def test_repeated_runs_excuse_no_claim_that_hides_unsolved_ones() -> None:
    """A seed that isn't solved, though it is claimed to be, counts as the budget. One that isn't claimed says nothing."""
    claimed = {task: [800.0] * 10 for task in BUDGETS}
    again = {task: [800.0] * 7 + [BUDGETS[task]] * 3 for task in BUDGETS}
    assert not repeats(claimed, again, BUDGETS)
    assert repeats(again, again, BUDGETS)
    assert repeats({task: [float(budget)] * 10 for task, budget in BUDGETS.items()}, claimed, BUDGETS)


def test_spread_runs_take_more_rounds() -> None:
    """With a standard deviation of .6, two rounds don't tell an honest claim from one 1.5 times too fast."""
    rng = np.random.default_rng(3)
    claimed, new = times(rng, 10, 0.6), times(rng, 48, 0.6)
    assert look(claimed, new, BUDGETS, rounds=2).decision == Decision.UNDECIDED
    assert last_look(claimed, new, BUDGETS).rounds > 2


def test_only_whole_rounds_count() -> None:
    """A task whose run of the last round is missing holds the look back; before the second round there is none."""
    rng = np.random.default_rng(0)
    claimed, new = times(rng, 10, 0.9), times(rng, 4, 0.9)
    new["task 1"].pop()
    assert last_look(claimed, new, BUDGETS).rounds == 3
    first = {task: its[:1] for task, its in new.items()}
    assert last_look(claimed, first, BUDGETS).decision == Decision.UNDECIDED
    assert last_look(claimed, {}, BUDGETS).rounds == 0


def test_later_looks_spend_more() -> None:
    """No look has a level of 1 %, the last the highest."""
    levels = [contradicted_below(rounds) for rounds in LOOKS]
    assert levels == sorted(levels)
    assert levels[-1] < 0.01


def test_many_comparisons_are_those_of_each() -> None:
    """The permutations are the same."""
    rng = np.random.default_rng(1)
    claimed = [rng.lognormal(6, 0.3, (5, 10)) for _ in range(2)]
    new = [rng.lognormal(6.2, 0.3, (5, 4)) for _ in range(2)]
    singly = [slower_p_values([c[[i]] for c in claimed], [n[[i]] for n in new])[0] for i in range(5)]
    assert slower_p_values(claimed, new).tolist() == singly
