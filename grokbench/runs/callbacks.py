"""Callbacks: who is told what happens to runs. Progress displays and loggers are callbacks."""

from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

from typing_extensions import override

from grokbench.errors import CallbackError
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.plan import Run
from grokbench.runs.records import RunRecord
from grokbench.runs.surroundings import outside


class Callback:
    """Base class. Every method does nothing until it is overridden.

    All methods are called in the process that asked for the runs, whatever process makes them. If one fails, no more runs are
    made. What is finished is safe, and the same call goes on. Nothing that a callback does changes a run: it gets copies, and
    has random numbers of its own.

    Attributes:
        is_harmless: whether it draws no random numbers and changes nothing that it gets. Then it needs neither, which saves
            time at every exam.
    """

    is_harmless: bool = False

    def on_start(self, planned: int, finished: int) -> None:
        """So many runs are planned, and so many of them were finished before."""

    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        """The run took an exam; `outcome` is the outcome of its exams so far."""

    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        """The run left its cohort: generalized, censored, diverged, failed, stopped, or busy in another process.

        `record` is what was written of it, None where nothing was.
        """

    def on_message(self, message: str) -> None:
        """Something happened that a person should know, such as a damaged checkpoint that was moved aside."""


def _tell(callback: Callback, event: str, *arguments: Any) -> None:
    """Tell a callback of an event. Its error says whose it is, so that nobody takes it for the agent's."""
    try:
        with nullcontext() if callback.is_harmless else outside():
            getattr(callback, event)(*arguments)
    except CallbackError:
        raise
    except Exception as error:
        what = f"{type(callback).__name__} failed, a callback: {type(error).__name__}: {error}"
        raise CallbackError(f"{what}. Finished runs are safe: mend it, and the same command goes on") from error


class Callbacks(Callback):
    """Several callbacks as one, called in their order. An error becomes a CallbackError, and so does anything but a list."""

    is_harmless = True  # it protects the runs from each of them

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        if not isinstance(callbacks, Sequence) or not all(isinstance(each, Callback) for each in callbacks):
            example = "[grokbench.WandbLogger('grokking')]"
            raise CallbackError(f"callbacks must be a list of objects, such as {example}, got {callbacks!r}")
        self.callbacks = tuple(callbacks)

    @override
    def on_start(self, planned: int, finished: int) -> None:
        for callback in self.callbacks:
            _tell(callback, "on_start", planned, finished)

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        for callback in self.callbacks:
            _tell(callback, "on_exam", run, exam if callback.is_harmless else deepcopy(exam), outcome)

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        for callback in self.callbacks:
            _tell(callback, "on_end", run, reason, record)

    @override
    def on_message(self, message: str) -> None:
        for callback in self.callbacks:
            _tell(callback, "on_message", message)
