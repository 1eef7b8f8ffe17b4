"""What a person sees while runs go on: a live table on a terminal, a line now and then elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from typing_extensions import override

from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Run
from grokbench.tasks import Task

SECONDS_BETWEEN_LINES = 15.0


@dataclass
class _Row:
    exam: Exam | None = None
    outcome: Outcome = field(default_factory=Outcome)
    how: str = ""
    started: float = field(default_factory=time.perf_counter)
    first_step: int | None = None


class Progress(Callback):
    """A `Callback` for people; use it as a context manager."""

    def __init__(self, planned: int, done: int = 0, max_steps: int | None = None, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True, markup=False)
        self.planned, self.done, self.max_steps = planned, done, max_steps
        self.rows: dict[tuple[str, str, str, int], tuple[Task, _Row]] = {}
        self._last_line = 0.0
        self._live = Live(console=self.console, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        """Show an exam."""
        row = self._row(run)
        row.exam, row.outcome = exam, outcome
        row.first_step = exam.step if row.first_step is None else row.first_step
        now = time.perf_counter()
        if not self.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.console.print(self._line(run, row), highlight=False)

    @override
    def on_end(self, run: Run, reason: str) -> None:
        """Show how a run left."""
        row = self._row(run)
        row.how = reason
        self.done += 1
        if not self.console.is_terminal:
            self.console.print(self._line(run, row), highlight=False)

    @override
    def on_message(self, message: str) -> None:
        """Show a message above the table."""
        self.console.print(message, highlight=False)

    def _row(self, run: Run) -> _Row:
        return self.rows.setdefault(
            (run.experiment.task.id, run.experiment.recipe.name, run.experiment.salt, run.seed), (run.experiment.task, _Row())
        )[1]

    def _line(self, run: Run, row: _Row) -> str:
        step, train, held_out, rank, how = self._cells(run.experiment.task, row)
        exam = f"step {step}, train {train}, held out {held_out}, effective rank {rank}, " if row.exam else ""
        return (
            f"[{self.done}/{self.planned}] {run.experiment.task.id} {run.experiment.recipe.name} seed {run.seed}: {exam}{how}"
        )

    def _table(self) -> Table:
        table = Table(title=f"{self.done} of {self.planned} runs done", title_justify="left", box=None, pad_edge=False)
        for name in ("task", "agent", "seed", "step", "train", "held out", "effective rank", "ETA"):
            table.add_column(name, justify="left" if name in ("task", "agent", "ETA") else "right")
        room = max(5, self.console.size.height - 4)
        for (task_id, agent, _, seed), (task, row) in list(self.rows.items())[-room:]:
            table.add_row(task_id, agent, str(seed), *self._cells(task, row), style="" if not row.how else "dim")
        return table

    def _cells(self, task: Task, row: _Row) -> tuple[str, str, str, str, str]:
        exam = row.exam
        if exam is None:
            return "0", "", "", "", row.how or "starting"
        rank = "diverged" if exam.ranks is None else f"{exam.ranks['effective_rank'][-1]:.1f}"
        train, held_out = exam.train / task.num_train, exam.held_out / task.num_held_out
        last = min(task.budget, self.max_steps or task.budget)
        return f"{exam.step:,}", f"{train:.1%}", f"{held_out:.1%}", rank, row.how or _eta(row, exam, last)


def _eta(row: _Row, exam: Exam, last: int) -> str:
    """Time to the confirmation of a standing candidate, else the most it can take, to the `last` step."""
    steps = exam.step - (row.first_step or 0)
    if not steps:
        return "…"
    per_step = (time.perf_counter() - row.started) / steps
    if row.outcome.candidate:
        return f"{_clock(per_step * max(0.0, float(PROTOCOL.confirmation * row.outcome.candidate) - exam.step))} to confirm"
    return f"at most {_clock(per_step * max(0, last - exam.step))}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
