"""Protocol v1: when exams happen, and the outcome of a run's exams. Pure functions, and every number of the protocol.

An exam counts the right answers on training and on held-out questions after a number of steps, and measures the ranks of the
features. The outcome follows from the recorded exams alone, so anyone can recompute it from a record.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import ceil
from typing import Literal

from grokbench.errors import ProtocolError
from grokbench.tasks import Task

Ranks = dict[str, list[float]]  # measure → a number per layer, the last layer last
End = Literal["generalized", "censored", "diverged"]


@dataclass(frozen=True)
class Exam:
    """One exam.

    Attributes:
        step: the number of steps before the exam.
        train: right answers on the training questions.
        held_out: right answers on the held-out questions.
        ranks: for every measure a number per layer, the last layer last; None if the run diverged (non-finite features).
        loss: the training loss that the agent reported, if any.
        metrics: other numbers per layer, from the agent or from probes; the outcome doesn't depend on them.
    """

    step: int
    train: int
    held_out: int
    ranks: Ranks | None
    loss: float | None = None
    metrics: Ranks | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run's exams so far. A step is None if its event didn't happen.

    Attributes:
        step: the step of the last exam, 0 before the first exam.
        steps_to_memorize: the first exam with train accuracy at the memorization threshold.
        first_crossing: the first exam with held-out accuracy at the task's threshold.
        steps_to_generalize: T, the first exam of the stretch at the threshold that was confirmed.
        candidate: the first exam of the current stretch of exams at the threshold, confirmed or not.
        standing: the number of exams in the current stretch.
        end: how the run ended, None while it goes on.
        final_rank: the effective rank of the last layer at the last exam.
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
    """The rules of the evaluation. Its numbers never change under one version.

    Attributes:
        version: the version of the protocol, which every record states.
        first_exam: the step of the first exam.
        smallest_gap: the smallest number of steps between two exams.
        gap_growth: the gap after an exam is max(smallest_gap, ⌈gap_growth · step⌉) steps.
        memorized: the train accuracy that counts as memorized.
        confirmation: T is confirmed at the first exam at or after confirmation · T.
        confirming_exams: a confirmed stretch has at least this many exams, the exam at T included.
        official_seeds: the seeds that every leaderboard entry runs.
        chance_quantile: significance level of the leak test on the random control.
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
        """The step of the exam after the exam at `step`; 0 asks for the first exam. An exam falls exactly on the budget."""
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
        """The outcome after another exam.

        Raises:
            ProtocolError: the run had ended, the exam isn't the next exam of the grid, or its counts don't fit the task.
        """
        self._check(outcome, exam, task)
        if exam.ranks is None:
            return replace(outcome, step=exam.step, candidate=None, standing=0, end="diverged", final_rank=None)
        return self._with_end(self._with_exam(outcome, exam, task), task)

    def outcome(self, exams: Iterable[Exam], task: Task) -> Outcome:
        """The outcome of all exams of a run, in order. Raises ProtocolError as `advance` does."""
        return reduce(lambda outcome, exam: self.advance(outcome, exam, task), exams, Outcome())

    def _check(self, outcome: Outcome, exam: Exam, task: Task) -> None:
        if outcome.end:
            raise ProtocolError(f"the run had ended ({outcome.end}) at step {outcome.step}: no exam belongs at {exam.step}")
        due = self.next_exam(outcome.step, task.budget)
        if exam.step != due:
            raise ProtocolError(f"the exam after step {outcome.step} belongs at step {due}, got an exam at {exam.step}")
        if not (0 <= exam.train <= task.num_train and 0 <= exam.held_out <= task.num_held_out):
            raise ProtocolError(
                f"step {exam.step}: {exam.train} and {exam.held_out} right answers don't fit {task.id}, "
                f"which has {task.num_train} training and {task.num_held_out} held-out questions"
            )

    def _with_exam(self, outcome: Outcome, exam: Exam, task: Task) -> Outcome:
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

    def _with_end(self, outcome: Outcome, task: Task) -> Outcome:
        if outcome.candidate is None:
            return replace(outcome, end="censored") if outcome.step >= task.budget else outcome
        if outcome.step < self.confirmation * outcome.candidate or outcome.standing < self.confirming_exams:
            return outcome
        return replace(outcome, end="generalized", steps_to_generalize=outcome.candidate)


def _first(earlier: int | None, step: int, happened: bool) -> int | None:
    """The step at which an event happened first."""
    return step if earlier is None and happened else earlier


PROTOCOL = Protocol()
