"""The run loop: takes a cohort from exam to exam, with checkpoints, until every run has ended and its record is written."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.agents.agent import Agent, Spec, check_agent
from grokbench.agents.recipes import Recipe
from grokbench.agents.targets import line_of
from grokbench.agents.texts import encodable
from grokbench.agents.trees import batch_of_one, to_numpy
from grokbench.errors import AgentError, CallbackError, StoreError
from grokbench.evaluation.marking import Examiner, check_logits
from grokbench.evaluation.probes import is_probed, probe
from grokbench.evaluation.protocol import Exam, Ranks
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Cohort
from grokbench.runs.provenance import code_hash, current_provenance
from grokbench.runs.records import Cost, make_record
from grokbench.runs.schema import COUNTS_END
from grokbench.runs.stopping import is_asked_to_stop
from grokbench.runs.store import Store, read_checkpoint
from grokbench.runs.surroundings import generators_state, known_surroundings, restore_generators, seed_generators
from grokbench.tasks import make_instance
from grokbench.tasks.task import is_unicode, whole_number

SECONDS_BETWEEN_CHECKPOINTS = 20.0


@dataclass(frozen=True)
class RunOptions:
    """How runs are made.

    Attributes:
        device: `cpu` or `cuda`.
        max_steps: pause at the last exam within so many steps; None never pauses.
        probes: whether to train linear probes now and then.
        logits: whether agents show logits, so that the records have losses.
        threads: the threads that a run computes on.
        checkpoint_seconds: the least time between two checkpoints.
    """

    device: str
    max_steps: int | None
    probes: bool
    logits: bool = False
    threads: int = 1
    checkpoint_seconds: float = field(default_factory=lambda: SECONDS_BETWEEN_CHECKPOINTS)


class CohortLoop:
    """Takes the runs of one cohort through their exams, until each has ended.

    Members are numbered as in `cohort.runs`. `live` holds the numbers of those that haven't ended.
    """

    def __init__(self, cohort: Cohort, store: Store, callback: Callback, options: RunOptions) -> None:
        self.cohort = cohort
        self.store, self.callback, self.options = store, callback, options
        self.runs = cohort.runs
        self.task, self.salt = self.runs[0].experiment.task, self.runs[0].experiment.salt
        self.instances = [make_instance(self.task, run.seed, self.salt) for run in self.runs]
        self.feature_dims: tuple[int, ...] = ()
        self.cost_per_step: Mapping[str, int] = {}
        self.charged_at = time.perf_counter()
        self._begin()

    def _begin(self) -> None:
        """Set every counter to what it is before the first step."""
        self.seeds = [run.seed for run in self.runs]  # of the whole cohort, also of members that left before a checkpoint
        self.live = list(range(len(self.runs)))
        self.exams: list[list[Exam]] = [[] for _ in self.runs]
        self.seconds = [0.0] * len(self.runs)
        self.step = 0

    def run(self) -> bool:
        """Run the cohort. An agent's failure ends this cohort only.

        Returns:
            Whether no run failed: every run is complete, or was paused by `max_steps`.
        """
        with known_surroundings():
            self.provenance = current_provenance(self.options.device, None)
            try:
                self._start()
                paused = self._take_exams()
            except (StoreError, CallbackError, KeyboardInterrupt):
                raise
            except (Exception, SystemExit) as error:
                if _is_interrupt(error):
                    raise KeyboardInterrupt from error
                self._end_incomplete(f"failed: {type(error).__name__}: {error}{line_of(error, self._recipe.target)}")
                return False
        if paused:
            early = "" if self.step else ", before the first exam"
            self._end_incomplete(f"stopped: --max-steps {self.options.max_steps}{early}")
            return True
        self.store.remove(self._checkpoint_path())
        return True

    @property
    def _recipe(self) -> Recipe:
        """The recipe of the first run, which the others share unless they were joined."""
        return self.runs[0].experiment.recipe

    def _start(self) -> None:
        """Make the agent ready: reset it, and restore the checkpoint if there is one."""
        saved = read_checkpoint(self.cohort.checkpoint) if self.cohort.checkpoint else None
        self.agent = _make_agent([run.experiment.recipe for run in self.runs])
        self.examiner = Examiner(self.instances, self.agent.feature_dims)
        self.feature_dims = self.examiner.feature_dims
        if saved:
            self._restore_exams(saved)
        self._reset_agent()
        if saved:
            try:
                self.agent.load_state_dict(saved["agent"])
            except Exception as error:
                self._start_over(error)
                return
            restore_generators(saved["generators"])
        check_agent(self.agent)
        self.cost_per_step = _checked_cost(self.agent.cost(), self.examiner.protocol.horizon(self.task))
        self.provenance = current_provenance(
            self.options.device, self.agent.dtype, captured=self.agent.captured, packages=self._recipe.packages
        )
        if saved:
            self._compare_provenance(saved["provenance"])
        else:
            self._save()  # so that what no checkpoint can hold is told before anything is computed
        self._charge()

    def _compare_provenance(self, before: dict[str, Any]) -> None:
        """Tell where a resumed run goes on in another environment. Nothing can repeat such a run to the bit."""
        now = self.provenance.reproducibility
        differing = [f"{name} {before.get(name)!r} → {now[name]!r}" for name in now if before.get(name) != now[name]]
        if differing:
            self.provenance = self.provenance.model_copy(update={"code": None})
            environment = f"goes on in another environment ({'; '.join(differing)})"
            self.callback.on_message(
                f"{self._checkpoint_path()}: {environment}; its records no longer promise to repeat to the bit"
            )

    def _reset_agent(self) -> None:
        seed_generators(self.instances[0].agent_seed)
        observation = self.examiner.observations(self.live)
        spec = Spec(
            num_symbols=self.task.num_symbols,
            num_questions=self.task.num_questions,
            feature_dims=self.feature_dims,
            device=self.options.device,
            seeds=tuple(instance.agent_seed for instance in self.instances),
            batched=self.agent.batched,
            logits=self.options.logits,
        )
        self.agent.reset(observation if spec.batched else {name: array[0] for name, array in observation.items()}, spec)

    def _restore_exams(self, saved: dict[str, Any]) -> None:
        self.seeds, self.step, self.seconds = saved["cohort"], saved["step"], saved["seconds"]
        self.exams = [[Exam(**exam) for exam in exams] for exams in saved["exams"]]
        for member, exams in enumerate(self.exams):
            self.examiner.outcomes[member] = self.examiner.protocol.outcome(exams, self.task)

    def _start_over(self, error: Exception) -> None:
        """Start from step 0, because the agent can't load its own checkpoint. Another version of it may have written that."""
        assert self.cohort.checkpoint is not None
        aside = self.store.set_aside(self.cohort.checkpoint)
        reason = f"the agent can't go on from it ({type(error).__name__}: {error})"
        self.callback.on_message(f"{self.cohort.checkpoint}: {reason}; moved to {aside.name}, its runs start over")
        self.cohort = Cohort(self.runs, finished=self.cohort.finished)
        self._begin()
        self._start()

    def _take_exams(self) -> bool:
        """From exam to exam until every run has ended; returns whether `max_steps` came first.

        The state is saved after the first exam too: an optimizer has none before its first step.
        """
        saved_at = -math.inf if not self.step else time.perf_counter()
        while self.live:
            steps = self.examiner.steps_to_next_exam(self.live[0])
            if self.options.max_steps is not None and self.step + steps > self.options.max_steps:
                self._save()
                return True
            self._take_exam(steps)
            self._charge()
            self._release_ended()
            stops = is_asked_to_stop()
            if self.live and (stops or time.perf_counter() - saved_at > self.options.checkpoint_seconds):
                self._save()
                saved_at = time.perf_counter()
            if stops:
                raise KeyboardInterrupt
        return False

    def _take_exam(self, steps: int) -> None:
        """Let the agent take `steps` steps, and mark the exam that follows."""
        report = _batched_report(_checked_report(self.agent.learn(steps)), batched=self.agent.batched)
        action = self.agent.act()
        has_features = isinstance(action, Mapping) and "features" in action  # else the examiner says what is wrong
        if has_features and self.options.probes and is_probed(self.step + steps, self.step):
            report["probe"] = self._probe(action)
        exams = self._mark(action, report)
        self.step += steps
        for member, exam in zip(self.live, exams, strict=True):
            self.exams[member].append(exam)
            self.callback.on_exam(self.runs[member], exam, self.examiner.outcomes[member])

    def _mark(self, action: dict[str, Any], report: dict[str, Any]) -> list[Exam]:
        losses = _losses(report.pop("loss", None), len(self.live))
        metrics = _metrics_by_member(report, len(self.live))
        if self.agent.batched:
            exams = self.examiner.mark(action, self.live, losses=losses, metrics=metrics)
        else:
            exams = [self.examiner.mark_member(action, self.live[0], loss=losses[0], metrics=metrics[0])]
        if "logits" in action:
            check_logits(action["answers"], action["logits"])
        return exams

    def _probe(self, action: dict[str, Any]) -> Any:
        features = action["features"] if self.agent.batched else batch_of_one(action)["features"]
        return probe(features, self.examiner.feature_dims, [self.instances[member] for member in self.live])

    def _charge(self) -> None:
        """Share the time since the last charge among the live runs. Setting up and checkpoints count too."""
        now = time.perf_counter()
        for member in self.live:
            self.seconds[member] += (now - self.charged_at) / len(self.live)
        self.charged_at = now

    def _release_ended(self) -> None:
        """Write the records of the runs that have just ended, and drop their members from the agent."""
        staying = [i for i, member in enumerate(self.live) if not self.examiner.outcomes[member].end]
        for member in self.live:
            if end := self.examiner.outcomes[member].end:
                self._write_record(member, end, incomplete=None)
        if len(staying) < len(self.live):
            self.live = [self.live[i] for i in staying]
            if staying and self.agent.batched:
                self.agent.keep(staying)

    def _end_incomplete(self, reason: str) -> None:
        """Write incomplete records of the runs that haven't ended. A reason may hold bytes that are no text."""
        reason = encodable(reason)
        for member in self.live:
            self._write_record(member, reason, incomplete=reason)

    def _write_record(self, member: int, reason: str, *, incomplete: str | None) -> None:
        run = self.runs[member]
        if run in self.cohort.finished:  # before the checkpoint's state; its record is complete
            return
        record = make_record(
            run.experiment.task,
            run.experiment.recipe,
            feature_dims=self.feature_dims,
            seed=run.seed,
            salt=self.salt,
            fingerprint=self.instances[member].fingerprint,
            cohort=self.seeds,
            exams=self.exams[member],
            cost=self._cost(member),
            provenance=self.provenance,
            incomplete=incomplete,
        )
        self.store.write_record(run, record)
        self.callback.on_end(run, reason, record)

    def _cost(self, member: int) -> Cost:
        steps = self.exams[member][-1].step if self.exams[member] else 0
        examples, flops = (self.cost_per_step.get(name) for name in ("examples_per_step", "flops_per_step"))
        return Cost(
            steps=steps,
            examples=None if examples is None else steps * examples,
            flops=None if flops is None else steps * flops,
            parameters=self.cost_per_step.get("parameters"),
            seconds=self.seconds[member],
        )

    def _checkpoint_path(self) -> Path:
        recipes = [run.experiment.recipe.hash for run in self.runs]
        return self.cohort.checkpoint or self.store.checkpoint_path(self.runs[0].experiment, self.seeds, recipes)

    def _save(self) -> None:
        tree = {
            "code": code_hash(),
            "provenance": self.provenance.reproducibility,
            "salt": self.salt,
            "budget": self.task.budget,
            "exam_grid": self.task.exam_grid,
            "recipes": [self.runs[member].experiment.recipe.hash for member in self.live],
            "cohort": self.seeds,
            "live": [self.runs[member].seed for member in self.live],
            "step": self.step,
            "seconds": [self.seconds[member] for member in self.live],
            "exams": [[asdict(exam) for exam in self.exams[member]] for member in self.live],
            "agent": self.agent.state_dict(),
            "generators": generators_state(),
        }
        self.store.write_checkpoint(self._checkpoint_path(), tree)


def _make_agent(recipes: Sequence[Recipe]) -> Agent:
    """The agent of a cohort whose members follow `recipes`. Raises AgentError where these differ and can't train together."""
    first = recipes[0].make()
    if len({recipe.hash for recipe in recipes}) == 1:
        return first
    return type(first).join([recipe.make() for recipe in recipes])


def _checked_cost(cost: Mapping[str, int], horizon: int) -> Mapping[str, int]:
    """What an agent says that it costs. Raises AgentError for what no record can hold after `horizon` steps."""
    if not isinstance(cost, Mapping):
        raise AgentError(f"cost() must return a dict, such as {{'parameters': 1000}}, got {cost!r}")
    numbers = {name: whole_number(value) for name, value in cost.items()}
    for name, number in numbers.items():
        if number is None or not 0 <= number * horizon < COUNTS_END:
            most = f"{COUNTS_END // horizon:.0e}"
            raise AgentError(f"cost() gives {name} = {cost[name]!r}, expected a whole number from 0 to {most}")
    return {name: number for name, number in numbers.items() if number is not None}


def _checked_report(report: Any) -> Mapping[str, Any]:
    """What `learn` returned. Raises AgentError unless it is None, or a dict with text as keys."""
    if report is not None and not (
        isinstance(report, Mapping) and all(isinstance(name, str) and is_unicode(name) for name in report)
    ):
        raise AgentError(f"learn must return None or a dict with text as keys, such as {{'loss': 0.5}}, got {report!r}")
    return report or {}


def _batched_report(report: Mapping[str, Any], *, batched: bool) -> dict[str, Any]:
    """What `learn` reported, every value with a leading axis of members, except the loss of an agent that isn't batched."""
    if batched:
        return dict(report)
    return {name: value if name == "loss" else to_numpy(value)[None] for name, value in report.items()}


def _losses(loss: Any, members: int) -> list[float | None]:
    if loss is None:
        return [None] * members
    values = np.atleast_1d(to_numpy(loss) if hasattr(loss, "ndim") else np.asarray(loss, dtype=float))
    if values.shape != (members,):
        raise AgentError(f"learn reported a loss of shape {values.shape}, expected ({members},)")
    return [float(value) for value in values]


def _metrics_by_member(report: Mapping[str, Any], members: int) -> list[Ranks]:
    """Each member's metrics, name → one number per layer, as a record keeps them. Left out: no numbers, or any not finite."""
    by_member: list[Ranks] = [{} for _ in range(members)]
    for name, numbers in report.items():
        values = np.asarray(to_numpy(numbers))
        if values.dtype.kind not in "biuf":
            raise AgentError(f"learn reported {name!r} as {numbers!r}, expected numbers")
        if values.ndim not in (1, 2) or len(values) != members:
            raise AgentError(f"learn reported {name!r} of shape {values.shape}, expected ({members},) or ({members}, layers)")
        for metrics, layers in zip(by_member, values.reshape(members, -1), strict=True):
            if layers.size and np.isfinite(layers).all():
                metrics[name] = layers.astype(float).tolist()
    return by_member


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind the error: a library can wrap it in an exception of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
