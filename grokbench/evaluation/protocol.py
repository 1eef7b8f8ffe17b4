"""Protocol v1: when exams happen and what a run's exams amount to. Pure functions; every number of the protocol is here.

An exam is a count of right answers on the seen and on the held-out cells after a number of steps, with the ranks of the
features shown. All outcomes follow from the recorded exams alone, so anyone recomputes them from a record.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import ceil
from typing import Literal

from grokbench.tasks import Task

Ranks = dict[str, list[float]]
End = Literal["generalized", "censored", "diverged"]


@dataclass(frozen=True)
class Exam:
    """One exam.

    Attributes:
        step: steps taken before it, counted from 1.
        train: right answers on the training questions.
        held_out: right answers on the held-out questions.
        ranks: per measure, one number per layer, the last layer last; None where the features weren't finite: divergence.
        loss: the training loss that the agent reported, if any.
        metrics: what else the agent reported or probes found, a number per layer for each; it counts for nothing.
    """

    step: int
    train: int
    held_out: int
    ranks: Ranks | None
    loss: float | None = None
    metrics: Ranks | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run's exams amount to. Steps are None where the event didn't happen.

    Attributes:
        step: the step of the last exam, 0 before the first.
        steps_to_memorize: first exam with train accuracy at the memorization threshold.
        first_crossing: first exam with held-out accuracy at the task's threshold.
        steps_to_generalize: T, the first exam from which held-out accuracy stayed there until it was confirmed.
        candidate: the first exam of the standing stretch at the threshold, confirmed or not.
        standing: the number of exams in that stretch.
        end: how the run ended, None while it hasn't.
        final_rank: effective rank of the last layer at the last exam.
    """

    step: int = 0
    steps_to_memorize: int | None = None
    first_crossing: int | None = None
    steps_to_generalize: int | None = None
    candidate: int | None = None
    standing: int = 0
    end: End | None = None
    final_rank: float | None = None

    @property
    def censored(self) -> bool:
        """Whether the run ended without generalizing within its budget."""
        return self.end in ("censored", "diverged")


@dataclass(frozen=True)
class Protocol:
    """The fixed evaluation. Frozen: its numbers never change under one version.

    Attributes:
        first_exam, smallest_gap, gap_growth: the exam grid; a gap is max(smallest_gap, ⌈gap_growth · step⌉) steps.
        memorized: the train accuracy that counts as memorized.
        confirmation, confirming_exams: T is confirmed at the first exam at or after confirmation · T, the exam at T
            being the first of at least that many.
        official_seeds: the seeds of every entry, all of them.
        chance_quantile: an agent whose held-out answers on a random table are likelier than this to be luck passes.
    """

    version: int = 1
    first_exam: int = 10
    smallest_gap: int = 10
    gap_growth: Fraction = Fraction(2, 100)
    memorized: float = 0.99
    confirmation: Fraction = Fraction(5, 4)
    confirming_exams: int = 5
    official_seeds: tuple[int, ...] = tuple(range(10))
    chance_quantile: float = 1e-4

    def next_exam(self, step: int, budget: int) -> int:
        """The step of the exam that follows the one at `step` (0: the first). One falls exactly on the budget."""
        gap = max(self.smallest_gap, ceil(step * self.gap_growth))
        following = step + gap if step else self.first_exam
        return budget if step < budget < following else following

    def grid(self, budget: int) -> Iterator[int]:
        """The steps of all exams up to the budget."""
        step = 0
        while step < budget:
            step = self.next_exam(step, budget)
            yield step

    def advance(self, outcome: Outcome, exam: Exam, task: Task) -> Outcome:
        """The outcome after one exam more.

        Raises:
            ValueError: the run had ended, the exam isn't the next on the grid, or its counts don't fit the task.
        """
        if outcome.end:
            raise ValueError(f"the run had ended ({outcome.end}) at step {outcome.step}: no exam belongs at {exam.step}")
        due = self.next_exam(outcome.step, task.budget)
        if exam.step != due:
            raise ValueError(f"the exam after step {outcome.step} belongs at step {due}, got one at {exam.step}")
        if not (0 <= exam.train <= task.num_train and 0 <= exam.held_out <= task.num_held_out):
            raise ValueError(f"step {exam.step}: {exam.train} and {exam.held_out} right answers don't fit {task.id}")
        if exam.ranks is None:
            return replace(outcome, step=exam.step, candidate=None, standing=0, end="diverged", final_rank=None)
        return self._end(self._read(outcome, exam, task), task)

    def outcome(self, exams: Iterable[Exam], task: Task) -> Outcome:
        """What `exams` amount to, in order, from the first. Raises ValueError as `advance` does."""
        return reduce(lambda outcome, exam: self.advance(outcome, exam, task), exams, Outcome())

    def _read(self, outcome: Outcome, exam: Exam, task: Task) -> Outcome:
        memorized = exam.train / task.num_train >= self.memorized
        passed = not task.followed and exam.held_out / task.num_held_out >= task.threshold
        standing = outcome.standing + 1 if passed else 0
        assert exam.ranks is not None
        return replace(
            outcome,
            step=exam.step,
            steps_to_memorize=_first(outcome.steps_to_memorize, exam.step, memorized),
            first_crossing=_first(outcome.first_crossing, exam.step, passed),
            candidate=(outcome.candidate or exam.step) if standing else None,
            standing=standing,
            final_rank=exam.ranks["effective_rank"][-1],
        )

    def _end(self, outcome: Outcome, task: Task) -> Outcome:
        if outcome.candidate is None:
            return replace(outcome, end="censored") if outcome.step >= task.budget else outcome
        if outcome.step < self.confirmation * outcome.candidate or outcome.standing < self.confirming_exams:
            return outcome
        return replace(outcome, end="generalized", steps_to_generalize=outcome.candidate)


def _first(known: int | None, step: int, happened: bool) -> int | None:
    return step if known is None and happened else known


PROTOCOL = Protocol()
