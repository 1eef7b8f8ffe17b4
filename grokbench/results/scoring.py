"""Scores: pure functions from outcomes to numbers, and the pinned reference that they are measured against."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, log
from statistics import mean

from scipy import stats

from grokbench.evaluation.protocol import PROTOCOL, Exam
from grokbench.tasks import Task

Times = Mapping[int, int | None]  # seed → steps-to-generalize, None where censored


def rmst(times: Sequence[int | None], budget: int) -> float:
    """Restricted mean steps-to-generalize: the mean over seeds of min(T, budget).

    With one common budget this is the area under the Kaplan-Meier curve up to the budget, exactly.

    Raises:
        ValueError: there are no runs.
    """
    if not times:
        raise ValueError("the restricted mean needs at least one complete run")
    return mean(restricted_time(t, budget) for t in times)


def restricted_time(t: int | None, budget: int) -> int:
    """min(T, budget), T = ∞ where the run is censored."""
    return budget if t is None else min(t, budget)


def restricted(times: Times, budget: int) -> dict[int, int]:
    """Every seed's min(T, budget)."""
    return {seed: restricted_time(t, budget) for seed, t in times.items()}


def median_time(times: Sequence[int | None]) -> float | None:
    """The median of T with censored runs as infinite; None where the median is censored."""
    ordered = sorted(float("inf") if t is None else float(t) for t in times)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return None if median == float("inf") else median


def chance_limit(task: Task, exams: int) -> int:
    """The most held-out answers that guessing gets right at every one of `exams` exams, but for a chance of 10⁻⁴."""
    quantile = PROTOCOL.chance_quantile / max(exams, 1)
    return int(stats.binom.isf(quantile, task.num_held_out, 1 / task.num_symbols))


def beats_chance(task: Task, exams: Sequence[Exam]) -> bool:
    """Whether a run on the random control knows more of its held-out answers than luck allows."""
    return max((exam.held_out for exam in exams), default=0) > chance_limit(task, len(exams))


@dataclass(frozen=True)
class Reference:
    """The pinned runs that a score is measured against.

    Attributes:
        agents: the recipe's hash of every agent that made them: one for tables, one for images.
        tasks: every task's T, seed by seed.
    """

    agents: Mapping[str, str]
    tasks: Mapping[str, Times]

    def rmst(self, task: Task, seeds: Sequence[int]) -> float:
        """The reference's restricted mean on the same seeds.

        Raises:
            KeyError: the reference hasn't run the task on one of them.
        """
        return rmst([self.tasks[task.id][seed] for seed in seeds], task.budget)


def score(ratios: Sequence[float]) -> float:
    """The geometric mean over tasks of RMST_reference / RMST_entry: how many times faster than the reference."""
    return exp(mean(log(ratio) for ratio in ratios))


@cache
def reference() -> Reference:
    """The reference that ships with this grokbench."""
    content = json.loads((files("grokbench") / "results" / "reference.json").read_text(encoding="utf-8"))
    tasks = {task: {int(seed): t for seed, t in times.items()} for task, times in content["tasks"].items()}
    return Reference(content["agents"], tasks)
