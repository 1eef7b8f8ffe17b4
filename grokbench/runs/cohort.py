"""A batch of runs: from exam to exam, with checkpoints, until each has ended and its record is written."""

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.agents.agent import Agent, Spec
from grokbench.agents.recipes import Recipe
from grokbench.agents.trees import batch_of_one, to_numpy
from grokbench.errors import StoreError
from grokbench.evaluation.marking import Examiner
from grokbench.evaluation.probes import is_probed, probe
from grokbench.evaluation.protocol import PROTOCOL, Exam, Ranks
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Job
from grokbench.runs.provenance import code_hash, current_provenance
from grokbench.runs.records import Cost, make_record
from grokbench.runs.store import Store, read_checkpoint
from grokbench.tasks import make_instance

SECONDS_BETWEEN_CHECKPOINTS = 20.0


@dataclass(frozen=True)
class Settings:
    """How runs are made."""

    device: str
    max_steps: int | None
    probes: bool


class Batch:
    """Several runs on one task that go through their exams together, until each has ended."""

    def __init__(self, job: Job, store: Store, watcher: Callback, settings: Settings) -> None:
        self.job, self.store, self.watcher, self.settings = job, store, watcher, settings
        self.device = settings.device
        self.runs = job.runs
        self.task, self.salt = job.runs[0].experiment.task, job.runs[0].experiment.salt
        self.batch = [run.seed for run in self.runs]
        self.instances = [make_instance(self.task, run.seed, self.salt) for run in self.runs]
        self.live = list(range(len(self.runs)))  # indices into runs
        self.exams: list[list[Exam]] = [[] for _ in self.runs]
        self.seconds = [0.0] * len(self.runs)
        self.charged_at = time.perf_counter()
        self.step = 0
        self.per_step: dict[str, int] = {}
        self.feature_dims: tuple[int, ...] = ()
        self.provenance = current_provenance(self.device, None)

    def run(self) -> bool:
        """Make the runs; returns whether all of them are complete. An agent's failure ends this batch only."""
        try:
            self._start()
            paused = self._examine_all()
        except (StoreError, KeyboardInterrupt):
            raise
        except Exception as error:
            self._stop(f"failed: {type(error).__name__}: {error}{_place(error, self.runs[0].experiment.recipe)}")
            return False
        if paused:
            self._save()
            early = "" if self.step else ", before the first exam"
            self._stop(f"stopped: --max-steps {self.settings.max_steps}{early}")
            return False
        self.store.remove(self._checkpoint_path())
        return True

    def _checkpoint_path(self) -> Path:
        return self.job.checkpoint or self.store.checkpoint_path(self.runs[0].experiment, self.batch)

    def _start(self) -> None:
        task = self.task
        saved = read_checkpoint(self.job.checkpoint) if self.job.checkpoint else None
        self.agent = _make_agent([run.experiment.recipe for run in self.runs])
        self.batched = self.agent.batched
        dims = tuple(self.agent.feature_dims)
        self.examiner = Examiner(self.instances, dims)
        self.feature_dims = self.examiner.feature_dims
        if saved:
            self._restore_exams(saved)
        observation = self.examiner.observations(self.live)
        seeds = tuple(instance.agent_seed for instance in self.instances)
        spec = Spec(
            num_symbols=task.num_symbols,
            num_questions=task.num_questions,
            budget=task.budget,
            feature_dims=dims,
            device=self.device,
            seeds=seeds,
            batched=self.batched,
        )
        self.agent.reset(observation if self.batched else {k: v[0] for k, v in observation.items()}, spec)
        if saved:
            try:
                self.agent.load_state_dict(saved["agent"])
            except Exception as error:
                self._start_over(error)
                return
        self.per_step = dict(self.agent.cost())
        self.provenance = current_provenance(self.device, self.agent.dtype)
        if saved and saved["provenance"] != self.provenance.reproducibility:
            self.provenance = self.provenance.model_copy(
                update={"code": None}
            )  # made in two ways: nothing will repeat it to the bit
        self._charge()

    def _start_over(self, error: Exception) -> None:
        """Start from the beginning: the agent can't take its own checkpoint, another version's perhaps."""
        assert self.job.checkpoint is not None
        aside = self.store.set_aside(self.job.checkpoint)
        why = f"the agent can't go on from it ({type(error).__name__}: {error})"
        self.watcher.on_message(f"{self.job.checkpoint}: {why}; moved to {aside.name}, its runs start over")
        self.job = Job(self.runs)
        self.batch, self.step, self.seconds = [run.seed for run in self.runs], 0, [0.0] * len(self.runs)
        self.exams = [[] for _ in self.runs]
        self._start()

    def _restore_exams(self, saved: dict[str, Any]) -> None:
        self.batch, self.step, self.seconds = saved["batch"], saved["step"], saved["seconds"]
        self.exams = [[Exam(**exam) for exam in exams] for exams in saved["exams"]]
        for member, exams in enumerate(self.exams):
            self.examiner.outcomes[member] = PROTOCOL.outcome(exams, self.task)

    def _examine_all(self) -> bool:
        """From exam to exam until every run has ended; returns whether --max-steps came first."""
        saved_at = time.perf_counter()
        while self.live:
            steps = self.examiner.steps_to_next_exam(self.live[0])
            if self.settings.max_steps is not None and self.step + steps > self.settings.max_steps:
                return True
            report = self.agent.learn(steps) or {}
            self._sit(steps, report)
            self._charge()
            self._release_ended()
            if self.live and time.perf_counter() - saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
                saved_at = time.perf_counter()
        return False

    def _charge(self) -> None:
        """Share the time since the last charge, setting up and checkpoints too, among the runs still going."""
        now = time.perf_counter()
        for member in self.live:
            self.seconds[member] += (now - self.charged_at) / len(self.live)
        self.charged_at = now

    def _sit(self, steps: int, report: dict[str, Any]) -> None:
        action = self.agent.act() if self.batched else batch_of_one(self.agent.act())
        losses = _losses(report.get("loss"), len(self.live))
        metrics = {name: numbers for name, numbers in report.items() if name != "loss"}
        if not self.batched:
            metrics = {name: to_numpy(numbers)[None] for name, numbers in metrics.items()}
        if self.settings.probes and is_probed(self.step + steps, self.step):
            instances = [self.instances[member] for member in self.live]
            metrics["probe"] = probe(action["features"], self.examiner.feature_dims, instances)
        exams = self.examiner.mark(action, self.live, losses, _per_member(metrics, len(self.live)))
        self.step += steps
        for member, exam in zip(self.live, exams, strict=True):
            self.exams[member].append(exam)
            self.watcher.on_exam(self.runs[member], exam, self.examiner.outcomes[member])

    def _release_ended(self) -> None:
        """Write the records of the runs that have just ended and take them out of the batch."""
        staying = [i for i, member in enumerate(self.live) if not self.examiner.outcomes[member].end]
        for member in self.live:
            end = self.examiner.outcomes[member].end
            if end:
                self._write(member, None)
                self.watcher.on_end(self.runs[member], end)
        if len(staying) < len(self.live):
            self.live = [self.live[i] for i in staying]
            if staying and self.batched:
                self.agent.keep(staying)

    def _save(self) -> None:
        tree = {
            "code": code_hash(),
            "provenance": self.provenance.reproducibility,
            "salt": self.salt,
            "recipes": [self.runs[member].experiment.recipe.hash for member in self.live],
            "batch": self.batch,
            "live": [self.runs[member].seed for member in self.live],
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
            self.watcher.on_end(self.runs[member], why)

    def _write(self, member: int, incomplete: str | None) -> None:
        experiment, seed = self.runs[member].experiment, self.runs[member].seed
        if self.store.finished(experiment, seed):
            return  # it finished before this batch was resumed from an older checkpoint
        record = make_record(
            experiment.task,
            experiment.recipe,
            self.feature_dims,
            seed,
            experiment.salt,
            self.instances[member].fingerprint,
            self.batch,
            self.exams[member],
            self._cost(member),
            self.provenance,
            incomplete,
        )
        self.store.write_record(experiment, record)

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


def _per_member(metrics: dict[str, Any], members: int) -> list[Ranks]:
    """Metrics, name → a number or one per layer for every member, as a record keeps it."""
    each: list[Ranks] = [{} for _ in range(members)]
    for name, numbers in metrics.items():
        values = np.asarray(to_numpy(numbers))
        if values.dtype.kind not in "biuf":
            raise ValueError(f"learn reported {name!r} as {numbers!r}, expected numbers")
        if values.ndim not in (1, 2) or len(values) != members:
            raise ValueError(f"learn reported {name!r} of shape {values.shape}, expected ({members},) or ({members}, layers)")
        for ranks, row in zip(each, values.reshape(members, -1), strict=True):
            if np.isfinite(row).all():
                ranks[name] = row.astype(float).tolist()
    return each


def _place(error: Exception, recipe: Recipe) -> str:
    """The line that an error came from in the file of an agent from outside."""
    file = getattr(sys.modules.get(recipe.target.partition(":")[0]), "__file__", None) if recipe.source else None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""


def _make_agent(recipes: Sequence[Recipe]) -> Agent:
    """One agent for a batch whose members follow `recipes`.

    Raises:
        ValueError: they differ, and their agents can't train together.
    """
    first = recipes[0].make()
    if len({recipe.hash for recipe in recipes}) == 1:
        return first
    return type(first).join([recipe.make() for recipe in recipes])
