"""Worker processes, seen from their parent: each takes a cohort at a time until all are done."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Pipe, wait

import cloudpickle

from grokbench.agents.recipes import Recipe
from grokbench.errors import WorkerError
from grokbench.runs.callbacks import Callback
from grokbench.runs.cores import THREAD_VARIABLES
from grokbench.runs.loop import RunOptions
from grokbench.runs.plan import Cohort
from grokbench.runs.stopping import ASKED, SECONDS_TO_SAVE, interrupted_by_sigterm
from grokbench.runs.store import Store
from grokbench.runs.worker import CohortDone, CohortRaised, ExamTaken, MessageSent, Ready, Report, RunEnded, Work

# A worker never imports the parent's main module, so scripts need no `if __name__ == "__main__"`.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from grokbench.runs.worker import main; main(int(sys.argv[2]))"
)
SECONDS_TO_END = 2.0  # more than workers take by themselves
CONTINUES = "its runs continue from the last checkpoint when the command is run again"


def run_in_workers(cohorts: Iterable[Cohort], store: Store, callback: Callback, options: RunOptions, *, processes: int) -> bool:
    """Run cohorts in worker processes. The callback is called in this process alone.

    Args:
        cohorts: what to run.
        store: the folder of runs.
        callback: who is told.
        options: how runs are made.
        processes: the most workers at a time.

    Returns:
        Whether every cohort is complete. A cohort whose worker died isn't.

    Raises:
        WorkerError: no worker can be started here.
    """
    pool = _Pool(cohorts, store, callback, options, processes)
    with interrupted_by_sigterm():
        try:
            return pool.run()
        except KeyboardInterrupt:
            callback.on_message(ASKED)
            raise
        finally:
            _end(pool.workers)


def unsendable(recipes: Iterable[Recipe]) -> str | None:
    """Why one of the recipes can't be sent to a worker; None if all can. A class of a notebook can, with what it refers to."""
    for recipe in recipes:
        try:
            cloudpickle.dumps(recipe)
        except Exception as error:
            return f"{recipe.name} can't be sent to another process ({type(error).__name__}: {error})"
    return None


class _Worker:
    """A worker process.

    Attributes:
        pipe: the connection to it.
        ready: whether it has said that it started.
        cohort: what it runs now; None while it is idle.
        unended: the numbers of the cohort's runs that haven't ended.
    """

    def __init__(self, threads: int) -> None:
        self.pipe, far_end = Pipe()
        with far_end, _blocked_interrupts():
            descriptor = far_end.fileno()
            places = [place for place in sys.path if isinstance(place, str)]  # Python passes over anything else
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, json.dumps(places), str(descriptor)],
                stdin=subprocess.DEVNULL,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
                pass_fds=[descriptor],
            )
        self.ready = False
        self.cohort: Cohort | None = None
        self.unended: set[int] = set()

    def start(self, cohort: Cohort, store: Store, options: RunOptions) -> None:
        """Give it a cohort."""
        self.cohort = cohort
        self.unended = {member for member, run in enumerate(cohort.runs) if run not in cohort.finished}
        with contextlib.suppress(OSError):  # a worker that is dead is noticed when it is listened to
            self.pipe.send_bytes(cloudpickle.dumps(Work(cohort, store.out, options)))

    def report(self) -> Report | None:
        """What it says next; None if it has died."""
        try:
            report: Report = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return report

    def death(self) -> str:
        """How it died, in words."""
        status = self.process.wait()
        return f"killed by signal {-status}" if status < 0 else f"ended with exit status {status}"


class _Pool:
    """The workers of one call, and the cohorts that wait for them."""

    def __init__(
        self, cohorts: Iterable[Cohort], store: Store, callback: Callback, options: RunOptions, processes: int
    ) -> None:
        self.waiting, self.processes = deque(cohorts), processes
        self.store, self.callback, self.options = store, callback, options
        self.workers: list[_Worker] = []
        self.complete = True

    def run(self) -> bool:
        """Run all cohorts; returns whether every one is complete."""
        self._give_work()
        while any(worker.cohort for worker in self.workers):
            ready = wait([worker.pipe for worker in self.workers])
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                self._listen(worker)
            self._give_work()
        return self.complete

    def _give_work(self) -> None:
        while self.waiting and (worker := self._idle_worker()):
            worker.start(self.waiting.popleft(), self.store, self.options)

    def _idle_worker(self) -> _Worker | None:
        """A worker without work, a new process if need be; None if there may be no more."""
        idle = [worker for worker in self.workers if not worker.cohort]
        if not idle and len(self.workers) < self.processes:
            idle = [_Worker(self.options.threads)]
            self.workers += idle
        return idle[0] if idle else None

    def _listen(self, worker: _Worker) -> None:
        """Pass on what a worker says."""
        runs = worker.cohort.runs if worker.cohort else ()
        match worker.report():
            case Ready():
                worker.ready = True
            case ExamTaken(member, exam, outcome):
                self.callback.on_exam(runs[member], exam, outcome)
            case RunEnded(member, reason, record):
                worker.unended.discard(member)
                self.callback.on_end(runs[member], reason, record)
            case MessageSent(text):
                self.callback.on_message(text)
            case CohortDone(complete):
                worker.cohort = None
                self.complete = self.complete and complete
            case CohortRaised(error):
                raise error
            case None:
                self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Report the runs of a dead worker, and make room for another."""
        self.workers.remove(worker)
        worker.pipe.close()
        death = worker.death()
        if not worker.ready:
            raise WorkerError(f"a worker process {death} before it was ready: run the command with --processes 1")
        if worker.cohort:
            self.complete = False
            for member in sorted(worker.unended):
                self.callback.on_end(worker.cohort.runs[member], f"failed: worker {death}; {CONTINUES}", None)


def _end(workers: Sequence[_Worker]) -> None:
    """End workers: they notice that their pipe is closed, and save their runs. One that doesn't in time is killed."""
    for worker in workers:
        worker.pipe.close()
    deadline = time.monotonic() + SECONDS_TO_SAVE + SECONDS_TO_END
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        for worker in workers:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@contextlib.contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Within it Ctrl-C waits. A process that starts within it never gets Ctrl-C: its parent ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
