"""The runner: what is to be run, in batches, so that nothing finished is done again and what was begun goes on."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from grokbench.agents.recipes import Recipe
from grokbench.errors import CheckpointError
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.cohort import Batch, Settings
from grokbench.runs.memory import keep_freed_memory
from grokbench.runs.plan import Experiment, Job, Plan, Run
from grokbench.runs.provenance import code_hash
from grokbench.runs.store import Store, read_checkpoint


def counts(plans: Iterable[Plan], store: Store) -> tuple[int, int]:
    """How many runs are planned, and how many of them are finished already."""
    runs = [(experiment, seed) for one in plans for experiment in one.experiments for seed in one.seeds]
    return len(runs), sum(store.finished(*one) for one in runs)


def run(
    plans: Iterable[Plan],
    store: Store,
    *,
    callbacks: Sequence[Callback] = (),
    device: str = "auto",
    max_steps: int | None = None,
    probes: bool = False,
) -> bool:
    """Make every run that isn't finished yet; returns whether all of them are now.

    With `probes`, linear probes look at every layer now and then, and what they find stands in the records.

    Raises:
        ValueError: torch has no such device.
        StoreError: the folder can't be written; what was finished before is safe.
    """
    keep_freed_memory()
    settings = Settings(_resolve(device), max_steps, probes)
    store.prepare()
    return all([_run_plan(one, store, Callbacks(callbacks), settings) for one in plans])


def _run_plan(plan: Plan, store: Store, watcher: Callback, settings: Settings) -> bool:
    complete = True
    for job in _jobs(plan, store, watcher):
        todo = [run for run in job.runs if not store.finished(run.experiment, run.seed)]
        with contextlib.ExitStack() as held:
            claimed = [run for run in todo if held.enter_context(store.claim(run.experiment, run.seed))]
            for run in todo:
                if run not in claimed:
                    watcher.on_end(run, "another process is at it")
                    complete = False
            if job.checkpoint and len(claimed) < len(todo):
                continue
            # What another process finished between the plan and the claim is left alone.
            claimed = [run for run in claimed if not store.finished(run.experiment, run.seed)]
            if claimed and job.checkpoint and _live_runs(job.checkpoint, plan.experiments, store, watcher) != list(job.runs):
                watcher.on_message(
                    f"{job.checkpoint}: another process went on with it meanwhile; run the command again for the rest"
                )
                complete = False
            elif claimed:
                job = job if job.checkpoint else Job(tuple(claimed))
                complete &= Batch(job, store, watcher, settings).run()
    return complete


def _jobs(plan: Plan, store: Store, watcher: Callback) -> list[Job]:
    """The unfinished runs: those of a checkpointed batch together, the others as many at once as the agent takes."""
    pending = [
        run for run in (Run(c, s) for c in plan.experiments for s in plan.seeds) if not store.finished(run.experiment, run.seed)
    ]
    jobs = []
    for path in (path for experiment in plan.experiments for path in store.checkpoint_paths(experiment)):
        live = _live_runs(path, plan.experiments, store, watcher)
        unfinished = [run for run in live if not store.finished(run.experiment, run.seed)]
        if unfinished and all(run in pending for run in unfinished):
            jobs.append(Job(tuple(live), path))
            pending = [run for run in pending if run not in live]
    size = _batch_size(plan.experiments[0].recipe)
    return jobs + [Job(tuple(pending[i : i + size])) for i in range(0, len(pending), size)]


def _live_runs(path: Path, experiments: Sequence[Experiment], store: Store, watcher: Callback) -> list[Run]:
    """The runs that a checkpoint of these cells holds; one that can't be read, or that other code made, is set aside."""
    try:
        tree = read_checkpoint(path)
        if tree["code"] != code_hash():
            raise CheckpointError("made by another version of grokbench's code")
        ours = {experiment.recipe.hash: experiment for experiment in experiments if experiment.salt == tree["salt"]}
        live = list(zip(tree["recipes"], tree["live"], strict=True))
        return [Run(ours[recipe], seed) for recipe, seed in live] if all(recipe in ours for recipe, _ in live) else []
    except (CheckpointError, KeyError) as error:
        if not path.exists():
            return []  # another process has just finished that batch
        aside = store.set_aside(path)
        watcher.on_message(f"{path}: {error}; moved to {aside.name}, its runs start over")
        return []


def _batch_size(recipe: Recipe) -> int:
    try:
        agent = recipe.make()
    except Exception:
        return 1  # it will fail, run by run, where that is told
    return agent.seeds_together if agent.batched else 1


def _resolve(device: str) -> str:
    """`auto` as cuda where torch finds one, else cpu."""
    try:
        import torch
    except ImportError:
        found = False
    else:
        found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("torch finds no CUDA device here: choose device cpu or auto, or install a torch with CUDA")
    return ("cuda" if found else "cpu") if device == "auto" else device
