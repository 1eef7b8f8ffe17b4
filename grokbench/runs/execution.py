"""Executes a cohort: claims its runs, checks that its checkpoint is current, and takes it through the run loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grokbench.errors import CheckpointError
from grokbench.runs.callbacks import Callback
from grokbench.runs.loop import CohortLoop, RunOptions
from grokbench.runs.plan import Cohort, Experiment, Run
from grokbench.runs.provenance import code_hash
from grokbench.runs.store import Store, read_checkpoint

BUSY = "another process is at it"


@dataclass(frozen=True)
class Claim:
    """What of a cohort this process may run.

    Attributes:
        cohort: the cohort without what is finished or held by another process; None if nothing of it is left to run.
        is_whole: whether no other process is at one of its runs.
    """

    cohort: Cohort | None
    is_whole: bool


@contextmanager
def claimed(cohort: Cohort, store: Store, callback: Callback) -> Iterator[Claim]:
    """Hold the runs of a cohort for this process alone, as far as no other process is at them or was."""
    todo = [run for run in cohort.runs if run not in cohort.finished]
    with store.claim_all(todo) as held:
        busy = [run for run in todo if run not in held]
        for run in busy:
            callback.on_end(run, BUSY, None)
        ours = [run for run in held if not store.finished(run)]
        if not ours or (busy and cohort.checkpoint):
            yield Claim(None, not busy)
        elif _is_stale(cohort, store, callback):
            callback.on_message(
                f"{cohort.checkpoint}: another process went on with it meanwhile; run the command again for the rest"
            )
            yield Claim(None, False)
        else:
            # What another process finished since the plan was made is finished for this cohort too.
            runs = cohort.runs if cohort.checkpoint else tuple(ours)
            yield Claim(Cohort(runs, cohort.checkpoint, frozenset(runs) - frozenset(ours)), not busy)


def run_cohort(cohort: Cohort, store: Store, callback: Callback, options: RunOptions) -> bool:
    """Run a cohort, unless another process is at it or was.

    Args:
        cohort: the runs.
        store: the folder of runs.
        callback: who is told.
        options: how runs are made.

    Returns:
        Whether no run is left over.
    """
    with claimed(cohort, store, callback) as claim:
        is_complete = claim.cohort is None or CohortLoop(claim.cohort, store, callback, options).run()
    return is_complete and claim.is_whole


def live_runs(path: Path, experiments: Sequence[Experiment], store: Store, callback: Callback) -> list[Run]:
    """The runs that a checkpoint of these experiments holds; a checkpoint that can't be used is moved aside."""
    try:
        tree = read_checkpoint(path)
        if tree["code"] != code_hash():
            raise CheckpointError("made by another version of grokbench's code")
        made = (tree["salt"], tree["budget"], tree["exam_grid"])
        known = {
            experiment.recipe.hash: experiment
            for experiment in experiments
            if (experiment.salt, experiment.task.budget, experiment.task.exam_grid) == made
        }
        live = list(zip(tree["recipes"], tree["live"], strict=True))
    except (CheckpointError, KeyError) as error:
        if path.exists():  # else another process has just finished that cohort
            aside = store.set_aside(path)
            callback.on_message(f"{path}: {error}; moved to {aside.name}, its runs start over")
        return []
    return [Run(known[recipe], seed) for recipe, seed in live] if all(recipe in known for recipe, _ in live) else []


def _is_stale(cohort: Cohort, store: Store, callback: Callback) -> bool:
    """Whether the cohort's checkpoint no longer holds the runs that were planned from it."""
    if cohort.checkpoint is None:
        return False
    experiments = [run.experiment for run in cohort.runs]
    return live_runs(cohort.checkpoint, experiments, store, callback) != list(cohort.runs)
