"""Tuning, the same for every method: which settings are tried, on which tasks, and which of them is chosen.

1. Search: the published setting and 32 points of the space on the tasks of the suite `tuning`, with one salted seed and a
   budget of 3,000 steps.
2. Zoom: 8 points around the best, in a box a third as wide, on the same instances.
3. Final: the four best on three more salted seeds, with the suite's budget.

The best of the four has the lowest geometric mean over tasks of RMST. Those within one standard error of it are compared by
their solved runs, then by their share of passing exams. The lowest RMST alone picks settings that lose the task again.

The functions here compute everything from the results of runs; `run_tuning` makes the runs.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import fmean, variance
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import override

from grokbench.agents.recipes import Recipe
from grokbench.errors import TuningError
from grokbench.evaluation.protocol import Outcome
from grokbench.results.scoring import restricted_time
from grokbench.runs import engine
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.plan import Experiment, Plan, Run
from grokbench.runs.records import OutcomeRecord, RunRecord, read_record
from grokbench.runs.store import Store
from grokbench.sweeps.space import Space, Unit, search_points, zoom_points
from grokbench.tasks import Task, get_suite, parse_id

COUNTS = (1, 2, 4, 8, 16, 32)  # of settings, after which the expected result is shown
PUBLISHED = 0  # the number of the published setting; the points follow


@dataclass(frozen=True)
class Rules:
    """The numbers of a tuning, which are the same for everyone.

    Attributes:
        tasks: what it runs on, the suite `tuning`.
        salt: of its instances.
        points: of the search, beside the published setting.
        zoomed: points around the best of the search.
        finalists: the best settings, which run again.
        search_budget: the budget of the search and the zoom, in steps.
        final_budget: the budget of the final.
        search_seeds: the seeds of the search and the zoom.
        final_seeds: the seeds of the final.
        halves: random halves of the settings, for the spread.
    """

    tasks: tuple[str, ...] = get_suite("tuning").tasks
    salt: str = "tuning"
    points: int = 32
    zoomed: int = 8
    finalists: int = 4
    search_budget: int = 3_000
    final_budget: int = get_suite("tuning").budget
    search_seeds: tuple[int, ...] = (0,)
    final_seeds: tuple[int, ...] = (1, 2, 3)
    halves: int = 1_000

    @property
    def settings(self) -> int:
        """All settings that a tuning tries."""
        return 1 + self.points + self.zoomed

    @property
    def runs(self) -> int:
        """All runs of a tuning."""
        search = self.settings * len(self.search_seeds)
        return len(self.tasks) * (search + self.finalists * len(self.final_seeds))

    def task(self, name: str, seed: int) -> Task:
        """The task as a seed runs on it: with the budget of the final, or of the search."""
        return parse_id(name, self.final_budget if seed in self.final_seeds else self.search_budget)


RULES = Rules()


@dataclass(frozen=True)
class Trial:
    """The result of a run.

    Attributes:
        task: the task's id.
        seed: the run's seed.
        time: min(T, budget) in steps.
        solved: whether it generalized.
        passing_share: the share of passing exams since it first passed; 0 if it never did.
    """

    task: str
    seed: int
    time: int
    solved: bool
    passing_share: float

    @staticmethod
    def of(task: Task, seed: int, outcome: Outcome | OutcomeRecord) -> "Trial":
        """The result of a run that has ended."""
        time = outcome.steps_to_generalize
        return Trial(task.id, seed, restricted_time(time, task.budget), time is not None, outcome.passing_share or 0.0)


TuningKey = tuple[int, str, int]  # the number of a setting, task and seed
TrialsByPoint = Mapping[int, Sequence[Trial]]  # the number of a setting → its runs


def log_steps(trials: Iterable[Trial]) -> float:
    """The mean over tasks of log RMST."""
    times: dict[str, list[int]] = defaultdict(list)
    for trial in trials:
        times[trial.task].append(trial.time)
    return fmean(log(fmean(each)) for each in times.values())


def standard_error(trials: Iterable[Trial]) -> float:
    """The standard error of `log_steps`, from the variance of log min(T, budget) over the seeds of every task."""
    logs: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        logs[trial.task].append(log(trial.time))
    return sqrt(sum(variance(each) / len(each) for each in logs.values() if len(each) > 1)) / len(logs)


def ranked(trials: TrialsByPoint) -> list[int]:
    """The settings from the fastest to the slowest; of equal ones the lower number first."""
    return sorted(trials, key=lambda point: (log_steps(trials[point]), point))


def chosen(final: TrialsByPoint) -> int:
    """The setting that wins the final."""
    best = ranked(final)[0]
    limit = log_steps(final[best]) + standard_error(final[best])
    close = [point for point in final if log_steps(final[point]) <= limit]

    def merit(point: int) -> tuple[int, float, float]:
        runs = final[point]
        return sum(run.solved for run in runs), fmean(run.passing_share for run in runs), -log_steps(runs)

    return max(sorted(close), key=merit)


def spread(search: TrialsByPoint, *, halves: int = RULES.halves) -> float:
    """The standard deviation of log RMST of the winners of random halves of the settings."""
    steps = np.array([log_steps(search[point]) for point in sorted(search)])
    rng = np.random.Generator(np.random.Philox(0))
    drawn = rng.random((halves, len(steps))).argsort(axis=1)[:, : len(steps) // 2]
    return float(steps[drawn].min(axis=1).std(ddof=1))


def expected_steps(search: TrialsByPoint, settings: int) -> float:
    """The expected RMST of the best of so many settings, drawn with replacement from those of the search.

    A geometric mean over tasks, in steps. Dodge et al. 2019, arXiv 1909.03004.
    """
    steps = np.sort([log_steps(search[point]) for point in search])
    count = len(steps)
    at_least = (np.arange(count, -1, -1) / count) ** settings  # the chance that none of them is among the i fastest
    return exp(float(steps @ (at_least[:-1] - at_least[1:])))


def solving_share(search: TrialsByPoint) -> float:
    """The share of settings that solve at least half of their runs."""
    return fmean(2 * sum(run.solved for run in runs) >= len(runs) for runs in search.values())


@dataclass(frozen=True)
class Tuning:
    """A finished tuning.

    Attributes:
        space: what was varied.
        rules: those that it followed.
        points: the point of every setting; None for the published setting.
        search: the runs of search and zoom.
        final: the runs of the final.
    """

    space: Space
    rules: Rules
    points: Mapping[int, Unit | None]
    search: TrialsByPoint
    final: TrialsByPoint

    @property
    def winner(self) -> int:
        """The number of the chosen setting."""
        return chosen(self.final)

    @property
    def spread(self) -> float:
        """The standard deviation of the log score that comes from the luck of the points."""
        return spread(self.search, halves=self.rules.halves)

    @property
    def sampled(self) -> TrialsByPoint:
        """The runs of the search's points, which were drawn without looking at any run."""
        return {point: trials for point, trials in self.search.items() if 1 <= point <= self.rules.points}

    def recipe(self, name: str) -> Recipe:
        """The chosen recipe."""
        return replace(self.space.recipe(self.winner, self.points[self.winner]), name=name)

    def __str__(self) -> str:
        point = self.points[self.winner]
        pairs = zip(self.space.dimensions, point or (), strict=point is not None)
        values = ", ".join(f"{dimension.label} = {dimension.value(place):g}" for dimension, place in pairs)
        final, winner, start = (
            exp(log_steps(trials)) for trials in (self.final[self.winner], self.search[self.winner], self.search[PUBLISHED])
        )
        one, most = (expected_steps(self.sampled, count) for count in (1, len(self.sampled)))
        return (
            f"chosen: {values or 'the starting setting'}\n"
            f"its RMST on the suite tuning: {final:,.0f} steps in the final\n"
            f"RMST in the search, with one seed: chosen {winner:,.0f}, starting setting {start:,.0f}, "
            f"a random setting {one:,.0f}, the best of {len(self.sampled)} draws {most:,.0f}\n"
            f"{solving_share(self.sampled):.0%} of the {len(self.sampled)} random settings solve half of their runs\n"
            f"the log score has a spread of {self.spread:.2f} from tuning"
        )


class TuningRun(NamedTuple):
    """A run that a tuning asks for: the number of its setting, the setting's point (None if it is published), task and seed."""

    number: int
    point: Unit | None
    task: Task
    seed: int

    @property
    def key(self) -> TuningKey:
        """Setting, task and seed."""
        return self.number, self.task.id, self.seed


Results = Callable[[Sequence[TuningRun]], Sequence[Trial]]  # the results of some runs, in their order


def follow(space: Space, results: Results, rules: Rules = RULES) -> Tuning:
    """Take a tuning through its three stages.

    Args:
        space: what is varied.
        results: makes the runs that it is asked for, or looks them up.
        rules: those of the protocol.
    """
    points: dict[int, Unit | None] = {PUBLISHED: None}
    points |= enumerate(search_points(len(space.dimensions), rules.points), start=1)

    def trials(numbers: Iterable[int], seeds: Sequence[int]) -> dict[int, list[Trial]]:
        runs = [
            TuningRun(number, points[number], rules.task(name, seed), seed)
            for number in numbers
            for name in rules.tasks
            for seed in seeds
        ]
        grouped: dict[int, list[Trial]] = defaultdict(list)
        for run, trial in zip(runs, results(runs), strict=True):
            grouped[run.number].append(trial)
        return grouped

    search = trials(list(points), rules.search_seeds)
    center = points[ranked(search)[0]] or space.place(space.published)
    zoomed = dict(enumerate(zoom_points(center, before=rules.points, count=rules.zoomed), start=1 + rules.points))
    points |= zoomed
    search |= trials(zoomed, rules.search_seeds)
    final = trials(ranked(search)[: rules.finalists], rules.final_seeds)
    return Tuning(space, rules, points, search, final)


class _WholeTuning(Callbacks):
    """Tells of the three stages as of one plan: all runs of the tuning, and those that were finished before."""

    def __init__(self, callbacks: Sequence[Callback], rules: Rules) -> None:
        super().__init__(callbacks)
        self.planned, self.finished = rules.runs, 0

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.finished += finished
        super().on_start(self.planned, self.finished)


def run_tuning(
    space: Space, store: Store, *, rules: Rules = RULES, callbacks: Sequence[Callback] = (), **options: Any
) -> Tuning:
    """Make the runs of a tuning that aren't finished. Every run trains alone, so that it can be repeated alone.

    Args:
        space: what is varied.
        store: the folder of runs.
        rules: those of the protocol.
        callbacks: who is told.
        **options: those of `engine.run`.

    Raises:
        TuningError: a run is incomplete.
        AgentError: no agent can be made with a setting.
    """
    whole = _WholeTuning(callbacks, rules)

    def results(wanted: Sequence[TuningRun]) -> list[Trial]:
        runs = [planned(space, run, rules) for run in wanted]
        engine.run([Plan((run.experiment,), (run.seed,)) for run in runs], store, callbacks=[whole], **options)
        return [_trial(complete_record(store, run)) for run in runs]

    return follow(space, results, rules)


def finished_tuning(space: Space, store: Store, rules: Rules = RULES) -> tuple[Tuning, dict[TuningKey, RunRecord]]:
    """A tuning whose runs are all there, and their records.

    Raises:
        TuningError: a run is missing or incomplete.
    """
    records: dict[TuningKey, RunRecord] = {}

    def results(runs: Sequence[TuningRun]) -> list[Trial]:
        found = [complete_record(store, planned(space, run, rules)) for run in runs]
        records.update({run.key: record for run, record in zip(runs, found, strict=True)})
        return [_trial(record) for record in found]

    return follow(space, results, rules), records


def planned(space: Space, run: TuningRun, rules: Rules = RULES) -> Run:
    """The run as the engine makes it."""
    return Run(Experiment(run.task, space.recipe(run.number, run.point), rules.salt), run.seed)


def complete_record(store: Store, run: Run) -> RunRecord:
    """The record of a finished run. Raises TuningError if it isn't there, or is incomplete."""
    path = store.record_path(run)
    shown = f"{run.experiment.recipe.name} on {run.experiment.task.id} seed {run.seed}"
    if not path.exists():
        raise TuningError(f"{shown} isn't finished: run the same command again")
    record = read_record(path)
    if record.incomplete is not None:
        raise TuningError(f"{shown} {record.incomplete}: a tuning needs all of its runs")
    return record


def _trial(record: RunRecord) -> Trial:
    return Trial.of(record.parsed_task(), record.seed, record.outcome)
