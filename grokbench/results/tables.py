"""Tables of runs: outcomes per agent and task, and the score of every agent against the pinned reference."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tabulate import tabulate

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results import scoring, statistics
from grokbench.results.duplicates import without_duplicates
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task, parse_id

TASK_COLUMNS = (
    "task",
    "agent",
    "solved",
    "95 % interval",
    "memorized at",
    "generalized at",
    "RMST",
    "final rank",
    "notes",
)
SCORE_COLUMNS = ("agent", "score", "tasks", "seeds", "notes")
RIGHT_ALIGNED = {"95 % interval", "memorized at", "generalized at", "RMST", "final rank", "score", "tasks", "seeds"}

Row = dict[str, str]  # column → cell; a missing cell is empty


@dataclass(frozen=True)
class Group:
    """All records of one agent on one task with one salt."""

    task: Task
    agent: str
    salt: str
    complete: tuple[RunRecord, ...]
    incomplete: tuple[RunRecord, ...]

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Complete and incomplete runs."""
        return (*self.complete, *self.incomplete)

    @property
    def times(self) -> list[int | None]:
        """T of every complete run, None if it is censored."""
        return [record.outcome.steps_to_generalize for record in self.complete]

    @property
    def solved(self) -> list[RunRecord]:
        """The runs that generalized."""
        return [record for record in self.complete if record.outcome.steps_to_generalize is not None]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the complete runs."""
        return [record.seed for record in self.complete]

    @property
    def median_memorized(self) -> float | None:
        """The median of steps-to-memorize over complete runs; None if that run never memorized."""
        return scoring.median_time([record.outcome.steps_to_memorize for record in self.complete])


def group(records: Iterable[RunRecord]) -> list[Group]:
    """The records by task, budget, agent and salt, in their order. Of several records of the same run, a complete one counts.

    Raises:
        ResultError: two complete records of the same run have different exams.
    """
    unique = without_duplicates(records)
    names = _agent_names(unique)
    grouped: dict[tuple[Task, str, str], list[RunRecord]] = defaultdict(list)
    for record in unique:
        grouped[record.parsed_task(), names[record.agent.hash], record.salt].append(record)
    return [
        Group(
            task=task,
            agent=agent,
            salt=salt,
            complete=tuple(record for record in members if record.incomplete is None),
            incomplete=tuple(record for record in members if record.incomplete is not None),
        )
        for (task, agent, salt), members in grouped.items()
    ]


def _agent_names(records: Iterable[RunRecord]) -> dict[str, str]:
    """Recipe hash → the agent's name, with the first letters of the hash if several recipes share the name."""
    hashes_by_name: dict[str, set[str]] = defaultdict(set)
    for record in records:
        hashes_by_name[record.agent.name].add(record.agent.hash)
    return {
        recipe_hash: name if len(hashes) == 1 else f"{name}-{recipe_hash[:8]}"
        for name, hashes in hashes_by_name.items()
        for recipe_hash in hashes
    }


def task_table(records: Iterable[RunRecord], style: str = "simple") -> str:
    """A row per task, agent and salt: medians over complete runs, and the median final rank over generalized runs.

    `style` is a table format of `tabulate`.
    """
    return _table([_task_row(runs) for runs in group(records)], TASK_COLUMNS, style)


def score_table(records: Iterable[RunRecord], style: str = "simple") -> str:
    """A row per agent and salt: its score against the pinned reference on the same seeds.

    `style` is a table format of `tabulate`.
    """
    by_agent: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for runs in group(records):
        if not runs.task.control:
            by_agent[runs.agent, runs.salt].append(runs)
    return _table([_score_row(agent, groups) for (agent, _), groups in by_agent.items()], SCORE_COLUMNS, style)


def report(records: Sequence[RunRecord], style: str = "simple") -> str:
    """Both tables and a legend. Without a task that the reference has runs of, there is no table of scores."""
    agents = " or ".join(f"`{agent}`" for agent in scoring.reference().agents)
    scored = {runs.task.id: None for runs in group(records) if not runs.task.control}
    if scored and not scored.keys() & scoring.reference().tasks.keys():
        legend = (
            "Steps are medians over seeds; RMST is the mean of min(T, budget). There are no scores: the pinned reference,\n"
            f"{agents}, has no runs of {', '.join(scored)}. `grokbench run --suite mini` makes runs with a score."
        )
        return f"{task_table(records, style)}\n\n{legend}"
    seeds = len(PROTOCOL.official_seeds)
    legend = (
        f"Steps are medians over seeds; RMST is the mean of min(T, budget). Score: times faster than the pinned reference,\n"
        f"{agents}, on the same seeds, geometric mean over tasks. Official entries have all {seeds} seeds."
    )
    return f"{task_table(records, style)}\n\n{score_table(records, style)}\n\n{legend}"


def _table(rows: Sequence[Row], columns: Sequence[str], style: str) -> str:
    return tabulate(
        [[row.get(column, "") for column in columns] for row in rows],
        columns,
        tablefmt=style,
        disable_numparse=True,
        colalign=["right" if column in RIGHT_ALIGNED else "left" for column in columns],
    )


def _task_row(runs: Group) -> Row:
    row = {"task": runs.task.id, "agent": runs.agent, "solved": "incomplete", "notes": "; ".join(_notes(runs))}
    if not runs.complete:
        return row
    low, high = statistics.wilson_interval(len(runs.solved), len(runs.complete))
    row |= {
        "solved": f"{len(runs.solved)}/{len(runs.complete)}",
        "95 % interval": f"{low:.0%}–{high:.0%}",
        "memorized at": _steps(runs.median_memorized, runs.task.budget),
    }
    return row | (_control_cells(runs) if runs.task.control else _generalization_cells(runs))


def _notes(runs: Group) -> list[str]:
    diverged = sum(record.outcome.end == "diverged" for record in runs.complete)
    return [
        *(["never scored"] if runs.task.control and runs.complete else []),
        *([f"salt {runs.salt}"] if runs.salt else []),
        *(["sparse exams"] if runs.task.exam_grid == "sparse" else []),
        *(f"seed {record.seed} {record.incomplete}" for record in runs.incomplete),
        *([f"{diverged} diverged"] if diverged else []),
    ]


def _control_cells(runs: Group) -> Row:
    """A run on the control that is above chance has seen held-out answers."""
    leaks = any(scoring.beats_chance(runs.task, [exam.exam() for exam in record.exams]) for record in runs.complete)
    return {"generalized at": "ABOVE CHANCE" if leaks else "at chance"}


def _generalization_cells(runs: Group) -> Row:
    ranks = [record.outcome.final_rank for record in runs.solved if record.outcome.final_rank is not None]
    return {
        "generalized at": _steps(scoring.median_time(runs.times), runs.task.budget),
        "RMST": f"{scoring.rmst(runs.times, runs.task.budget):,.0f}",
        "final rank": f"{median(ranks):.1f}" if ranks else "",
    }


def _score_row(agent: str, groups: Sequence[Group]) -> Row:
    seeds = sorted({seed for runs in groups for seed in runs.seeds})
    row = {"agent": agent, "tasks": str(len(groups)), "seeds": _ranges(seeds)}
    obstacles = _obstacles(groups)
    if obstacles:
        return row | {"score": "none", "notes": "; ".join(obstacles)}
    pinned = scoring.reference()
    ratios = [pinned.rmst(runs.task, runs.seeds) / scoring.rmst(runs.times, runs.task.budget) for runs in groups]
    return row | {"score": f"×{scoring.score(ratios):.2f}"}


def _obstacles(groups: Sequence[Group]) -> list[str]:
    """Why these runs have no score; empty if they have one."""
    pinned = scoring.reference().tasks
    other_budgets = [runs.task.id for runs in groups if runs.task.budget != parse_id(runs.task.id).budget]
    sparse = [runs.task.id for runs in groups if runs.task.exam_grid == "sparse"]
    salted = [runs.task.id for runs in groups if runs.salt]
    without_reference = [runs.task.id for runs in groups if not set(runs.seeds) <= set(pinned.get(runs.task.id, {}))]
    return [
        *(f"{len(runs.incomplete)} incomplete on {runs.task.id}" for runs in groups if runs.incomplete),
        *([f"no reference for these seeds of {', '.join(without_reference)}"] if without_reference else []),
        *([f"another budget than the standard one on {', '.join(other_budgets)}"] if other_budgets else []),
        *([f"sparse exams on {', '.join(sparse)}"] if sparse else []),
        *([f"salted runs on {', '.join(salted)}"] if salted else []),
    ]


def _ranges(seeds: Sequence[int]) -> str:
    consecutive = len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}–{seeds[-1]}" if consecutive else ", ".join(map(str, seeds))


def _steps(steps: float | None, budget: int) -> str:
    return f"> {budget:,}" if steps is None else f"{steps:,.0f}"
