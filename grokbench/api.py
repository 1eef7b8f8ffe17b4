"""What a notebook calls to make runs: `grokbench.run` and `grokbench.sweep`."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe, recipe
from grokbench.errors import AgentError, SweepError
from grokbench.results.frames import RunResult, Runs
from grokbench.runs import engine
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.execution import BUSY
from grokbench.runs.plan import Run, plan
from grokbench.runs.progress import Progress, SweepProgress
from grokbench.runs.ray_engine import Cluster
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store
from grokbench.sweeps.grid import make_grid
from grokbench.sweeps.sweep import run_plans
from grokbench.tasks import ExamGrid


def run(
    agent: str | PathLike[str] | type[Agent] | Recipe,
    task: str,
    *,
    seed: int = 0,
    salt: str = "",
    out: str | Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    max_steps: int | None = None,
    budget: int | None = None,
    probes: bool = False,
    logits: bool = False,
    threads: int = 1,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> RunResult:
    """Run one agent on one task with one seed.

    ```python
    run = grokbench.run("transformer", "add_mod47-0.7", seed=0)
    run.steps_to_generalize
    ```

    Args:
        agent: a recipe's name or file, a `Recipe`, or a class derived from `grokbench.Agent`, from a notebook too.
        task: the task's id.
        seed: the seed of the instance; the official ones are 0 to 9.
        salt: empty for the published instances; any other text draws fresh ones.
        out: the folder of runs. A run that is finished there isn't repeated. None keeps nothing on disk.
        device: where the agent computes.
        max_steps: pause at the last exam within so many steps.
        budget: the largest step that counts as T, None for the task's own. A run lasts twice as long at most.
        probes: train linear probes on every layer now and then.
        logits: let the agent show logits, so that the exams have `train_loss` and `held_out_loss`.
        threads: the threads that the run computes on. torch's own number comes back afterwards.
        callbacks: who is told of exams and ends, such as `WandbLogger`.
        progress: show a live table.

    Raises:
        TaskError: the id names no task, or the seed is out of range.
        AgentError: the agent can't be made, or failed while it ran; the message says why.
        CallbackError: a callback failed.
    """
    chosen = agent if isinstance(agent, Recipe) else recipe(agent)
    plans = plan([task], [chosen], seeds=[seed], salt=salt, budget=budget)
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) if out is None else Path(out))
        busy = _Busy()
        with Progress(max_steps=max_steps) if progress else nullcontext(Callback()) as shown:
            engine.run(
                plans,
                store,
                callbacks=[shown, busy, Callbacks(callbacks)],
                device=device,
                max_steps=max_steps,
                probes=probes,
                logits=logits,
                threads=threads,
                processes=1,
            )
        if busy.run:
            raise AgentError(f"{task} seed {seed}: another process is making this run; wait for it")
        record = read_record(store.record_path(plans[0].runs[0]))
    if record.incomplete and record.incomplete.startswith("failed"):
        raise AgentError(f"{record.task} {record.agent.name} seed {seed} {record.incomplete}")
    return RunResult(record)


def sweep(
    agents: str | PathLike[str] | type[Agent] | Recipe | Sequence[str | PathLike[str] | type[Agent] | Recipe],
    tasks: str | Sequence[str],
    *,
    vary: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | str = range(10),
    out: str | Path | None = None,
    salt: str = "",
    budget: int | None = None,
    exams: ExamGrid = "full",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    probes: bool = False,
    logits: bool = False,
    threads: int = 1,
    processes: int | None = None,
    cluster: Cluster | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    **axes: Any,
) -> Runs:
    """Run agents on tasks with every combination of the values of some axes.

    ```python
    decays = [0.1, 0.3, 1, 3]
    runs = grokbench.sweep("mlp", "add_mod47-{ratio}", ratio=[0.3, 0.5], vary={"weight_decay": decays}, out="runs/decay")
    runs.phase(x="ratio", y="weight_decay").savefig("phase.png")
    ```

    Args:
        agents: recipes by name or file, `Recipe`s, or classes derived from `grokbench.Agent`; one or several.
        tasks: task ids with names in braces, such as `add_mod47-{ratio}`; one or several.
        vary: axis → its values: a list, an array, or a text such as "0.01:10:7:log". An axis is a name in braces, or a
            hyperparameter such as `optimizer.weight_decay`, or `weight_decay` where the recipe has no other.
        seeds: the seeds of every setting.
        out: the folder of runs. Runs that are finished there aren't repeated. None keeps nothing on disk.
        salt: empty for the published instances; any other text draws fresh ones.
        budget: the largest step that counts as T, None for each task's own.
        exams: `sparse` takes fewer exams, without ranks. T is then up to a tenth later, and no score is computed.
        device: where agents compute.
        probes: train linear probes on every layer now and then.
        logits: let the agents show logits, so that the exams have `train_loss` and `held_out_loss`.
        threads: the threads that a run computes on.
        processes: the most worker processes, by default as many as cores.
        cluster: a Ray cluster to run on instead, such as `Cluster(address="auto")`.
        callbacks: who is told of exams and ends, such as `WandbLogger`, in this process.
        progress: show how many runs are done.
        **axes: more axes.

    Returns:
        All runs of the sweep, incomplete ones too.

    Raises:
        SweepError: an axis names nothing, or its values don't fit; nothing has run.
        TaskError: a value makes no task.
        AgentError: an agent can't be made.
        CallbackError: a callback failed.
    """
    several = [agents] if isinstance(agents, str | PathLike | type | Recipe) else agents
    chosen = [agent if isinstance(agent, Recipe) else recipe(agent) for agent in several]
    options = {"device": device, "probes": probes, "logits": logits, "threads": threads, "processes": processes}
    try:
        grid = make_grid(chosen, tasks, vary={**(vary or {}), **axes}, seeds=seeds, budget=budget, exams=exams, salt=salt)
        plans = grid.plans()
    except SweepError as error:
        raise SweepError(f"{error}{_hint(axes)}") from None
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) if out is None else Path(out))
        with SweepProgress() if progress else nullcontext(Callback()) as shown:
            told = [shown, Callbacks(callbacks)]
            return Runs(tuple(run_plans(plans, store, callbacks=told, cluster=cluster, **options)))


def _hint(axes: Iterable[str]) -> str:
    """For an axis that is nearly called like an option of `sweep`, the option."""
    near = [match for name in axes for match in get_close_matches(name, signature(sweep).parameters, n=1, cutoff=0.8)]
    return f"; did you mean {near[0]}, an option of sweep?" if near else ""


class _Busy(Callback):
    """Notes the run that another process makes."""

    is_harmless = True

    run: Run | None = None

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        if reason == BUSY:
            self.run = run
