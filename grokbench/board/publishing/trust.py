"""How far a row of the table can be believed, from data alone: its verdicts, and entries that reproduce it."""

from collections.abc import Sequence
from dataclasses import dataclass

from grokbench.board.entries.checks import trajectory
from grokbench.board.entries.verdicts import Verdict
from grokbench.board.publishing.standings import Standing
from grokbench.results import statistics

LEVEL = 0.05  # of the paired exchange test that tells a reproduction from its original
CONSISTENT, UNBOXED, EXECUTED, REPRODUCED, FAILED = (
    "consistent",
    "re-executed, no sandbox",
    "re-executed",
    "reproduced",
    "FAILED re-execution",
)


def trust(one: Standing, all_standing: Sequence[Standing]) -> str:
    """The level that the entry has reached; a failed re-execution of what it holds now stays."""
    level = _level(current(one))
    if level == EXECUTED and any(other.agrees for other in reproductions(one, all_standing)):
        return REPRODUCED
    return level


def current(one: Standing) -> list[Verdict]:
    """The verdicts that speak of what the entry holds now."""
    return [verdict for verdict in one.verdicts if verdict.digest == one.entry.digest]


def _level(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return CONSISTENT
    if not all(verdict.passed for verdict in verdicts):
        return FAILED
    return EXECUTED if any(verdict.sandboxed for verdict in verdicts) else UNBOXED


@dataclass(frozen=True)
class Reproduction:
    """An entry that other people made to reproduce one, re-executed in a sandbox itself.

    Attributes:
        p: of the paired exchange test over task and seed that the two don't differ.
    """

    by: Standing
    p: float

    @property
    def agrees(self) -> bool:
        """Whether it can't be told apart from its original."""
        return self.p >= LEVEL


def reproductions(one: Standing, all_standing: Sequence[Standing]) -> list[Reproduction]:
    """The independent reproductions of an entry: the same suite, no author and no run in common, re-executed.

    Both have the official seeds, which are the same instances, so the test is the paired one of the table's ranks.
    """
    return [
        Reproduction(other, statistics.paired_p(one.samples, other.samples))
        for other in all_standing
        if _independent(one, other)
    ]


def _independent(one: Standing, other: Standing) -> bool:
    ours, theirs = one.entry.form, other.entry.form
    return (
        theirs.reproduces == one.entry.name
        and theirs.suite == ours.suite
        and not _authors(one) & _authors(other)
        and not _trajectories(one) & _trajectories(other)
        and _level(current(other)) == EXECUTED
    )


def _authors(one: Standing) -> set[str]:
    return {" ".join(author.casefold().split()) for author in one.entry.form.authors}


def _trajectories(one: Standing) -> set[object]:
    return {(run.task, trajectory(run)) for run in one.runs}
