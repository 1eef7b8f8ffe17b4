"""Standings: times, scores and intervals of the accepted entries, computed from their runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot
from statistics import median

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.entry import Entry
from grokbench.board.entries.verdicts import Verdict
from grokbench.results import scoring, statistics
from grokbench.runs.records import RunRecord
from grokbench.sweeps.tuning import Tuning
from grokbench.tasks import Task, list_tasks

UNSOLVED = "unsolved"


@dataclass(frozen=True)
class Standing:
    """The results of an accepted entry on its suite.

    Attributes:
        entry: the entry.
        runs: its scored runs, without those on the control.
        verdicts: the verdicts of its re-executions, the oldest first.
        tuning: its tuning; None for an untuned setting.
    """

    entry: Entry
    runs: tuple[RunRecord, ...]
    verdicts: tuple[Verdict, ...] = ()
    tuning: Tuning | None = None

    @property
    def is_ranked(self) -> bool:
        """Whether the entry is compared with all others: tuned by the rules, on a baseline's network."""
        return self.tuning is not None and self.entry.form.division == "closed"

    @cached_property
    def tasks(self) -> list[Task]:
        """The suite's scored tasks."""
        return list_tasks(self.entry.form.suite)

    @cached_property
    def samples(self) -> list[list[int]]:
        """min(T, budget) in steps, (tasks, seeds), in the order of seeds."""
        return [list(scoring.restricted(self._times(task), task.budget).values()) for task in self.tasks]

    @cached_property
    def references(self) -> list[list[int]]:
        """The pinned reference's min(T, budget) for the same tasks and seeds, (tasks, seeds)."""
        pinned = scoring.reference().tasks
        times = [{seed: pinned[task.id][seed] for seed in self._times(task)} for task in self.tasks]
        return [list(scoring.restricted(its, task.budget).values()) for its, task in zip(times, self.tasks, strict=True)]

    def _times(self, task: Task) -> dict[int, int | None]:
        return {run.seed: run.outcome.steps_to_generalize for run in self.runs if run.task == task.id}

    @cached_property
    def ratios(self) -> list[float]:
        """For every task the reference's RMST divided by the entry's."""
        return [sum(reference) / sum(sample) for reference, sample in zip(self.references, self.samples, strict=True)]

    @property
    def score(self) -> float:
        """How many times faster than the reference: the geometric mean of `ratios`."""
        return scoring.score(self.ratios)

    @property
    def scores_without(self) -> list[float]:
        """For every task the score on the other tasks. A suite of one task has none."""
        return [scoring.score(others) for i in range(len(self.ratios)) if (others := self.ratios[:i] + self.ratios[i + 1 :])]

    @property
    def depends_on_the_task(self) -> bool:
        """Whether leaving out one task makes the entry slower than the reference instead of faster, or the reverse."""
        return any((score > 1) != (self.score > 1) for score in self.scores_without) and not self.is_reference

    @property
    def is_reference(self) -> bool:
        """Whether these are the times of the pinned reference itself."""
        return self.samples == self.references

    @cached_property
    def tuning_spread(self) -> float:
        """The standard deviation of the log of the times that comes from tuning; 0 for an untuned setting."""
        return self.tuning.spread if self.tuning else 0.0

    @property
    def _spread_of_both(self) -> float:
        """The same of the ratio to the reference's times."""
        return hypot(self.tuning_spread, scoring.reference().tuning_spread)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the score."""
        return statistics.score_interval(self.samples, self.references, tuning_spread=self._spread_of_both)

    @cached_property
    def p(self) -> float:
        """The p-value of the hypothesis that entry and reference are equally soon, uncorrected."""
        return statistics.paired_p(self.samples, self.references, tuning_spread=self._spread_of_both)

    @property
    def solved(self) -> list[RunRecord]:
        """The runs that generalized."""
        return [run for run in self.runs if run.outcome.steps_to_generalize is not None]

    @property
    def unsolved(self) -> bool:
        """Whether fewer than half of the runs generalized, which gives no place."""
        return 2 * len(self.solved) < len(self.runs)

    @property
    def lost(self) -> list[RunRecord]:
        """The runs that reached the threshold once and didn't stay there."""
        return [run for run in self.runs if run.outcome.first_crossing is not None and run.outcome.steps_to_generalize is None]

    @property
    def delay(self) -> float | None:
        """The median of T over steps-to-memorize, over the runs that have both."""
        outcomes = [run.outcome for run in self.solved]
        delays = [
            o.steps_to_generalize / o.steps_to_memorize for o in outcomes if o.steps_to_generalize and o.steps_to_memorize
        ]
        return median(delays) if delays else None

    @property
    def delay_text(self) -> str:
        """The delay; empty if no run has one."""
        return "" if self.delay is None else f"×{self.delay:.1f}"

    @property
    def score_text(self) -> str:
        """The score with its interval, an upper bound if no run generalized. The reference's is 1 by definition."""
        low, high = self.interval
        bound = "" if self.solved else "≤ "
        return "×1.00" if self.is_reference else f"{bound}×{self.score:.2f} ({low:.2f}–{high:.2f})"

    @property
    def solved_text(self) -> str:
        """The number of runs that generalized, of all scored runs, and how many reached the threshold and left it again."""
        return f"{len(self.solved)}/{len(self.runs)}" + (f", {len(self.lost)} lost" if self.lost else "")

    @property
    def solve_rate_text(self) -> str:
        """The Wilson interval of the rate at which runs generalize, 95 %."""
        low, high = statistics.wilson_interval(len(self.solved), len(self.runs))
        return f"{low:.0%}–{high:.0%}"

    @property
    def faster_text(self) -> str:
        """The probability that a run generalizes in fewer steps than a run of the reference."""
        return f"{statistics.improvement_probability(self.samples, self.references):.0%}"

    @cached_property
    def final_ranks(self) -> list[float]:
        """The final effective ranks of the runs that generalized and have one."""
        return [run.outcome.final_rank for run in self.solved if run.outcome.final_rank is not None]

    @property
    def final_rank(self) -> float | None:
        """The median of `final_ranks`."""
        return median(self.final_ranks) if self.final_ranks else None

    @property
    def final_rank_text(self) -> str:
        """The median final effective rank, and the number of runs that have one; empty if none has."""
        return "" if self.final_rank is None else f"{self.final_rank:.1f} ({len(self.final_ranks)})"

    @property
    def parameters_text(self) -> str:
        """The number of parameters, as a range if tasks differ; empty if the runs don't state it."""
        stated = [run.cost.parameters for run in self.runs if run.cost.parameters is not None]
        if not stated:
            return ""
        if min(stated) == max(stated):
            return f"{min(stated):,}"
        return f"{min(stated):,}–{max(stated):,}"


def standings(checked: Sequence[Checked]) -> list[Standing]:
    """The accepted entries whose suite has a pinned reference, in their order."""
    pinned = set(scoring.reference().tasks)
    results = []
    for each in checked:
        if each.entry is None or each.refused:
            continue
        tasks = {task.id for task in list_tasks(each.entry.form.suite)}
        if tasks <= pinned:
            runs = tuple(run for run in each.entry.runs if run.task in tasks)
            results.append(Standing(each.entry, runs, each.verdicts, each.tuning))
    return results


def summary(checked: Checked) -> str:
    """One line: whether the entry is accepted, and its results."""
    text = f"{'refused' if checked.refused else 'accepted'}, {len(checked.sound_runs)} sound runs"
    for standing in standings([checked]):
        low, high = standing.interval
        text += f", score ×{standing.score:.2f} (95 % interval {low:.2f}–{high:.2f})"
        text += f", {len(standing.solved)} of {len(standing.runs)} runs generalize"
    return text
