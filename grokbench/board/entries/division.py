"""Rules of the divisions, and how a run holds its level: by training on, by an average of its weights, or by having stopped.

A closed entry trains a baseline's network until the end. A schedule that ends near zero freezes the weights, and so does code
that answers from kept weights. The schedule is read from the recipe, the other way from the exams: features that change have
other ranks at every exam, to the last bit.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Any

from grokbench.board.entries.entry import Entry
from grokbench.board.entries.files import RECIPE, RUNS
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.run_checks import run_name
from grokbench.runs.records import ExamRecord, RunRecord

LOWEST_FINAL = 0.1  # of the peak learning rate, at the end of a closed entry's schedule
SCHEDULES = ("constant", "linear", "cosine")
SCHEDULE_KEYS = {"name", "warmup", "steps", "final"}  # all in absolute steps
TABLES = {"network", "training", "optimizer", "schedule", "gradient", "projection", "noise", "average"}
OPEN = 'or set division = "open"'


class Hold(StrEnum):
    """How the runs of an entry hold their level after they have generalized."""

    TRAINING = "training"
    AVERAGED = "averaged"
    STOPPED = "stopped"


def hold(entry: Entry) -> Hold:
    """How the entry's runs hold their level: stopped if any run that generalized did."""
    if any(has_stopped(run) for run in entry.runs):
        return Hold.STOPPED
    return Hold.AVERAGED if "average" in entry.recipe.hyperparameters else Hold.TRAINING


def has_stopped(run: RunRecord) -> bool:
    """Whether the run generalized, and its last features are those of the exam before, to the bit."""
    return run.outcome.end == "generalized" and 0 in repeated_exams(run)


def repeated_exams(run: RunRecord) -> list[int]:
    """The exams with the same features as the measured exam before. They are counted from the run's end: 0 is the last.

    Equal counts of right answers and equal values of all measures of rank show equal features. Features without any spread,
    whose ranks are 0, show nothing.
    """
    measured = [exam for exam in run.exams if exam.ranks]
    pairs = list(pairwise(measured))[::-1]
    return [number for number, (before, after) in enumerate(pairs) if _same_features(before, after)]


def recipe_findings(tables: Mapping[str, Any]) -> Iterator[Finding]:
    """What the closed division refuses in a recipe's tables."""
    for name in sorted(set(tables) - TABLES):
        yield _refused(f"the closed division has no [{name[:40]}]", "leave it out")
    schedule = tables.get("schedule", {})
    if not isinstance(schedule, Mapping):
        yield _refused("its schedule isn't a table", "write [schedule]")
        return
    if schedule.get("name", SCHEDULES[0]) not in SCHEDULES or set(schedule) - SCHEDULE_KEYS:
        yield _refused(
            "its schedule isn't one of the closed division's",
            f"use name = {', '.join(SCHEDULES)}, with warmup, steps (absolute) and final",
        )
    final = schedule.get("final", LOWEST_FINAL)
    if not isinstance(final, int | float) or not final >= LOWEST_FINAL:
        yield _refused(f"its learning rate falls below {LOWEST_FINAL} of its peak", f"set final = {LOWEST_FINAL} or more")


def exam_findings(entry: Entry) -> Iterator[Finding]:
    """Runs of a closed entry that generalized and whose features repeat to the bit."""
    for run in entry.runs:
        repeated = repeated_exams(run)
        if run.outcome.end == "generalized" and repeated:
            yield Finding(RUNS, run_name(run), _repeated_problem(run, repeated), f"train to the end, {OPEN}")


def _repeated_problem(run: RunRecord, repeated: list[int]) -> str:
    losses = {exam.loss for exam in run.exams[-len(repeated) :]}
    if 0 in repeated and len(losses) == 1:
        return "stopped: its last features repeat to the bit"
    exams = f"at {len(repeated)} exam{'' if len(repeated) == 1 else 's'}"
    return f"answers from kept weights: its features repeat to the bit {exams} while it trains"


def _same_features(before: ExamRecord, after: ExamRecord) -> bool:
    ranks = after.ranks or {}
    has_spread = any(value > 0 for layers in ranks.values() for value in layers)
    return has_spread and (before.train, before.held_out, before.ranks) == (after.train, after.held_out, after.ranks)


def _refused(problem: str, remedy: str) -> Finding:
    return Finding(RECIPE, "", problem, f"{remedy}, {OPEN}")
