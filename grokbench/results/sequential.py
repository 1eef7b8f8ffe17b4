"""A sequential test of claimed times: new runs are made round by round until they confirm the claims or contradict them.

A round is one new run of every task. After some of the rounds two permutation tests look at all rounds so far. Are the new runs
slower than the claimed runs? Then the claims are contradicted. Are they faster than `ALLOWED_SPEEDUP` times the claimed times?
Then a claim that is so much too fast is excluded, and the claims are confirmed.

`python -m tools.simulate_verify` measures how often honest claims are contradicted, and how often claims that are too fast are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from grokbench.results.statistics import slower_p

LOOKS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # the rounds after which the evidence is looked at
MOST_ROUNDS = LOOKS[-1]
ALLOWED_SPEEDUP = 1.5  # claims that are so many times too fast should be found
CONFIRMED_BELOW = 0.005  # level of every look at which claims that are 1.5 times too fast are excluded
CONTRADICTED_PER_ROUND = 0.00012  # level of a look for each of its rounds; all looks together spend less than 1 %
MOST_COUNTED = 24  # rounds that raise the level

TimesByTask = Mapping[str, Sequence[float]]  # task → min(T, budget) of its runs


class Decision(StrEnum):
    """What the rounds so far say."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Look:
    """What the tests say after a round.

    Attributes:
        rounds: the number of rounds so far.
        slower: the probability that honest runs are so much slower than the claimed runs by chance.
        too_fast: the probability that the new runs are so fast by chance if the claims are 1.5 times too fast.
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


def look(claimed: TimesByTask, new: TimesByTask, *, rounds: int) -> Look:
    """The tests on the first rounds of the new runs, which are compared task by task."""
    claimed_times, new_times = [claimed[task] for task in new], [times[:rounds] for times in new.values()]
    allowed = [[ALLOWED_SPEEDUP * time for time in times] for times in claimed_times]
    return Look(rounds, slower=slower_p(claimed_times, new_times), too_fast=slower_p(new_times, allowed))


def last_look(claimed: TimesByTask, new: TimesByTask) -> Look:
    """The first look that decides, or the last look if none does. `new[task][round]` is the run of a round.

    Only whole rounds count. Without a look nothing is known: both p-values are 1.
    """
    rounds = min(map(len, new.values()), default=0)
    last = Look(0, 1.0, 1.0)
    for number in (number for number in LOOKS if number <= rounds):
        last = look(claimed, new, rounds=number)
        if last.decision != Decision.UNDECIDED:
            break
    return last
