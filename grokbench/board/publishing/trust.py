"""The trust in an entry's results, from data alone: its verdicts, and entries that reproduce it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from grokbench.board.entries.checks import trajectory
from grokbench.board.entries.form import author_names
from grokbench.board.entries.verdicts import Verdict
from grokbench.board.publishing.standings import Standing
from grokbench.results import statistics
from grokbench.results.sequential import ALLOWED_SPEEDUP, HIDDEN, MOST_ROUNDS, Decision


class Trust(StrEnum):
    """The levels of trust, as tables show them."""

    CONSISTENT = "consistent"
    WITHOUT_SANDBOX = "re-executed, no sandbox"
    UNDECIDED = "re-executed, undecided"
    REEXECUTED = "re-executed"
    REPRODUCED = "reproduced"
    FAILED = "FAILED re-execution"


TRUST_LEGEND = {
    Trust.CONSISTENT: "Outcomes and scores were recomputed from the exams that the entry brought, and checked.",
    Trust.WITHOUT_SANDBOX: "Runs were repeated, but the agent ran without a sandbox.",
    Trust.UNDECIDED: (
        "Runs that a salt chose, and fresh instances of all tasks, were run again with the agent in a sandbox. After "
        f"{MOST_ROUNDS} rounds of fresh instances the claimed times were neither confirmed nor contradicted."
    ),
    Trust.REEXECUTED: (
        "Runs were repeated in the same way, and fresh instances confirmed the claimed times. They excluded claims that are "
        f"{ALLOWED_SPEEDUP:g} times too fast, and claims that hide {HIDDEN:.0%} of unsolved runs. Or they were slower, but all "
        f"official runs, repeated, excluded claims that are {ALLOWED_SPEEDUP:g} times too fast. A score can still be too high "
        "by more, where a few unsolved runs decide a mean: the entry's page compares the means."
    ),
    Trust.REPRODUCED: (
        "In addition, other people entered a reproduction. It was re-executed too, and can't be told apart from this entry "
        f"(paired exchange test, {statistics.SIGNIFICANCE:.0%})."
    ),
    Trust.FAILED: (
        "A verdict on the present files is bad. New runs are slower than the claimed ones or unsolved more often. Or a step "
        "makes more passes than it declares, or an entry's code learns nothing on a task of another family. "
        "The entry stays listed."
    ),
}


@dataclass(frozen=True)
class Reproduction:
    """An entry of other people that reproduces an entry and was re-executed in a sandbox.

    Attributes:
        by: the results of the reproduction.
        p: the p-value of the paired exchange test over tasks and seeds that the two don't differ.
    """

    by: Standing
    p: float

    @property
    def agrees(self) -> bool:
        """Whether the reproduction can't be told apart from the original."""
        return self.p >= statistics.SIGNIFICANCE


def trust(standing: Standing, all_standings: Sequence[Standing]) -> Trust:
    """The trust that the entry has reached. Reproductions are looked for in `all_standings`."""
    level = _trust_by_verdicts(current_verdicts(standing))
    if level == Trust.REEXECUTED and any(reproduction.agrees for reproduction in reproductions(standing, all_standings)):
        return Trust.REPRODUCED
    return level


def current_verdicts(standing: Standing) -> list[Verdict]:
    """The verdicts on the files that the entry has now."""
    return [verdict for verdict in standing.verdicts if verdict.digest == standing.entry.digest]


def reproductions(standing: Standing, all_standings: Sequence[Standing]) -> list[Reproduction]:
    """The independent reproductions of an entry: the same suite, no author and no run in common, and re-executed.

    Both entries have the official seeds, which are the same instances. So the test is the paired one of the table's ranks.
    """
    independent = [other for other in all_standings if _is_independent(standing, other)]
    return [Reproduction(other, statistics.paired_p(standing.samples, other.samples)) for other in independent]


def _trust_by_verdicts(verdicts: Sequence[Verdict]) -> Trust:
    if not verdicts:
        return Trust.CONSISTENT
    if not all(verdict.passed for verdict in verdicts):
        return Trust.FAILED
    whole = [verdict for verdict in verdicts if not verdict.cut_short]
    if not whole:
        return Trust.CONSISTENT
    sandboxed = [verdict for verdict in whole if verdict.sandboxed]
    if not sandboxed:
        return Trust.WITHOUT_SANDBOX
    return Trust.UNDECIDED if all(verdict.decision == Decision.UNDECIDED for verdict in sandboxed) else Trust.REEXECUTED


def _is_independent(standing: Standing, other: Standing) -> bool:
    form, other_form = standing.entry.form, other.entry.form
    return (
        other_form.reproduces == standing.entry.name
        and other_form.suite == form.suite
        and not author_names(form) & author_names(other_form)
        and not _trajectories(standing) & _trajectories(other)
        and _trust_by_verdicts(current_verdicts(other)) == Trust.REEXECUTED
    )


def _trajectories(standing: Standing) -> set[object]:
    return {(run.task, trajectory(run)) for run in standing.runs}
