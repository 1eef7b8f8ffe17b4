"""A worker process: it runs the cohorts that its parent sends, and tells the parent what happens to their runs.

It ends when its parent closes the pipe, or dies, which closes the pipe too. The cohort is saved at its next exam then. If none
comes in time, the worker has half a second to put down what it is doing, and loses what a kill loses: the steps since the last
checkpoint.
"""

import contextlib
import os
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from typing_extensions import override

from grokbench.errors import AgentError, WorkerError
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.callbacks import Callback
from grokbench.runs.cores import computing_threads
from grokbench.runs.execution import run_cohort
from grokbench.runs.loop import RunOptions
from grokbench.runs.memory import keep_freed_memory
from grokbench.runs.plan import Cohort, Run
from grokbench.runs.records import RunRecord
from grokbench.runs.stopping import SECONDS_TO_SAVE, ask_to_stop, is_asked_to_stop
from grokbench.runs.store import Store

SECONDS_TO_END = 0.5


@dataclass(frozen=True)
class Work:
    """From the parent: a cohort to run."""

    cohort: Cohort
    out: Path
    options: RunOptions


@dataclass(frozen=True)
class Ready:
    """To the parent: the worker has started."""


@dataclass(frozen=True)
class ExamTaken:
    """To the parent: `Callback.on_exam` of the cohort's run with this number."""

    member: int
    exam: Exam
    outcome: Outcome


@dataclass(frozen=True)
class RunEnded:
    """To the parent: `Callback.on_end` of the cohort's run with this number."""

    member: int
    reason: str
    record: RunRecord | None


@dataclass(frozen=True)
class MessageSent:
    """To the parent: `Callback.on_message`."""

    text: str


@dataclass(frozen=True)
class CohortDone:
    """To the parent: what `run_cohort` returned. The worker waits for more work."""

    complete: bool


@dataclass(frozen=True)
class CohortRaised:
    """To the parent: what `run_cohort` raised."""

    error: Exception


Report = Ready | ExamTaken | RunEnded | MessageSent | CohortDone | CohortRaised


class _Parent(Callback):
    """The parent at the other end of the pipe, as the callback of a cohort."""

    is_harmless = True

    def __init__(self, pipe: Connection, runs: tuple[Run, ...]) -> None:
        self.pipe, self.runs = pipe, runs

    def tell(self, report: Report) -> None:
        """Send a report. If the parent is gone, the cohort is asked to stop."""
        try:
            self.pipe.send(report)
        except OSError:
            ask_to_stop()

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        self.tell(ExamTaken(self.runs.index(run), exam, outcome))

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        self.tell(RunEnded(self.runs.index(run), reason, record))

    @override
    def on_message(self, message: str) -> None:
        self.tell(MessageSent(message))


def main(descriptor: int) -> None:
    """Run cohorts until the pipe with this file descriptor is closed."""
    signal.signal(signal.SIGTERM, _stop)
    pipe, queue = Connection(descriptor), SimpleQueue[bytes]()
    threading.Thread(target=_listen, args=(pipe, queue), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        keep_freed_memory()
        _Parent(pipe, ()).tell(Ready())
        while (content := queue.get()) and not is_asked_to_stop():
            _work(content, pipe)


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Ask to stop; the second time, stop."""
    if is_asked_to_stop():
        raise KeyboardInterrupt
    ask_to_stop()


def _listen(pipe: Connection, queue: "SimpleQueue[bytes]") -> None:
    """Queue what the parent sends. When the pipe closes, ask to stop, then interrupt, and end the process in any case."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            queue.put(pipe.recv_bytes())
    ask_to_stop()
    queue.put(b"")  # for a worker that waits for work
    time.sleep(SECONDS_TO_SAVE)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(1)


def _work(content: bytes, pipe: Connection) -> None:
    """Run the cohort in a message, and report how that ended."""
    try:
        work: Work = pickle.loads(content)
    except Exception as error:
        _Parent(pipe, ()).tell(CohortRaised(AgentError(f"a worker process can't load the agent: {error}")))
        return
    parent = _Parent(pipe, work.cohort.runs)
    try:
        with computing_threads(work.options.threads):
            done: Report = CohortDone(run_cohort(work.cohort, Store(work.out), parent, work.options))
    except Exception as error:
        done = CohortRaised(_portable(error))
    parent.tell(done)


def _portable(error: Exception) -> Exception:
    """The error, or one with its words where it can't be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}")
    return error
