"""A sequential test of claimed times: new runs are made round by round until they confirm the claims or contradict them.

A round is one new run of every task. After some of the rounds, tests look at all rounds so far. Are the new runs slower than
the claimed runs, or more of them unsolved? Then the claims are contradicted. Are they faster than `ALLOWED_SPEEDUP` times the
claimed times, and too few unsolved for claims that leave out a share `HIDDEN` of unsolved runs? Then the claims are confirmed.

`python -m tools.simulate_verify` measures how often honest claims are contradicted, and how often claims that are too fast are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.results.statistics import SIGNIFICANCE, below_zero_p, hidden_p_values, less_often_p_values, slower_p_values

LOOKS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # the rounds after which the evidence is looked at
MOST_ROUNDS = LOOKS[-1]
ALLOWED_SPEEDUP = 1.5  # claims that are so many times too fast should be found
HIDDEN = 0.3  # the share of unsolved runs that claims must not leave out
CONFIRMED_BELOW = 0.005  # level of every look at which claims that are 1.5 times too fast, or hide runs, are excluded
CONTRADICTED_PER_ROUND = 0.00015  # level of a look for each of its rounds; simulated, all looks spend less than 1 %
MOST_COUNTED = 24  # rounds that raise the level

TimesByTask = Mapping[str, Sequence[float]]  # task → min(T, budget) of its runs
ManyTimes = Sequence[NDArray[Any]]  # task by task min(T, budget), (comparisons, runs)


class Decision(StrEnum):
    """What the rounds so far say."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    REPEATED = "repeated"  # fresh runs contradict, but all official runs repeated: their instances are the easier ones


@dataclass(frozen=True)
class Look:
    """What the tests say after a round.

    Attributes:
        rounds: the number of rounds so far.
        slower: the probability that honest runs are by chance so much slower than the claimed runs, or more often unsolved.
        too_fast: the probability that the new runs do so well by chance if the claims are 1.5 times too fast, or hide runs.
    """

    rounds: int
    slower: float
    too_fast: float

    @property
    def decision(self) -> Decision:
        """The decision at this look."""
        if self.slower < contradicted_below(self.rounds):
            return Decision.CONTRADICTED
        return Decision.CONFIRMED if self.too_fast < CONFIRMED_BELOW else Decision.UNDECIDED


def contradicted_below(rounds: int) -> float:
    """The level of the look after so many rounds. Later looks have more power, so they may spend more."""
    return CONTRADICTED_PER_ROUND * min(rounds, MOST_COUNTED)


def slower(claimed: ManyTimes, new: ManyTimes, budgets: Sequence[float]) -> NDArray[np.float64]:
    """`Look.slower` of many comparisons: the smaller p-value of the two tests, times their number."""
    unsolved = less_often_p_values(_unsolved(claimed, budgets), _unsolved(new, budgets))
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * np.minimum(slower_p_values(claimed, new), unsolved))
    return p_values


def too_fast(claimed: ManyTimes, new: ManyTimes, budgets: Sequence[float]) -> NDArray[np.float64]:
    """`Look.too_fast` of many comparisons: the larger p-value of the two tests, because both must exclude.

    No method has times beyond the budget, so an unsolved run says nothing about speed. Claims without any solved run can't be
    too fast.
    """
    unsolved = _unsolved(claimed, budgets)
    slower_times = [np.minimum(ALLOWED_SPEEDUP * times, budget) for times, budget in zip(claimed, budgets, strict=True)]
    claims_nothing = np.all([each.all(axis=1) for each in unsolved], axis=0)  # (comparisons,)
    speed = np.where(claims_nothing, 0.0, slower_p_values(new, slower_times))
    p_values: NDArray[np.float64] = np.maximum(speed, hidden_p_values(unsolved, _unsolved(new, budgets), hidden=HIDDEN))
    return p_values


def _unsolved(times: ManyTimes, budgets: Sequence[float]) -> list[NDArray[np.bool_]]:
    return [its >= budget for its, budget in zip(times, budgets, strict=True)]


def look(claimed: TimesByTask, new: TimesByTask, budgets: Mapping[str, float], *, rounds: int) -> Look:
    """The tests on the first rounds of the new runs, which are compared task by task."""
    compared = (
        [np.array([claimed[task]], dtype=float) for task in new],
        [np.array([times[:rounds]], dtype=float) for times in new.values()],
        [budgets[task] for task in new],
    )
    return Look(rounds, slower=float(slower(*compared)[0]), too_fast=float(too_fast(*compared)[0]))


def last_look(claimed: TimesByTask, new: TimesByTask, budgets: Mapping[str, float]) -> Look:
    """The first look that decides, or the last look if none does. `new[task][round]` is the run of a round.

    Only whole rounds count. Without a look nothing is known: both p-values are 1.
    """
    rounds = min(map(len, new.values()), default=0)
    last = Look(0, 1.0, 1.0)
    for number in (number for number in LOOKS if number <= rounds):
        last = look(claimed, new, budgets, rounds=number)
        if last.decision != Decision.UNDECIDED:
            break
    return last


def repeats(claimed: TimesByTask, again: TimesByTask, budgets: Mapping[str, float]) -> bool:
    """Whether repeated runs exclude that the claims are `ALLOWED_SPEEDUP` times too fast, by a paired test on log T.

    Entries share the official instances, and so their luck. Where these are easier than fresh ones, fresh runs contradict an
    honest claim. The same instances don't. A claimed run that is unsolved says nothing about speed, and is left out.
    """
    differences: list[float] = []
    for task, times in again.items():
        old, new = np.array(claimed[task], dtype=float), np.array(times, dtype=float)
        true = np.minimum(ALLOWED_SPEEDUP * old, budgets[task])  # if the claims are too fast
        differences += np.log(new / true)[old < budgets[task]].tolist()
    return not differences or below_zero_p(differences) < SIGNIFICANCE
