"""Running cohorts on a Ray cluster. A cohort is a Ray task; its records and checkpoints come back to the driver's folder.

A task is a generator of reports: exams, messages, and every file that it writes. So the nodes share no file system. If a node
or a worker dies, its cohort starts again from the last checkpoint that came back. An agent's own failure ends its runs, as it
does without Ray.
"""

import os
import pickle
import queue
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cloudpickle
from typing_extensions import override

from grokbench.errors import AgentError, MissingExtraError, WorkerError, install
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.callbacks import Callback
from grokbench.runs.cores import available_cores, computing_threads
from grokbench.runs.execution import claimed, live_runs, run_cohort
from grokbench.runs.loop import RunOptions
from grokbench.runs.memory import keep_freed_memory
from grokbench.runs.plan import Cohort, Run
from grokbench.runs.provenance import code_hash
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store
from grokbench.runs.worker import CohortDone, CohortRaised, ExamTaken, MessageSent, RunEnded

MOST_LOSSES = 3  # of a cohort's workers, before its runs count as failed
SECONDS_BETWEEN_EXAMS = 1.0  # that a cohort reports; only the display needs them
WAITING = 2  # tasks beyond what the cluster can compute at once, so that no node waits for the driver
SECONDS_TO_WAIT = 1.0
SECONDS_TO_CONNECT = 10.0


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs, and what a cohort takes of it.

    Attributes:
        address: the cluster's address; None starts one on this machine, or takes the one that the process is connected to.
        gpus_per_cohort: GPUs for each cohort, also a fraction; 0 computes on CPUs.
    """

    address: str | None = None
    gpus_per_cohort: float = 0.0

    def device(self, wanted: str) -> str:
        """Where its cohorts compute, `cuda` or `cpu`.

        Raises:
            AgentError: `cuda` is wanted, and a cohort takes no GPU.
        """
        if wanted == "cuda" and not self.gpus_per_cohort:
            raise AgentError("device cuda on Ray needs --gpus-per-cohort, such as 0.25")
        return "cuda" if self.gpus_per_cohort and wanted != "cpu" else "cpu"


@dataclass(frozen=True)
class FileWritten:
    """To the driver: a record or a checkpoint, by its path below the folder of runs."""

    path: str
    content: bytes


@dataclass(frozen=True)
class FileRemoved:
    """To the driver: a checkpoint that is no longer needed."""

    path: str


Report = FileWritten | FileRemoved | ExamTaken | RunEnded | MessageSent | CohortDone | CohortRaised


@dataclass(frozen=True)
class Work:
    """To a worker: a cohort, the checkpoint that it continues from, and how it runs."""

    cohort: Cohort
    checkpoint: FileWritten | None
    options: RunOptions
    code: str | None


def run_on_ray(cohorts: Sequence[Cohort], store: Store, callback: Callback, options: RunOptions, cluster: Cluster) -> bool:
    """Run cohorts on a Ray cluster. The callback is called in this process alone.

    Returns:
        Whether every cohort is complete.

    Raises:
        MissingExtraError: Ray isn't installed.
        WorkerError: there is no cluster at the address, or a node has another version of grokbench.
    """
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, cluster, cohorts)
    try:
        return _Driver(ray, cohorts, store, callback, options, cluster).run()
    finally:
        if started:
            ray.shutdown()


def import_ray() -> Any:
    """The package ray.

    Raises:
        MissingExtraError: it isn't installed.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(f"--engine ray needs Ray: {install('ray')}")
    import ray

    return ray


def _connect(ray: Any, cluster: Cluster, cohorts: Sequence[Cohort]) -> None:
    """Connect to the cluster, or start one here. An agent's own modules travel to its nodes."""
    recipes = {run.experiment.recipe for cohort in cohorts for run in cohort.runs}
    modules = {name.partition(".")[0] for recipe in recipes for name in recipe.sources.modules}
    paths = [path for module in sorted(modules) if (path := _module_path(module)) is not None]
    options: dict[str, Any] = {"address": cluster.address, "log_to_driver": False, "logging_level": "error"}
    if cluster.address is None:
        # Without "local" Ray would look for a cluster that was once started here, for minutes if it is gone.
        options |= {"address": "local", "num_cpus": available_cores(), "include_dashboard": False}
    else:
        _check_reachable(cluster.address)
    if paths:
        options["runtime_env"] = {"py_modules": paths}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkerError(f"can't connect to Ray at {cluster.address or 'this machine'}: {error}") from error


def _check_reachable(address: str) -> None:
    """Raise WorkerError where nothing listens at `host:port`. Ray itself would try again for minutes.

    `auto` is what RAY_ADDRESS says, or the cluster that was last started on this machine, which can be gone.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or _last_cluster()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():  # such as ray://…
        return
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise WorkerError(f"nothing answers at {address} ({error}): start Ray there, or name another --address") from None


def _last_cluster() -> str:
    """The address that Ray keeps of the cluster that was last started here; empty if there is none."""
    try:
        return (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _module_path(name: str) -> str | None:
    """The file or the folder of a top-level module that is an agent's own."""
    spec = find_spec(name) if name.isidentifier() and name != "__main__" else None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return str(origin.parent if origin.name == "__init__.py" else origin)


@dataclass
class _Task:
    """A cohort on its way.

    Attributes:
        cohort: the runs.
        held: the locks of its runs.
        losses: how often its worker was lost.
        checkpoint: the path of the last checkpoint that came back.
    """

    cohort: Cohort
    held: ExitStack
    losses: int = 0
    checkpoint: Path | None = None


class _Driver:
    """One call of `run_on_ray`."""

    def __init__(
        self, ray: Any, cohorts: Sequence[Cohort], store: Store, callback: Callback, options: RunOptions, cluster: Cluster
    ) -> None:
        self.ray, self.store, self.callback, self.options, self.cluster = ray, store, callback, options, cluster
        self.waiting, self.tasks = deque(cohorts), dict[Any, _Task]()
        self.complete = True
        resources = {"num_cpus": options.threads, "num_gpus": cluster.gpus_per_cohort}
        self.remote = ray.remote(max_retries=0, **resources)(work)

    def run(self) -> bool:
        """Run all cohorts; returns whether every one is complete."""
        try:
            self._submit()
            while self.tasks:
                ready, _ = self.ray.wait(list(self.tasks), num_returns=1, timeout=SECONDS_TO_WAIT, fetch_local=False)
                for generator in ready:
                    self._listen(generator)
                self._submit()
        finally:
            for generator, task in self.tasks.items():
                with suppress(Exception):
                    self.ray.cancel(generator, force=True)
                task.held.close()
        return self.complete

    def _capacity(self) -> int:
        """The cohorts that the cluster, as it is now, computes at once."""
        resources = self.ray.cluster_resources()
        by_cpu = int(resources.get("CPU", 0) // self.options.threads)
        gpus = self.cluster.gpus_per_cohort
        return min(by_cpu, int(resources.get("GPU", 0) // gpus)) if gpus else by_cpu

    def _submit(self) -> None:
        """Keep the cluster busy, and a few tasks waiting."""
        if not self.waiting:
            return
        most = self._capacity() + WAITING
        while self.waiting and len(self.tasks) < most:
            self._start(self.waiting.popleft())

    def _start(self, cohort: Cohort) -> None:
        """Claim a cohort's runs, and send it."""
        held = ExitStack()
        claim = held.enter_context(claimed(cohort, self.store, self.callback))
        self.complete = self.complete and claim.is_whole
        if claim.cohort is None:
            held.close()
            return
        self._send(_Task(claim.cohort, held, checkpoint=claim.cohort.checkpoint))

    def _send(self, task: _Task) -> None:
        path = task.cohort.checkpoint
        content = FileWritten(path.relative_to(self.store.out).as_posix(), path.read_bytes()) if path else None
        sent = Work(replace(task.cohort, checkpoint=None), content, self.options, code_hash())
        self.tasks[self.remote.remote(cloudpickle.dumps(sent))] = task

    def _listen(self, generator: Any) -> None:
        """Pass on the next report of a task."""
        task = self.tasks[generator]
        try:
            report: Report = pickle.loads(self.ray.get(next(generator)))
        except StopIteration:  # without a last report
            self._lost(generator, "it ended without a result")
            return
        except self.ray.exceptions.RayTaskError as error:
            self._end(generator)
            raise WorkerError(f"a cohort failed on its node: {error}") from None
        except self.ray.exceptions.RayError as error:
            self._lost(generator, str(error).strip().partition("\n")[0])
            return
        match report:
            case FileWritten(path, content):
                self.store.write(self.store.out / path, content)
                if path.endswith(".safetensors"):
                    task.checkpoint = self.store.out / path
            case FileRemoved(path):
                self.store.remove(self.store.out / path)
                task.checkpoint = None
            case ExamTaken(member, exam, outcome):
                self.callback.on_exam(task.cohort.runs[member], exam, outcome)
            case RunEnded(member, reason, record):
                self.callback.on_end(task.cohort.runs[member], reason, record)
            case MessageSent(text):
                self.callback.on_message(text)
            case CohortDone(complete):
                self.complete = self.complete and complete
                self._end(generator)
            case CohortRaised(raised):
                self._end(generator)
                raise raised

    def _end(self, generator: Any) -> None:
        self.tasks.pop(generator).held.close()

    def _lost(self, generator: Any, why: str) -> None:
        """Send a cohort again whose worker is lost, from its last checkpoint."""
        task = self.tasks.pop(generator)
        unfinished = [run for run in task.cohort.runs if run not in task.cohort.finished and not self.store.finished(run)]
        task.losses += 1
        if not unfinished:
            task.held.close()
        elif task.losses >= MOST_LOSSES:
            self.complete = False
            for run in unfinished:
                self.callback.on_end(run, f"failed: its worker was lost {task.losses} times, the last time because {why}", None)
            task.held.close()
        else:
            self.callback.on_message(f"a worker was lost ({why}); {len(unfinished)} runs go on from their last checkpoint")
            task.cohort = self._again(task, unfinished)
            self._send(task)

    def _again(self, task: _Task, unfinished: Sequence[Run]) -> Cohort:
        """What is left of a cohort: the members of its checkpoint, or its unfinished runs from the start."""
        if task.checkpoint is not None and task.checkpoint.exists():
            experiments = [run.experiment for run in task.cohort.runs]
            live = live_runs(task.checkpoint, experiments, self.store, self.callback)
            if live:
                return Cohort(tuple(live), task.checkpoint, frozenset(live) - frozenset(unfinished))
        return Cohort(tuple(unfinished))


def work(content: bytes) -> Iterator[bytes]:
    """Run the cohort in a message, on a node; yields pickled reports. Raises WorkerError for another version of grokbench."""
    sent: Work = pickle.loads(content)
    if sent.code != code_hash():
        raise WorkerError("a node has another version of grokbench than the driver: install the same on all nodes")
    reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=_run, args=(sent, Path(folder), reports), daemon=True)
        thread.start()
        while (report := reports.get()) is not None:
            yield cloudpickle.dumps(report)
        thread.join()


def _run(sent: Work, folder: Path, reports: "queue.SimpleQueue[Report | None]") -> None:
    """Run the cohort, and queue what it reports; None ends."""
    store, cohort = _RelayStore(folder, reports), sent.cohort
    try:
        keep_freed_memory()
        if sent.checkpoint is not None:
            path = folder / sent.checkpoint.path
            Store(folder).write(path, sent.checkpoint.content)
            cohort = replace(cohort, checkpoint=path)
        with computing_threads(sent.options.threads):
            done: Report = CohortDone(run_cohort(cohort, store, _Relay(cohort.runs, reports), sent.options))
    except Exception as error:
        done = CohortRaised(AgentError(f"{type(error).__name__}: {error}"))
    reports.put(done)
    reports.put(None)


class _RelayStore(Store):
    """A folder of runs on a node, whose files go to the driver too."""

    def __init__(self, out: Path, reports: "queue.SimpleQueue[Report | None]") -> None:
        super().__init__(out)
        self.reports = reports

    @override
    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self.reports.put(FileWritten(path.relative_to(self.out).as_posix(), content))

    @override
    def remove(self, path: Path) -> None:
        super().remove(path)
        self.reports.put(FileRemoved(path.relative_to(self.out).as_posix()))


class _Relay(Callback):
    """The driver, as the callback of a cohort."""

    is_harmless = True

    def __init__(self, runs: Sequence[Run], reports: "queue.SimpleQueue[Report | None]") -> None:
        self.runs, self.reports, self.told = runs, reports, 0.0

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        if time.monotonic() - self.told > SECONDS_BETWEEN_EXAMS:
            self.told = time.monotonic()
            self.reports.put(ExamTaken(self.runs.index(run), exam, outcome))

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        self.reports.put(RunEnded(self.runs.index(run), reason, record))

    @override
    def on_message(self, message: str) -> None:
        self.reports.put(MessageSent(message))
