"""Scores: pure functions from outcomes to numbers, and the pinned reference of the scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, inf, log
from statistics import mean, median

from scipy import stats

from grokbench.errors import ResultError
from grokbench.evaluation.protocol import PROTOCOL, Exam
from grokbench.tasks import Task

StepsBySeed = Mapping[int, int | None]  # seed → steps-to-generalize T, None if the run is censored


def rmst(times: Sequence[int | None], budget: int) -> float:
    """Restricted mean steps-to-generalize: the mean over seeds of min(T, budget), in steps.

    With one common budget, this is exactly the area under the Kaplan-Meier curve up to the budget.

    Raises:
        ResultError: there are no runs.
    """
    if not times:
        raise ResultError("the restricted mean needs at least one complete run")
    return mean(restricted_time(t, budget) for t in times)


def restricted_time(t: int | None, budget: int) -> int:
    """min(T, budget), with T = ∞ for a censored run."""
    return budget if t is None else min(t, budget)


def restricted(times: StepsBySeed, budget: int) -> dict[int, int]:
    """min(T, budget) of every seed."""
    return {seed: restricted_time(t, budget) for seed, t in times.items()}


def median_time(times: Sequence[int | None]) -> float | None:
    """The median of T, with T = ∞ for censored runs; None if the median is infinite."""
    middle = median(inf if t is None else float(t) for t in times)
    return None if middle == inf else middle


def chance_limit(task: Task, exams: int) -> int:
    """The number of right held-out answers that guessing exceeds in one of `exams` exams with a probability of at most 10⁻⁴."""
    quantile = PROTOCOL.chance_quantile / max(exams, 1)
    return int(stats.binom.isf(quantile, task.num_held_out, 1 / task.num_symbols))


def beats_chance(task: Task, exams: Sequence[Exam]) -> bool:
    """Whether a run on the random control has more right held-out answers than guessing explains."""
    return max((exam.held_out for exam in exams), default=0) > chance_limit(task, len(exams))


@dataclass(frozen=True)
class Reference:
    """The pinned runs that a score compares with.

    Attributes:
        agents: the name and the recipe hash of every agent that made the runs: one for tables, and one for images.
        tasks: for every task id the T of every seed.
        tuning_spread: the standard deviation of the log of its times that comes from tuning; 0 for an untuned setting.
    """

    agents: Mapping[str, str]
    tasks: Mapping[str, StepsBySeed]
    tuning_spread: float = 0.0

    def rmst(self, task: Task, seeds: Sequence[int]) -> float:
        """The reference's restricted mean on `seeds`.

        Raises:
            KeyError: the reference has no run of the task with one of the seeds.
        """
        return rmst([self.tasks[task.id][seed] for seed in seeds], task.budget)


def score(ratios: Sequence[float]) -> float:
    """The geometric mean over tasks of RMST_reference / RMST_entry: how many times faster than the reference."""
    return exp(mean(log(ratio) for ratio in ratios))


@cache
def reference() -> Reference:
    """The reference that ships with this version of grokbench."""
    content = json.loads((files("grokbench") / "results" / "reference.json").read_text(encoding="utf-8"))
    tasks = {task: {int(seed): t for seed, t in times.items()} for task, times in content["tasks"].items()}
    return Reference(agents=content["agents"], tasks=tasks, tuning_spread=content.get("tuning_spread", 0.0))
