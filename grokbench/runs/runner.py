"""The runner: seeds of a cell in batches, from exam to exam, with checkpoints; one record per run."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.agents import Recipe, Spec
from grokbench.exams import Examiner, batch_of_one, to_numpy
from grokbench.protocol import PROTOCOL, Exam
from grokbench.runs import checkpoints
from grokbench.runs.progress import Watcher
from grokbench.runs.records import Cost, make_record, where_now
from grokbench.runs.store import Cell, Store, StoreError
from grokbench.tasks import get_suite, make_instance, parse_id

SECONDS_BETWEEN_CHECKPOINTS = 20.0
DEFAULT_FEATURE_DIMS = (128,)


@dataclass(frozen=True)
class Plan:
    """Seeds of one cell that are asked for."""

    cell: Cell
    seeds: tuple[int, ...]


def plan(
    tasks: Sequence[str], suite: str | None, recipes: Sequence[Recipe], seeds: Sequence[int], salt: str = ""
) -> list[Plan]:
    """Every recipe on every task and, for a suite, on its control with the control's seeds.

    Raises:
        ValueError: an unknown task or suite, or nothing to do.
    """
    wanted = [(parse_id(name), tuple(sorted(set(seeds)))) for name in tasks]
    if suite:
        chosen = get_suite(suite)
        wanted += [(parse_id(name), tuple(sorted(set(seeds)))) for name in chosen.tasks]
        wanted.append((parse_id(chosen.control), chosen.control_seeds))
    if not wanted or not recipes or not seeds:
        raise ValueError("nothing to run: name a suite or tasks, at least one agent and at least one seed")
    return [Plan(Cell(task, recipe, salt), its_seeds) for task, its_seeds in wanted for recipe in recipes]


def run(plans: Iterable[Plan], store: Store, watcher: Watcher, device: str = "auto", max_steps: int | None = None) -> bool:
    """Make every run that isn't finished yet; returns whether all of them are now.

    Raises:
        StoreError: the folder can't be written; what was finished before is safe.
    """
    store.prepare()
    complete = True
    for one in plans:
        complete &= _run_cell(one.cell, one.seeds, store, watcher, _resolve(device), max_steps)
    return complete


def _run_cell(cell: Cell, seeds: Sequence[int], store: Store, watcher: Watcher, device: str, max_steps: int | None) -> bool:
    complete = True
    for job in _jobs(cell, seeds, store, watcher):
        todo = [seed for seed in job.seeds if not store.finished(cell, seed)]
        with contextlib.ExitStack() as held:
            claimed = [seed for seed in todo if held.enter_context(store.claim(cell, seed))]
            for seed in set(todo) - set(claimed):
                watcher.ended(cell, seed, "another process is at it")
                complete = False
            if job.checkpoint and set(claimed) < set(todo):
                continue
            # What another process finished between the plan and the claim is left alone.
            claimed = [seed for seed in claimed if not store.finished(cell, seed)]
            if claimed:
                job = job if job.checkpoint else Job(tuple(claimed))
                complete &= Batch(cell, job, store, watcher, device, max_steps).run()
    return complete


@dataclass(frozen=True)
class Job:
    """Seeds that train as one batch, from the start or from a checkpoint, which may hold finished ones too."""

    seeds: tuple[int, ...]
    checkpoint: Path | None = None


def _jobs(cell: Cell, seeds: Sequence[int], store: Store, watcher: Watcher) -> list[Job]:
    """The unfinished seeds: those of a checkpointed batch together, the others as many at once as the agent takes."""
    pending = [seed for seed in seeds if not store.finished(cell, seed)]
    jobs = []
    for path in store.checkpoint_paths(cell):
        live = _live_seeds(path, cell, store, watcher)
        unfinished = [seed for seed in live if not store.finished(cell, seed)]
        if unfinished and set(unfinished) <= set(pending):
            jobs.append(Job(tuple(live), path))
            pending = [seed for seed in pending if seed not in live]
    size = _batch_size(cell.recipe)
    return jobs + [Job(tuple(pending[i : i + size])) for i in range(0, len(pending), size)]


def _live_seeds(path: Path, cell: Cell, store: Store, watcher: Watcher) -> list[int]:
    """The seeds that a checkpoint of this cell holds; one that can't be read is set aside."""
    try:
        tree = checkpoints.read(path)
        return list(tree["live"]) if (tree["salt"], tree["recipe"]) == (cell.salt, cell.recipe.hash) else []
    except checkpoints.CheckpointError as error:
        if not path.exists():
            return []  # another process has just finished that batch
        aside = store.set_aside(path)
        watcher.noted(f"{error}; moved to {aside.name}, its runs start over")
        return []


def _batch_size(recipe: Recipe) -> int:
    try:
        agent = recipe.make()
    except Exception:
        return 1  # it will fail, run by run, where that is told
    return getattr(agent, "seeds_together", len(PROTOCOL.official_seeds)) if getattr(agent, "batched", False) else 1


class Batch:
    """Several seeds of one cell that go through their exams together, until each has ended."""

    def __init__(self, cell: Cell, job: Job, store: Store, watcher: Watcher, device: str, max_steps: int | None) -> None:
        self.cell, self.job, self.store, self.watcher = cell, job, store, watcher
        self.device, self.max_steps = device, max_steps
        self.seeds = list(job.seeds)
        self.batch = self.seeds
        self.instances = [make_instance(cell.task, seed, cell.salt) for seed in self.seeds]
        self.live = list(range(len(self.seeds)))  # indices into seeds
        self.exams: list[list[Exam]] = [[] for _ in self.seeds]
        self.seconds = [0.0] * len(self.seeds)
        self.step = 0
        self.per_step: dict[str, int] = {}
        self.where = where_now(device, None)

    def run(self) -> bool:
        """Make the runs; returns whether all of them are complete. An agent's failure ends this batch only."""
        try:
            self._start()
            paused = self._examine_all()
        except (StoreError, KeyboardInterrupt):
            raise
        except Exception as error:
            self._stop(f"failed: {type(error).__name__}: {error}")
            return False
        if paused:
            self._save()
            self._stop(f"stopped: --max-steps {self.max_steps}")
            return False
        self.store.remove(self._checkpoint_path())
        return True

    def _checkpoint_path(self) -> Path:
        return self.job.checkpoint or self.store.checkpoint_path(self.cell, self.seeds)

    def _start(self) -> None:
        task = self.cell.task
        saved = checkpoints.read(self.job.checkpoint) if self.job.checkpoint else None
        self.agent = self.cell.recipe.make()
        self.batched = getattr(self.agent, "batched", False)
        dims = tuple(getattr(self.agent, "feature_dims", DEFAULT_FEATURE_DIMS))
        self.examiner = Examiner(self.instances, dims)
        if saved:
            self._restore_exams(saved)
        observation = self.examiner.observations(self.live)
        seeds = tuple(instance.agent_seed for instance in self.instances)
        spec = Spec(task.symbols, task.cells, task.budget, dims, self.device, seeds)
        self.agent.reset(observation if self.batched else {k: v[0] for k, v in observation.items()}, spec)
        if saved:
            try:
                self.agent.load_state_dict(saved["agent"])
            except Exception as error:
                self._start_over(error)
                return
        self.per_step = dict(self.agent.cost()) if hasattr(self.agent, "cost") else {}
        self.where = where_now(self.device, getattr(self.agent, "dtype", None))

    def _start_over(self, error: Exception) -> None:
        """Start from the beginning: the agent can't take its own checkpoint, another version's perhaps."""
        assert self.job.checkpoint is not None
        aside = self.store.set_aside(self.job.checkpoint)
        why = f"the agent can't go on from it ({type(error).__name__}: {error})"
        self.watcher.noted(f"{self.job.checkpoint}: {why}; moved to {aside.name}, its runs start over")
        self.job = Job(tuple(self.seeds))
        self.batch, self.step, self.seconds = self.seeds, 0, [0.0] * len(self.seeds)
        self.exams = [[] for _ in self.seeds]
        self._start()

    def _restore_exams(self, saved: dict[str, Any]) -> None:
        self.batch, self.step, self.seconds = saved["batch"], saved["step"], saved["seconds"]
        self.exams = [[Exam(**exam) for exam in exams] for exams in saved["exams"]]
        for member, exams in enumerate(self.exams):
            self.examiner.outcomes[member] = PROTOCOL.outcome(exams, self.cell.task)

    def _examine_all(self) -> bool:
        """From exam to exam until every run has ended; returns whether --max-steps came first."""
        saved_at = time.perf_counter()
        while self.live:
            started = time.perf_counter()
            steps = self.examiner.updates(self.live[0])
            if self.max_steps is not None and self.step + steps > self.max_steps:
                return True
            report = self.agent.learn(steps) or {}
            self._sit(steps, report)
            for member in self.live:
                self.seconds[member] += (time.perf_counter() - started) / len(self.live)
            self._release_ended()
            if self.live and time.perf_counter() - saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
                saved_at = time.perf_counter()
        return False

    def _sit(self, steps: int, report: dict[str, Any]) -> None:
        action = self.agent.act() if self.batched else batch_of_one(self.agent.act())
        losses = _losses(report.get("loss"), len(self.live))
        exams = self.examiner.mark(action, self.live, losses)
        self.step += steps
        for member, exam in zip(self.live, exams, strict=True):
            self.exams[member].append(exam)
            self.watcher.sat(self.cell, self.seeds[member], exam, self.examiner.outcomes[member])

    def _release_ended(self) -> None:
        """Write the records of the runs that have just ended and take them out of the batch."""
        staying = [i for i, member in enumerate(self.live) if not self.examiner.outcomes[member].end]
        for member in self.live:
            end = self.examiner.outcomes[member].end
            if end:
                self._write(member, None)
                self.watcher.ended(self.cell, self.seeds[member], end)
        if len(staying) < len(self.live):
            self.live = [self.live[i] for i in staying]
            if staying and self.batched:
                self.agent.keep(staying)  # type: ignore[attr-defined]

    def _save(self) -> None:
        tree = {
            "salt": self.cell.salt,
            "recipe": self.cell.recipe.hash,
            "batch": self.batch,
            "live": [self.seeds[member] for member in self.live],
            "step": self.step,
            "seconds": [self.seconds[member] for member in self.live],
            "exams": [[asdict(exam) for exam in self.exams[member]] for member in self.live],
            "agent": self.agent.state_dict(),
        }
        self.store.write_checkpoint(self._checkpoint_path(), tree)

    def _stop(self, why: str) -> None:
        """Write incomplete records for the runs still going."""
        for member in self.live:
            self._write(member, why)
            self.watcher.ended(self.cell, self.seeds[member], why)

    def _write(self, member: int, incomplete: str | None) -> None:
        cell, seed = self.cell, self.seeds[member]
        if self.store.finished(cell, seed):
            return  # it finished before this batch was resumed from an older checkpoint
        record = make_record(
            cell.task,
            cell.recipe,
            seed,
            cell.salt,
            self.instances[member].fingerprint,
            self.batch,
            self.exams[member],
            self._cost(member),
            self.where,
            incomplete,
        )
        self.store.write_record(cell, record)

    def _cost(self, member: int) -> Cost:
        steps = self.exams[member][-1].step if self.exams[member] else 0

        def over_run(name: str) -> int | None:
            return steps * int(self.per_step[name]) if name in self.per_step else None

        return Cost(
            steps=steps,
            examples=over_run("examples_per_step"),
            flops=over_run("flops_per_step"),
            parameters=self.per_step.get("parameters"),
            seconds=self.seconds[member],
        )


def _losses(loss: Any, members: int) -> list[float | None]:
    if loss is None:
        return [None] * members
    values = np.atleast_1d(to_numpy(loss) if hasattr(loss, "ndim") else np.asarray(loss, dtype=float))
    if values.shape != (members,):
        raise ValueError(f"learn reported a loss of shape {values.shape}, expected ({members},)")
    return [float(value) for value in values]


def _resolve(device: str) -> str:
    """`auto` as cuda where torch finds one, else cpu."""
    if device != "auto":
        return device
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"
