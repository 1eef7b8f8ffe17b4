"""The engine: executes plans on this machine or on a Ray cluster. It repeats no finished run, and resumes what was begun."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

from grokbench.agents.recipes import Recipe
from grokbench.errors import AgentError, FaultyAgentError, ProtocolError, RemoteError, WorkerError
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.changes import change_note
from grokbench.runs.cores import available_cores, computing_threads
from grokbench.runs.execution import live_runs, run_cohort
from grokbench.runs.loop import RunOptions
from grokbench.runs.memory import keep_freed_memory
from grokbench.runs.plan import Cohort, Plan, Run
from grokbench.runs.ray_engine import Cluster, run_on_ray
from grokbench.runs.stopping import stopping_at_exams
from grokbench.runs.store import Store
from grokbench.runs.surroundings import known_surroundings
from grokbench.runs.workers import run_in_workers, unsendable
from grokbench.tasks.task import is_count

DEVICES = ("auto", "cpu", "cuda")


def run(
    plans: Iterable[Plan],
    store: Store,
    *,
    callbacks: Sequence[Callback] = (),
    device: str = "auto",
    max_steps: int | None = None,
    probes: bool = False,
    logits: bool = False,
    threads: int = 1,
    processes: int | None = None,
    cluster: Cluster | None = None,
) -> bool:
    """Make every planned run that isn't finished.

    Cohorts run side by side in worker processes, so their number changes no record. There is no worker for a single cohort,
    on CUDA, or where a recipe can't be sent to another process. The callbacks are called in this process alone.

    Args:
        plans: what to run, see `plan`.
        store: the folder of runs.
        callbacks: who is told of exams, ends and messages.
        device: `cpu`, `cuda`, or `auto` for cuda where torch finds a device.
        max_steps: pause every run at its last exam within so many steps.
        probes: train linear probes on every layer now and then, and keep their accuracy in the records.
        logits: let agents show their logits, and keep the losses on training and held-out questions in the records.
        threads: the threads that a run computes on. A record states them, and may depend on them.
        processes: the most worker processes. None: as many as the cores that this process may use, divided by `threads`.
        cluster: a Ray cluster to run on instead. It computes on GPUs where a cohort takes some, else on CPUs.

    Returns:
        Whether every planned run is complete now, or was paused by `max_steps`.

    Raises:
        WorkerError: `threads` or `processes` is below 1, or no worker can be started.
        ProtocolError: `max_steps` is below 1.
        AgentError: torch finds no such device, or a recipe makes no agent; nothing has run.
        StoreError: the folder can't be written; what was finished before is safe.
        MissingExtraError: a cluster is wanted, and Ray isn't installed.
    """
    if not all(is_count(count) for count in (threads, 1 if processes is None else processes)):
        raise WorkerError(f"threads and processes must be at least 1, in whole numbers, got {threads!r} and {processes!r}")
    if max_steps is not None and not is_count(max_steps):
        raise ProtocolError(f"max_steps must be a whole number of steps from 1 up, got {max_steps!r}")
    chosen = resolve_device(device) if cluster is None else cluster.device(device)
    options = RunOptions(chosen, max_steps, probes, logits, int(threads))
    keep_freed_memory()
    with computing_threads(threads):
        return _Engine(list(plans), store, Callbacks(callbacks), options).run(processes, cluster)


def resolve_device(device: str) -> str:
    """`auto` as `cuda` where torch finds a CUDA device, else as `cpu`.

    Raises:
        AgentError: `cuda` is wanted and there is none, or it is no device.
    """
    if device not in DEVICES:
        raise AgentError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    has_cuda = _has_cuda()
    if device == "cuda" and not has_cuda:
        raise AgentError("torch finds no CUDA device here: choose device cpu or auto, or install a torch with CUDA")
    return ("cuda" if has_cuda else "cpu") if device == "auto" else device


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


class _Engine:
    """One call of `run`: plans, the folder, the listeners, and the options of every run."""

    def __init__(self, plans: Sequence[Plan], store: Store, callback: Callback, options: RunOptions) -> None:
        self.plans, self.store, self.callback, self.options = plans, store, callback, options

    def run(self, processes: int | None, cluster: Cluster | None) -> bool:
        unfinished = [[run for run in plan.runs if not self.store.finished(run)] for plan in self.plans]
        todo = [(plan, runs) for plan, runs in zip(self.plans, unfinished, strict=True) if runs]
        self.sizes = self._cohort_sizes(plan.experiments[0].recipe for plan, _ in todo)
        if todo:
            self.store.prepare()
        self._tell_changes(plan for plan, _ in todo)
        planned = sum(len(plan.runs) for plan in self.plans)
        self.callback.on_start(planned, planned - sum(map(len, unfinished)))
        for note in self.store.take_notes():
            self.callback.on_message(note)
        cohorts = [cohort for plan, runs in todo for cohort in self._cohorts(plan, runs)]
        if cluster is not None:
            return run_on_ray(cohorts, self.store, self.callback, self.options, cluster)
        count = self._process_count(cohorts, processes)
        if count > 1:
            return run_in_workers(cohorts, self.store, self.callback, self.options, processes=count)
        with stopping_at_exams(self.callback.on_message):
            complete = [run_cohort(cohort, self.store, self.callback, self.options) for cohort in cohorts]
        return all(complete)

    def _tell_changes(self, plans: Iterable[Plan]) -> None:
        """Say once for each recipe what differs from earlier runs under its name."""
        told: set[str] = set()
        for experiment in (experiment for plan in plans for experiment in plan.experiments):
            if experiment.recipe.hash not in told and (note := change_note(experiment, self.store)):
                told.add(experiment.recipe.hash)
                self.callback.on_message(note)

    def _cohort_sizes(self, recipes: Iterable[Recipe]) -> dict[str, int]:
        """The most members of a cohort, by the recipe's hash. A wrong recipe is reported here, before anything runs.

        An agent whose own code fails is left to its runs, whose records say why. So is one whose process dies.
        """
        sizes: dict[str, int] = {}
        for recipe in recipes:
            if recipe.hash not in sizes:
                with known_surroundings(), contextlib.suppress(FaultyAgentError, RemoteError):
                    agent = recipe.make()
                    sizes[recipe.hash] = agent.seeds_together if agent.batched else 1
        return sizes

    def _process_count(self, cohorts: Sequence[Cohort], processes: int | None) -> int:
        """The number of workers; 1 is this process itself."""
        if self.options.device == "cuda" or os.name != "posix":
            return 1
        count = min(len(cohorts), processes or max(1, available_cores() // self.options.threads))
        recipes = {run.experiment.recipe for cohort in cohorts for run in cohort.runs}
        if count > 1 and (reason := unsendable(recipes)):
            self.callback.on_message(f"{reason}: all runs are made in this process, one after another")
            return 1
        return count

    def _cohorts(self, plan: Plan, pending: list[Run]) -> Iterator[Cohort]:
        """The unfinished runs of a plan: those of each checkpoint together, then the others, as many as the agent takes."""
        for path in (path for experiment in plan.experiments for path in self.store.checkpoint_paths(experiment)):
            live = live_runs(path, plan.experiments, self.store, self.callback)
            finished = frozenset(run for run in live if run not in pending and self.store.finished(run))
            unfinished = [run for run in live if run not in finished]
            if unfinished and all(run in pending for run in unfinished):
                pending = [run for run in pending if run not in live]
                yield Cohort(tuple(live), path, finished)
        size = self.sizes.get(plan.experiments[0].recipe.hash, 1)
        for start in range(0, len(pending), size):
            yield Cohort(tuple(pending[start : start + size]))
