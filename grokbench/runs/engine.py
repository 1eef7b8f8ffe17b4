"""The engine: executes plans on this machine. It repeats no finished run, and it resumes what was begun."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe
from grokbench.errors import AgentError, CheckpointError
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.loop import CohortLoop, RunOptions
from grokbench.runs.memory import keep_freed_memory
from grokbench.runs.plan import Cohort, Experiment, Plan, Run
from grokbench.runs.provenance import code_hash
from grokbench.runs.store import Store, read_checkpoint

BUSY = "another process is at it"


def run(
    plans: Iterable[Plan],
    store: Store,
    *,
    callbacks: Sequence[Callback] = (),
    device: str = "auto",
    max_steps: int | None = None,
    probes: bool = False,
) -> bool:
    """Make every planned run that isn't finished.

    Args:
        plans: what to run, see `plan`.
        store: the folder of runs.
        callbacks: who is told of exams, ends and messages.
        device: `cpu`, `cuda`, or `auto` for cuda where torch finds a device.
        max_steps: pause every run at its last exam within so many steps.
        probes: train linear probes on every layer now and then, and keep their accuracy in the records.

    Returns:
        Whether every planned run is complete now, or was paused by `max_steps`.

    Raises:
        AgentError: torch finds no such device, or a recipe makes no agent; nothing has run.
        StoreError: the folder can't be written; what was finished before is safe.
    """
    options = RunOptions(resolve_device(device), max_steps, probes)
    keep_freed_memory()
    return _Engine(list(plans), store, Callbacks(callbacks), options).run()


def resolve_device(device: str) -> str:
    """`auto` as `cuda` where torch finds a CUDA device, else as `cpu`.

    Raises:
        AgentError: `cuda` is wanted and there is none.
    """
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

    def run(self) -> bool:
        unfinished = [[run for run in plan.runs if not self.store.finished(run)] for plan in self.plans]
        todo = [(plan, runs) for plan, runs in zip(self.plans, unfinished, strict=True) if runs]
        self.waiting = _first_agents(plan.experiments[0].recipe for plan, _ in todo)
        self.sizes = {recipe: agent.seeds_together if agent.batched else 1 for recipe, agent in self.waiting.items()}
        self.store.prepare()
        planned = sum(len(plan.runs) for plan in self.plans)
        self.callback.on_start(planned, planned - sum(map(len, unfinished)))
        complete = [self._run_cohort(cohort) for plan, runs in todo for cohort in self._cohorts(plan, runs)]
        return all(complete)

    def _cohorts(self, plan: Plan, pending: list[Run]) -> Iterator[Cohort]:
        """The unfinished runs of a plan: those of each checkpoint together, then the others, as many as the agent takes."""
        for path in (path for experiment in plan.experiments for path in self.store.checkpoint_paths(experiment)):
            live = self._live_runs(path, plan.experiments)
            finished = frozenset(run for run in live if run not in pending and self.store.finished(run))
            unfinished = [run for run in live if run not in finished]
            if unfinished and all(run in pending for run in unfinished):
                pending = [run for run in pending if run not in live]
                yield Cohort(tuple(live), path, finished)
        size = self.sizes.get(plan.experiments[0].recipe.hash, 1)
        for start in range(0, len(pending), size):
            yield Cohort(tuple(pending[start : start + size]))

    def _run_cohort(self, cohort: Cohort) -> bool:
        """Run a cohort, unless another process is at it or was; returns whether no run is left over."""
        todo = [run for run in cohort.runs if run not in cohort.finished]
        with self.store.claim_all(todo) as claimed:
            busy = [run for run in todo if run not in claimed]
            for run in busy:
                self.callback.on_end(run, BUSY, None)
            ours = [run for run in claimed if not self.store.finished(run)]
            if not ours or (busy and cohort.checkpoint):
                return not busy
            if self._is_stale(cohort):
                self.callback.on_message(
                    f"{cohort.checkpoint}: another process went on with it meanwhile; run the command again for the rest"
                )
                return False
            # What another process finished since the plan was made is finished for this cohort too.
            runs = cohort.runs if cohort.checkpoint else tuple(ours)
            cohort = Cohort(runs, cohort.checkpoint, frozenset(runs) - frozenset(ours))
            complete = CohortLoop(cohort, self._take_agent(cohort), self.store, self.callback, self.options).run()
            return complete and not busy

    def _is_stale(self, cohort: Cohort) -> bool:
        """Whether the cohort's checkpoint no longer holds the runs that were planned from it."""
        if cohort.checkpoint is None:
            return False
        experiments = [run.experiment for run in cohort.runs]
        return self._live_runs(cohort.checkpoint, experiments) != list(cohort.runs)

    def _live_runs(self, path: Path, experiments: Sequence[Experiment]) -> list[Run]:
        """The runs that a checkpoint of these experiments holds; a checkpoint that can't be used is moved aside."""
        try:
            tree = read_checkpoint(path)
            if tree["code"] != code_hash():
                raise CheckpointError("made by another version of grokbench's code")
            known = {experiment.recipe.hash: experiment for experiment in experiments if experiment.salt == tree["salt"]}
            live = list(zip(tree["recipes"], tree["live"], strict=True))
        except (CheckpointError, KeyError) as error:
            if path.exists():  # else another process has just finished that cohort
                aside = self.store.set_aside(path)
                self.callback.on_message(f"{path}: {error}; moved to {aside.name}, its runs start over")
            return []
        return [Run(known[recipe], seed) for recipe, seed in live] if all(recipe in known for recipe, _ in live) else []

    def _take_agent(self, cohort: Cohort) -> Agent | None:
        """The agent made for planning, once, if the cohort has one recipe; None lets the cohort make its own."""
        recipes = {run.experiment.recipe.hash for run in cohort.runs}
        return self.waiting.pop(recipes.pop(), None) if len(recipes) == 1 else None


def _first_agents(recipes: Iterable[Recipe]) -> dict[str, Agent]:
    """An agent of every recipe, by the recipe's hash, so that a wrong recipe is reported before anything runs.

    A failure that isn't the recipe's, such as an agent's process that dies, is left for its runs' records.
    """
    agents: dict[str, Agent] = {}
    for recipe in recipes:
        if recipe.hash not in agents:
            try:
                agents[recipe.hash] = recipe.make()
            except AgentError:
                raise
            except Exception:
                continue
    return agents
