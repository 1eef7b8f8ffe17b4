"""Progress: a live table on a terminal, and a line now and then elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from typing_extensions import override

from grokbench.evaluation.protocol import Exam, Outcome, protocol_of
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Run
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task

SECONDS_BETWEEN_LINES = 15.0
COLUMNS = {"task": "left", "agent": "left", "seed": "right", "step": "right", "train": "right", "held out": "right"}
COLUMNS |= {"effective rank": "right", "time left": "left"}


@dataclass
class RunProgress:
    """How far a run is.

    Attributes:
        exam: its last exam, None before the first.
        outcome: the outcome of its exams so far.
        reason: why it left its cohort, empty while it hasn't.
        started: the clock when it was first seen, in seconds.
        first_step: the step of its first exam in this process; a resumed run's isn't its first ever.
    """

    exam: Exam | None = None
    outcome: Outcome = field(default_factory=Outcome)
    reason: str = ""
    started: float = field(default_factory=time.perf_counter)
    first_step: int | None = None


class _Display(Callback):
    """Shows something that changes on a terminal, and messages everywhere. A context manager.

    What is shown is asked for at once, so subclasses set their attributes first.
    """

    is_harmless = True

    def __init__(self, console: Console | None, shown: Callable[[], RenderableType]) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True, markup=False)
        self._live = Live(console=self.console, refresh_per_second=4, get_renderable=shown)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    @override
    def on_message(self, message: str) -> None:
        self.console.print(message, highlight=False)


class Progress(_Display):
    """Shows people how runs go on. Use it as a context manager."""

    def __init__(
        self, planned: int = 0, finished: int = 0, *, max_steps: int | None = None, console: Console | None = None
    ) -> None:
        self.planned, self.ended, self.max_steps = planned, finished, max_steps
        self.runs: dict[Run, RunProgress] = {}
        self._last_line = 0.0
        super().__init__(console, self._table)

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.planned, self.ended = planned, finished
        if planned == finished:
            self.on_message(f"nothing to do: all {planned} runs were finished before")

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        progress = self.runs.setdefault(run, RunProgress())
        progress.exam, progress.outcome = exam, outcome
        progress.first_step = exam.step if progress.first_step is None else progress.first_step
        now = time.perf_counter()
        if not self.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.console.print(self._line(run, progress), highlight=False)

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        progress = self.runs.setdefault(run, RunProgress())
        progress.reason = reason
        self.ended += 1
        if not self.console.is_terminal:
            self.console.print(self._line(run, progress), highlight=False)

    def _line(self, run: Run, progress: RunProgress) -> str:
        step, train, held_out, rank, state = self._state(run.experiment.task, progress)
        exam = f"step {step}, train {train}, held out {held_out}, effective rank {rank}, " if progress.exam else ""
        name = f"{run.experiment.task.id} {run.experiment.recipe.name} seed {run.seed}"
        return f"[{self.ended}/{self.planned}] {name}: {exam}{state}"

    def _table(self) -> Table:
        table = Table(title=f"{self.ended} of {self.planned} runs done", title_justify="left", box=None, pad_edge=False)
        for name, side in COLUMNS.items():
            table.add_column(name, justify="left" if side == "left" else "right")
        room = max(5, self.console.size.height - 4)
        for run, progress in list(self.runs.items())[-room:]:
            task, recipe = run.experiment.task, run.experiment.recipe
            style = "dim" if progress.reason else ""
            table.add_row(task.id, recipe.name, str(run.seed), *self._state(task, progress), style=style)
        return table

    def _state(self, task: Task, progress: RunProgress) -> tuple[str, str, str, str, str]:
        """Step, train accuracy, held-out accuracy, effective rank, and why the run ended or how long it will take."""
        exam = progress.exam
        if exam is None:
            return "0", "", "", "", progress.reason or "starting"
        ranks = progress.outcome.last_ranks
        rank = "diverged" if exam.diverged else f"{ranks[-1]:.1f}" if ranks else "unmeasured"
        train, held_out = exam.train / task.num_train, exam.held_out / task.num_held_out
        last_step = min(task.budget, self.max_steps or task.budget)
        state = progress.reason or _time_left(progress, exam, task, last_step)
        return f"{exam.step:,}", f"{train:.1%}", f"{held_out:.1%}", rank, state


class SweepProgress(_Display):
    """Shows how many of many runs are done, how many a minute, and how long the others will take. A context manager."""

    def __init__(self, *, console: Console | None = None) -> None:
        self.planned = self.before = self.ended = self.failed = 0
        self._started = self._last_line = time.perf_counter()
        super().__init__(console, self.line)

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if not self.console.is_terminal:
            self.on_message(self.line())

    def line(self) -> str:
        """The line that is shown."""
        seconds = time.perf_counter() - self._started
        rate, left = self.ended / seconds, self.planned - self.before - self.ended
        failed = f", {self.failed} failed" if self.failed else ""
        time_left = _clock(left / rate) if rate else "…" if left else "0:00"
        return (
            f"{self.before + self.ended:,} of {self.planned:,} runs done{failed}, {60 * rate:,.0f} a minute, {time_left} left"
        )

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.planned, self.before = planned, finished

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        self.ended += 1
        if record is None or record.incomplete:
            self.failed += 1
            if self.failed == 1 or reason.startswith("failed"):
                self.on_message(f"{run.experiment.task.id} {run.experiment.recipe.name} seed {run.seed}: {reason}")
        now = time.perf_counter()
        if not self.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.console.print(self.line(), highlight=False)


def _time_left(progress: RunProgress, exam: Exam, task: Task, last_step: int) -> str:
    """The time until a candidate's window ends; without a candidate, the time until `last_step`."""
    steps = exam.step - (progress.first_step or 0)
    if not steps:
        return "…"
    seconds_per_step = (time.perf_counter() - progress.started) / steps
    ends_at = protocol_of(task).window_end(progress.outcome, task)
    if ends_at is not None:
        return f"{_clock(seconds_per_step * (ends_at - exam.step))} to the end of the window"
    return f"at most {_clock(seconds_per_step * max(0, last_step - exam.step))}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
