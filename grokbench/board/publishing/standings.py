"""What the entries that nothing refuses amount to: times, scores, intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.files import Entry
from grokbench.board.entries.verdicts import Verdict
from grokbench.results import scoring, statistics
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task, list_tasks


@dataclass(frozen=True)
class Standing:
    """What an entry's runs amount to on its suite."""

    entry: Entry
    runs: tuple[RunRecord, ...]  # the scored ones, the control's not among them
    verdicts: tuple[Verdict, ...] = ()

    @cached_property
    def tasks(self) -> list[Task]:
        """The suite's scored tasks."""
        return list_tasks(self.entry.form.suite)

    @cached_property
    def samples(self) -> list[list[int]]:
        """Per task every seed's min(T, budget), in the order of seeds."""
        return [list(scoring.restricted(self._times(task), task.budget).values()) for task in self.tasks]

    @cached_property
    def references(self) -> list[list[int]]:
        """The same for the pinned reference."""
        pinned = scoring.reference().tasks
        times = [{seed: pinned[task.id][seed] for seed in self._times(task)} for task in self.tasks]
        return [list(scoring.restricted(one, task.budget).values()) for one, task in zip(times, self.tasks, strict=True)]

    def _times(self, task: Task) -> dict[int, int | None]:
        return {run.seed: run.outcome.steps_to_generalize for run in self.runs if run.task == task.id}

    @property
    def score(self) -> float:
        """Times faster than the reference."""
        pairs = zip(self.references, self.samples, strict=True)
        return scoring.score([sum(theirs) / sum(ours) for theirs, ours in pairs])

    @property
    def interval(self) -> tuple[float, float]:
        """The score's bootstrap interval."""
        return statistics.bootstrap_interval(self.samples, [sum(s) / len(s) for s in self.references])

    @property
    def solved(self) -> list[RunRecord]:
        """The runs that generalized."""
        return [run for run in self.runs if run.outcome.steps_to_generalize is not None]


def standings(checked: Sequence[Checked]) -> list[Standing]:
    """Those entries that nothing refuses, and whose suite has a pinned reference."""
    found = []
    for one in checked:
        if one.entry is None or one.refused:
            continue
        tasks = {task.id for task in list_tasks(one.entry.form.suite)}
        if tasks <= set(scoring.reference().tasks):
            found.append(Standing(one.entry, tuple(run for run in one.entry.runs if run.task in tasks), one.verdicts))
    return found


def summary(checked: Checked) -> str:
    """In one line whether the entry stands, and what it amounts to."""
    text = f"{'refused' if checked.refused else 'stands'}, {len(checked.sound)} sound runs"
    for one in standings([checked]):
        low, high = one.interval
        text += f", score ×{one.score:.2f} (95 % interval {low:.2f}–{high:.2f})"
        text += f", {len(one.solved)} of {len(one.runs)} runs generalize"
    return text
