"""Run records: one JSON file for each run. Everything that is reported is recomputed from its exams."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    FailFast,
    Field,
    ValidationError,
)

from grokbench.agents.agent import MOST_TOGETHER
from grokbench.agents.recipes import Recipe
from grokbench.errors import RecordError
from grokbench.evaluation.protocol import PROTOCOL, Exam, protocol_of, rank_at
from grokbench.runs.provenance import Provenance
from grokbench.runs.schema import TASK_FORM, Sparse, StoredCount, Strict
from grokbench.tasks import Task, parse_id
from grokbench.tasks.task import BUDGETS_END

Width = Annotated[int, Field(ge=1, lt=1 << 31)]
MOST_MODULES = 1_000  # of an agent's code
MOST_EXAMS = 10_000  # exams of one run; a budget of a billion steps has some thousand


class ExamRecord(Sparse):
    """One exam, as `evaluation.protocol.Exam`.

    Keys without a value are left out: `ranks` where they weren't measured, `metrics` and losses where there are none, and
    `diverged` where the features were finite.
    """

    step: StoredCount
    train: StoredCount
    held_out: StoredCount
    loss: float | None
    ranks: dict[str, list[float]] | None = None
    metrics: dict[str, list[float]] | None = None
    train_loss: float | None = None
    held_out_loss: float | None = None
    diverged: Literal[True] | None = None

    def exam(self) -> Exam:
        """The exam as the protocol reads it."""
        return Exam(**{name: getattr(self, name) for name in ExamRecord.model_fields} | {"diverged": bool(self.diverged)})

    @staticmethod
    def of(exam: Exam) -> "ExamRecord":
        """The record of an exam."""
        return ExamRecord(**asdict(exam) | {"diverged": True if exam.diverged else None})


class AgentRecord(Sparse):
    """The recipe that ran, its hash, and the widths of the layers that the agent showed.

    `source` is one SHA-256 of all code from outside the baselines, and `sources` has that of each module.
    """

    name: str
    target: str
    hyperparameters: dict[str, Any]
    source: str
    sources: Annotated[dict[str, str], Field(max_length=MOST_MODULES)] | None = None
    hash: str
    feature_dims: list[Width] | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe that the record states. Raises RecipeError if it can't be one."""
        return Recipe(self.name, self.target, self.hyperparameters, self.source)


class OutcomeRecord(Strict):
    """The outcome of the exams, as `evaluation.protocol.Outcome`. `end` is null while the run is incomplete."""

    steps_to_memorize: StoredCount | None
    steps_to_generalize: StoredCount | None
    first_crossing: StoredCount | None
    passing_share: Annotated[float, Field(ge=0, le=1)] | None
    end: Literal["generalized", "censored", "diverged"] | None
    final_rank: float | None
    rank_at_generalization: float | None

    @staticmethod
    def of(exams: Sequence[Exam], task: Task) -> "OutcomeRecord":
        """The outcome of a run's exams. Raises ProtocolError if they don't follow the protocol."""
        outcome = protocol_of(task).outcome(exams, task)
        rank = rank_at(exams, outcome.steps_to_generalize)
        names = OutcomeRecord.model_fields.keys() - {"rank_at_generalization"}
        return OutcomeRecord(**{name: getattr(outcome, name) for name in names}, rank_at_generalization=rank)


class Cost(Strict):
    """The cost of the run. A number is null where the agent doesn't report it.

    `seconds` is the run's share of its cohort's wall-clock time: members that train together share it evenly.
    """

    steps: StoredCount
    examples: StoredCount | None
    flops: StoredCount | None
    parameters: StoredCount | None
    seconds: Annotated[float, Field(ge=0, le=1e9)]


def _known_task(task_id: str) -> str:
    if parse_id(task_id).id != task_id:
        raise RecordError(f"a record names its task in full, {parse_id(task_id).id!r}, got {task_id!r}")
    return task_id


class RunRecord(Sparse):
    """One run. Identical runs have identical records, except for keys that contain `seconds`.

    `exam_grid` is there for sparse exams alone.
    """

    schema_version: Literal[3] = Field(alias="schema")
    protocol: Literal[2]
    task: Annotated[str, AfterValidator(_known_task), Field(json_schema_extra={"pattern": rf"^{TASK_FORM}-v1$"})]
    budget: Annotated[int, Field(ge=1, lt=BUDGETS_END)]
    exam_grid: Literal["sparse"] | None = None
    agent: AgentRecord
    seed: StoredCount
    salt: str
    fingerprint: str
    cohort: Annotated[list[StoredCount], Field(max_length=MOST_TOGETHER)]
    incomplete: str | None
    outcome: OutcomeRecord
    cost: Cost
    provenance: Provenance
    exams: Annotated[list[ExamRecord], Field(max_length=MOST_EXAMS), FailFast()]

    def parsed_task(self) -> Task:
        """The task of the run, with the run's budget and exams."""
        return parse_id(self.task, self.budget, self.exam_grid or "full")

    def recomputed(self) -> OutcomeRecord:
        """The outcome, computed from the exams.

        Raises:
            ProtocolError: the exams don't follow the protocol.
        """
        return OutcomeRecord.of([exam.exam() for exam in self.exams], self.parsed_task())


def make_record(
    task: Task,
    recipe: Recipe,
    *,
    feature_dims: Sequence[int],
    seed: int,
    salt: str,
    fingerprint: str,
    cohort: list[int],
    exams: list[Exam],
    cost: Cost,
    provenance: Provenance,
    incomplete: str | None,
) -> RunRecord:
    """The record of a run. Its outcome is computed from its exams."""
    return RunRecord(
        schema=3,
        protocol=2,
        task=task.id,
        budget=task.budget,
        exam_grid="sparse" if task.exam_grid == "sparse" else None,
        agent=AgentRecord(
            name=recipe.name,
            target=recipe.target,
            hyperparameters=recipe.plain_hyperparameters,
            source=recipe.source,
            sources=dict(recipe.sources.modules) or None,
            hash=recipe.hash,
            feature_dims=list(feature_dims) or None,
        ),
        seed=seed,
        salt=salt,
        fingerprint=fingerprint,
        cohort=cohort,
        incomplete=incomplete,
        outcome=OutcomeRecord.of(exams, task),
        cost=cost,
        provenance=provenance,
        exams=[ExamRecord.of(exam) for exam in exams],
    )


def to_json(record: RunRecord) -> str:
    """The record as JSON text, one line for each exam."""
    content = record.model_dump(by_alias=True)
    exams = content.pop("exams")
    head = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    lines = ",\n  ".join(json.dumps(exam, allow_nan=False) for exam in exams)
    return f'{head[:-2]},\n "exams": [\n  {lines}\n ]\n}}\n'


def read_record(path: Path) -> RunRecord:
    """The record in the file `path`.

    Raises:
        RecordError: the file can't be read or isn't a record. Or its outcome doesn't follow from its exams, or its agent's hash
            from its hyperparameters.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
        record = RunRecord.model_validate(content)
        recomputed = record.recomputed()
        stated = record.agent.recipe.hash
    except ValidationError as error:
        raise RecordError(f"{path}: {_finding(content, error)}") from None
    except (OSError, ValueError, RecursionError, KeyError, IndexError) as error:
        raise RecordError(f"{path}: not a run record: {error}") from None
    if recomputed != record.outcome:
        raise RecordError(f"{path}: the outcome it states doesn't follow from its exams")
    if stated != record.agent.hash:
        raise RecordError(f"{path}: the hash it states isn't that of its agent and hyperparameters")
    return record


def _finding(content: Any, error: ValidationError) -> str:
    """The first reason why `content` isn't a record. A record of an earlier protocol isn't damaged."""
    version = content.get("protocol") if isinstance(content, dict) else None
    if version in range(1, PROTOCOL.version):
        return f"made under protocol {version}, and this is protocol {PROTOCOL.version}: make the run anew"
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "the record"
    return f"{key}: {first['msg']} ({error.error_count()} findings)"


def refuse_constant(name: str) -> None:
    """For `parse_constant` of `json.loads`: refuses NaN and the infinities."""
    raise RecordError(f"{name} is not a number that a record may hold")
