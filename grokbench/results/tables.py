"""Tables of runs: per agent and task what the exams amount to, and every agent's score against the reference."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from tabulate import tabulate

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results import scoring, statistics
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task

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


@dataclass(frozen=True)
class Group:
    """All records of one agent on one task."""

    task: Task
    agent: str
    complete: tuple[RunRecord, ...]
    incomplete: tuple[RunRecord, ...]

    @property
    def times(self) -> list[int | None]:
        """Every complete run's T."""
        return [record.outcome.steps_to_generalize for record in self.complete]

    @property
    def seeds(self) -> list[int]:
        """The complete runs' seeds."""
        return [record.seed for record in self.complete]


def group(records: Iterable[RunRecord]) -> list[Group]:
    """The records by task and agent, in the order in which they come; a run that stands twice counts once."""
    unique: dict[tuple[str, str, str, int], RunRecord] = {}
    for record in records:
        key = (record.task, record.agent.hash, record.salt, record.seed)
        if key not in unique or unique[key].incomplete is not None:
            unique[key] = record
    grouped: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    names = _names(unique.values())
    for record in unique.values():
        grouped[record.task, names[record.agent.hash]].append(record)
    return [
        Group(
            members[0].parsed_task(),
            agent,
            tuple(record for record in members if record.incomplete is None),
            tuple(record for record in members if record.incomplete is not None),
        )
        for (_, agent), members in grouped.items()
    ]


def task_table(records: Iterable[RunRecord], style: str = "simple") -> str:
    """One row per task and agent; medians over runs, a final rank over generalized ones alone."""
    rows = [_task_row(one) for one in group(records)]
    return tabulate(rows, TASK_COLUMNS, tablefmt=style, disable_numparse=True, colalign=_align(TASK_COLUMNS, 3, 8))


def score_table(records: Iterable[RunRecord], style: str = "simple") -> str:
    """One row per agent: its score against the pinned reference on the same seeds."""
    by_agent: dict[str, list[Group]] = defaultdict(list)
    for one in group(records):
        if not one.task.control:
            by_agent[one.agent].append(one)
    rows = [_score_row(agent, groups) for agent, groups in by_agent.items()]
    return tabulate(rows, SCORE_COLUMNS, tablefmt=style, disable_numparse=True, colalign=_align(SCORE_COLUMNS, 1, 4))


def report(records: list[RunRecord], style: str = "simple") -> str:
    """Both tables with what they mean."""
    agents = " or ".join(f"`{agent}`" for agent in scoring.reference().agents)
    seeds = len(PROTOCOL.official_seeds)
    legend = (
        f"Steps are medians over seeds; RMST is the mean of min(T, budget). Score: times faster than the pinned reference,\n"
        f"{agents}, on the same seeds, geometric mean over tasks. Official entries have all {seeds} seeds."
    )
    return f"{task_table(records, style)}\n\n{score_table(records, style)}\n\n{legend}"


def _names(records: Iterable[RunRecord]) -> dict[str, str]:
    """Recipe hash → the agent's name, with the hash's beginning where two recipes share a name."""
    named: dict[str, set[str]] = defaultdict(set)
    for record in records:
        named[record.agent.name].add(record.agent.hash)
    return {h: name if len(hashes) == 1 else f"{name}-{h[:8]}" for name, hashes in named.items() for h in hashes}


def _task_row(one: Group) -> list[str]:
    notes = [f"seed {record.seed} {record.incomplete}" for record in one.incomplete]
    if not one.complete:
        return [one.task.id, one.agent, "incomplete", "", "", "", "", "", "; ".join(notes)]
    solved = [record for record in one.complete if record.outcome.steps_to_generalize is not None]
    diverged = sum(record.outcome.end == "diverged" for record in one.complete)
    notes += [f"{diverged} diverged"] if diverged else []
    low, high = statistics.wilson_interval(len(solved), len(one.complete))
    row = [one.task.id, one.agent, f"{len(solved)}/{len(one.complete)}", f"{low:.0%}–{high:.0%}"]
    if one.task.control:
        return [*row, *_control_cells(one), "; ".join(["never scored", *notes])]
    memorized = scoring.median_time([record.outcome.steps_to_memorize for record in one.complete])
    ranks = [record.outcome.final_rank for record in solved if record.outcome.final_rank is not None]
    return [
        *row,
        _steps(memorized, one.task.budget),
        _steps(scoring.median_time(one.times), one.task.budget),
        f"{scoring.rmst(one.times, one.task.budget):,.0f}",
        f"{median(ranks):.1f}" if ranks else "",
        "; ".join(notes),
    ]


def _control_cells(one: Group) -> list[str]:
    """What a control shows: when it was memorized, and whether it stayed at chance."""
    memorized = scoring.median_time([record.outcome.steps_to_memorize for record in one.complete])
    lucky = any(scoring.beats_chance(one.task, [exam.exam() for exam in record.exams]) for record in one.complete)
    return [_steps(memorized, one.task.budget), "ABOVE CHANCE" if lucky else "at chance", "", ""]


def _score_row(agent: str, groups: list[Group]) -> list[str]:
    reasons = [f"{len(one.incomplete)} incomplete on {one.task.id}" for one in groups if one.incomplete]
    pinned = scoring.reference()
    unpinned = [one.task.id for one in groups if not set(one.seeds) <= set(pinned.tasks.get(one.task.id, {}))]
    reasons += [f"no reference for these seeds of {', '.join(unpinned)}"] if unpinned else []
    reasons += [f"salted runs on {one.task.id}" for one in groups if any(record.salt for record in one.complete)]
    seeds = sorted({seed for one in groups for seed in one.seeds})
    cells = [agent, str(len(groups)), _ranges(seeds)]
    if reasons:
        return [cells[0], "none", *cells[1:], "; ".join(reasons)]
    ratios = [pinned.rmst(one.task, one.seeds) / scoring.rmst(one.times, one.task.budget) for one in groups]
    return [cells[0], f"×{scoring.score(ratios):.2f}", *cells[1:], ""]


def _ranges(seeds: list[int]) -> str:
    consecutive = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}–{seeds[-1]}" if consecutive else ", ".join(map(str, seeds))


def _steps(steps: float | None, budget: int) -> str:
    return f"> {budget:,}" if steps is None else f"{steps:,.0f}"


def _align(columns: tuple[str, ...], first: int, last: int) -> list[str]:
    """Numbers, the columns from `first` up to `last`, to the right."""
    return ["right" if first <= i < last else "left" for i in range(len(columns))]
