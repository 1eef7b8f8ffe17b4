"""Protocol 2: when exams happen, and the outcome of a run's exams. Pure functions, and every number of the protocol.

An exam counts the right answers on training and on held-out questions after a number of steps. Every second exam measures the
ranks of the features. The outcome follows from the recorded exams alone, so anyone can recompute it from a record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import count
from math import ceil
from statistics import median
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
        ranks: for every measure a number per layer, the last layer last; None at an exam that doesn't measure them.
        loss: the training loss that the agent reported, if any.
        metrics: other numbers per layer, from the agent or from probes; the outcome doesn't depend on them.
        train_loss: mean cross-entropy of the agent's logits on the training questions, in nats, if it showed logits.
        held_out_loss: the same on the held-out questions.
        diverged: whether the features weren't finite. Such an exam has no ranks and ends the run.
    """

    step: int
    train: int
    held_out: int
    ranks: Ranks | None
    loss: float | None = None
    metrics: Ranks | None = None
    train_loss: float | None = None
    held_out_loss: float | None = None
    diverged: bool = False


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run's exams so far. A step is None if its event didn't happen.

    Attributes:
        step: the step of the last exam, 0 before the first exam.
        exams: the number of exams.
        passes: which exams passed: bit i belongs to exam number i, counted from 0.
        undecided: the number of the first exam that can still become T; `exams` if there is none.
        steps_to_memorize: the first exam with train accuracy at the memorization threshold.
        first_crossing: the first exam that passed.
        steps_to_generalize: T, the first exam whose window passed.
        passing_share: the share of exams that passed: in the window of T, or from the first crossing on if there is no T.
        end: how the run ended, None while it goes on.
        last_ranks: the effective ranks of the last layer at the last exams that measured them, the latest last.
    """

    step: int = 0
    exams: int = 0
    passes: int = 0
    undecided: int = 0
    steps_to_memorize: int | None = None
    first_crossing: int | None = None
    steps_to_generalize: int | None = None
    passing_share: float | None = None
    end: End | None = None
    last_ranks: tuple[float, ...] = ()

    @property
    def censored(self) -> bool:
        """Whether the run ended without generalizing within its budget."""
        return self.end in ("censored", "diverged")

    @property
    def final_rank(self) -> float | None:
        """The median of `last_ranks`; None if the run diverged, or has no exam with ranks."""
        return None if self.end == "diverged" or not self.last_ranks else median(self.last_ranks)


@dataclass(frozen=True)
class Grid:
    """The exams of a run that is never cut short.

    Attributes:
        steps: the step of every exam.
        window_ends: for every exam the number of the last exam of its window.
        failures_allowed: for every exam how many exams of its window needn't pass.
    """

    steps: tuple[int, ...]
    window_ends: tuple[int, ...]
    failures_allowed: tuple[int, ...]


@dataclass(frozen=True, eq=False)  # hashed by identity: the fold looks its grid up at every exam
class Protocol:
    """The rules of the evaluation. Its numbers never change under one version.

    Attributes:
        version: the version of the protocol, which every record states.
        smallest_gap: the step of the first exam, and the smallest number of steps between two exams.
        gap_growth: the gap after an exam is max(smallest_gap, ⌈gap_growth · step⌉) steps.
        horizon_budgets: a run ends at this multiple of the budget at the latest.
        memorized: the train accuracy that counts as memorized.
        window_factor: the window of an exam at step t ends at the first exam from window_factor · t on ...
        window_steps: ... that is also at least so many steps after t.
        passing_share: the share of a window's exams that must pass.
        last_exams: the last so many exams of a window must pass, and the final rank is the median of so many ranks.
        exams_per_rank: one exam in so many measures ranks, beginning with the first; 0 measures none.
        official_seeds: the seeds that every leaderboard entry runs.
        chance_quantile: significance level of the leak test on the random control.
    """

    version: int = 2
    smallest_gap: int = 5
    gap_growth: Fraction = Fraction(2, 100)
    horizon_budgets: int = 2
    memorized: float = 0.99
    window_factor: int = 3
    window_steps: int = 1_000
    passing_share: Fraction = Fraction(9, 10)
    last_exams: int = 5
    exams_per_rank: int = 2
    official_seeds: tuple[int, ...] = tuple(range(10))
    chance_quantile: float = 1e-4

    def horizon(self, task: Task) -> int:
        """The step at which every run on the task has ended: twice the budget, or the step that the task's id names."""
        return task.budget if task.followed else self.horizon_budgets * task.budget

    def grid(self, horizon: int) -> Grid:
        """The exams up to the horizon. One falls exactly on it. No exam before it depends on the horizon."""
        return _grid(self, horizon)

    def next_exam(self, step: int, horizon: int) -> int:
        """The step of the exam after the exam at `step`; 0 asks for the first exam."""
        return min(step + max(self.smallest_gap, ceil(step * self.gap_growth)), horizon)

    def window_end(self, outcome: Outcome, task: Task) -> int | None:
        """The step at which the window of the first exam that can still become T ends; None without such an exam."""
        grid = self.grid(self.horizon(task))
        return grid.steps[grid.window_ends[outcome.undecided]] if outcome.undecided < outcome.exams else None

    def measures_ranks(self, number: int) -> bool:
        """Whether exam number `number`, counted from 0, measures ranks."""
        return self.exams_per_rank > 0 and number % self.exams_per_rank == 0

    def advance(self, outcome: Outcome, exam: Exam, task: Task) -> Outcome:
        """The outcome after another exam.

        Raises:
            ProtocolError: the run had ended, the exam isn't the next exam of the grid, or its contents don't fit.
        """
        grid = self.grid(self.horizon(task))
        self._check(outcome, exam, task, grid)
        if exam.diverged:
            return replace(outcome, step=exam.step, exams=outcome.exams + 1, end="diverged")
        return self._with_end(self._with_exam(outcome, exam, task, grid), task, grid)

    def outcome(self, exams: Iterable[Exam], task: Task) -> Outcome:
        """The outcome of all exams of a run, in order. Raises ProtocolError as `advance` does."""
        return reduce(lambda outcome, exam: self.advance(outcome, exam, task), exams, Outcome())

    def _check(self, outcome: Outcome, exam: Exam, task: Task, grid: Grid) -> None:
        if outcome.end:
            raise ProtocolError(f"the run had ended ({outcome.end}) at step {outcome.step}: no exam belongs at {exam.step}")
        due = grid.steps[outcome.exams]
        if exam.step != due:
            raise ProtocolError(f"the exam after step {outcome.step} belongs at step {due}, got an exam at {exam.step}")
        if not (0 <= exam.train <= task.num_train and 0 <= exam.held_out <= task.num_held_out):
            raise ProtocolError(
                f"step {exam.step}: {exam.train} and {exam.held_out} right answers don't fit {task.id}, "
                f"which has {task.num_train} training and {task.num_held_out} held-out questions"
            )
        expects_ranks = self.measures_ranks(outcome.exams) and not exam.diverged
        if (exam.ranks is not None) != expects_ranks:
            has, expected = ("has no", "must have") if expects_ranks else ("has", "must not have")
            raise ProtocolError(f"step {exam.step}: the exam {has} ranks, and exam number {outcome.exams + 1} {expected} them")

    def _with_exam(self, outcome: Outcome, exam: Exam, task: Task, grid: Grid) -> Outcome:
        memorized = exam.train / task.num_train >= self.memorized
        passed = not task.followed and exam.held_out / task.num_held_out >= task.threshold
        passes = outcome.passes | passed << outcome.exams
        ranks = () if exam.ranks is None else (exam.ranks["effective_rank"][-1],)
        return replace(
            outcome,
            step=exam.step,
            exams=outcome.exams + 1,
            passes=passes,
            undecided=self._undecided(outcome.undecided, passes, outcome.exams, task.budget, grid),
            steps_to_memorize=_first(outcome.steps_to_memorize, exam.step, memorized),
            first_crossing=_first(outcome.first_crossing, exam.step, passed),
            last_ranks=(*outcome.last_ranks, *ranks)[-self.last_exams :],
        )

    def _with_end(self, outcome: Outcome, task: Task, grid: Grid) -> Outcome:
        last = outcome.exams - 1
        if outcome.undecided <= last:
            if grid.window_ends[outcome.undecided] > last:
                return outcome
            share = _share(outcome.passes, outcome.undecided, last)
            return replace(outcome, end="generalized", steps_to_generalize=grid.steps[outcome.undecided], passing_share=share)
        is_over = last + 1 == len(grid.steps) or grid.steps[last + 1] > task.budget
        return replace(outcome, end="censored", passing_share=_share_since_crossing(outcome)) if is_over else outcome

    def _undecided(self, first: int, passes: int, last: int, budget: int, grid: Grid) -> int:
        """The first exam from number `first` to `last` that can still become T; the number after `last` if none can."""
        candidates = (number for number in range(first, last + 1) if self._can_be_t(number, passes, last, budget, grid))
        return next(candidates, last + 1)

    def _can_be_t(self, number: int, passes: int, last: int, budget: int, grid: Grid) -> bool:
        """Whether exam number `number` passed within the budget, and its window can still pass or has passed."""
        if grid.steps[number] > budget or not passes >> number & 1:
            return False
        end = grid.window_ends[number]
        last = min(last, end)
        tail = max(number, end - self.last_exams + 1)
        return _failures(passes, number, last) <= grid.failures_allowed[number] and not _failures(passes, tail, last)


@lru_cache(maxsize=64)
def _grid(protocol: Protocol, horizon: int) -> Grid:
    steps = [0]
    while steps[-1] < horizon:
        steps.append(protocol.next_exam(steps[-1], horizon))
    steps = steps[1:]
    ends, end = [], 0
    for step in steps:
        reach = max(protocol.window_factor * step, step + protocol.window_steps)
        end = next(number for number in count(end) if number == len(steps) - 1 or steps[number] >= reach)
        ends.append(end)
    allowed = [int((1 - protocol.passing_share) * (end - number + 1)) for number, end in enumerate(ends)]
    return Grid(tuple(steps), tuple(ends), tuple(allowed))


def rank_at(exams: Sequence[Exam], step: int | None) -> float | None:
    """The effective rank of the last layer at the first exam from `step` on that measures ranks. None for no such exam."""
    measured = (exam.ranks["effective_rank"][-1] for exam in exams if exam.ranks and step is not None and exam.step >= step)
    return next(measured, None)


def _failures(passes: int, first: int, last: int) -> int:
    """How many exams of number `first` to `last` didn't pass."""
    exams = max(last - first + 1, 0)
    return exams - (passes >> first & (1 << exams) - 1).bit_count()


def _share(passes: int, first: int, last: int) -> float:
    """The share of exams of number `first` to `last` that passed."""
    return 1 - _failures(passes, first, last) / (last - first + 1)


def _share_since_crossing(outcome: Outcome) -> float | None:
    first = (outcome.passes & -outcome.passes).bit_length() - 1  # number of the first exam that passed, -1 for none
    return None if first < 0 else _share(outcome.passes, first, outcome.exams - 1)


def _first(earlier: int | None, step: int, happened: bool) -> int | None:
    """The step at which an event happened first."""
    return step if earlier is None and happened else earlier


PROTOCOL = Protocol()
SPARSE_PROTOCOL = replace(PROTOCOL, smallest_gap=10, gap_growth=Fraction(1, 10), exams_per_rank=0)  # for sweeps


def protocol_of(task: Task) -> Protocol:
    """The protocol by which the task's runs are examined. With sparse exams, T can be a tenth later."""
    return SPARSE_PROTOCOL if task.exam_grid == "sparse" else PROTOCOL
