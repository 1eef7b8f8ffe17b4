"""Scores against closed forms, lifelines, and the committed runs of the reference."""

import json
from math import isclose, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from grokbench.agents.recipes import find_recipe
from grokbench.errors import ResultError
from grokbench.evaluation.protocol import PROTOCOL, Exam
from grokbench.results import scoring
from grokbench.tasks import Task, list_tasks, parse_id
from grokbench.tasks.suites import SUITES

ENTRIES = Path(__file__).resolve().parents[2] / "leaderboard" / "entries"
REFERENCE_ENTRIES = {"mini": "adamw-tuned-mini", "core": "adamw-tuned"}  # suite → the entry of its reference
TIMES = st.lists(st.none() | st.integers(1, 500), min_size=1, max_size=12)


@given(times=TIMES, budget=st.integers(100, 400))
def test_rmst_is_the_area_under_the_survival_curve(times: list[int | None], budget: int) -> None:
    """The share of runs that haven't generalized, summed step by step up to the budget."""
    finite = np.array([np.inf if t is None else t for t in times])
    area = sum(float((finite > step).mean()) for step in range(budget))
    assert isclose(scoring.rmst(times, budget), area, abs_tol=1e-9)


@given(times=TIMES, budget=st.integers(100, 400))
def test_rmst_is_that_of_lifelines(times: list[int | None], budget: int) -> None:
    """Lifelines fits the Kaplan-Meier curve to the censored times and integrates it."""
    durations = list(scoring.restricted(dict(enumerate(times)), budget).values())
    solved = [t is not None and t <= budget for t in times]
    curve = KaplanMeierFitter().fit(durations, solved)
    assert isclose(scoring.rmst(times, budget), float(restricted_mean_survival_time(curve, budget)), rel_tol=1e-9)


def test_rmst_needs_a_run() -> None:
    """No runs have no mean."""
    with pytest.raises(ResultError, match="at least one"):
        scoring.rmst([], 100)


@given(times=TIMES)
def test_median_counts_censored_runs_as_infinite(times: list[int | None]) -> None:
    """Numpy's median with infinities."""
    with np.errstate(invalid="ignore"):
        expected = np.median([np.inf if t is None else t for t in times])
    assert scoring.median_time(times) == (None if not np.isfinite(expected) else expected)


@given(ratios=st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_score_is_a_geometric_mean(ratios: list[float]) -> None:
    """The log of the score is the mean log ratio: twice as fast on a task balances half as fast on another."""
    assert log(scoring.score(ratios)) == pytest.approx(np.mean(np.log(ratios)), abs=1e-9)
    assert scoring.score([*ratios, *(1 / ratio for ratio in ratios)]) == pytest.approx(1)


@pytest.mark.parametrize("name", ["random_mod23-0.5", "random_mod97-0.5", "random_mnist5k-n1000"])
def test_chance_limit_bounds_guessing(name: str) -> None:
    """Guessing exceeds the limit in one of 50 exams with a probability of at most 10⁻⁴, and the limit is the smallest such."""
    task = parse_id(name)
    limit = scoring.chance_limit(task, 50)
    below, above = (float(stats.binom.sf(k, task.num_held_out, 1 / task.num_symbols)) for k in (limit - 1, limit))
    assert above <= 1e-4 / 50 < below
    assert scoring.beats_chance(task, [Exam(10, 0, limit + 1, {}), *[Exam(10, 0, 0, {})] * 49])
    assert not scoring.beats_chance(task, [Exam(10, 0, limit, {})] * 50)
    assert not scoring.beats_chance(task, [])


def pinned_tasks(suite: str) -> list[Task]:
    """The scored tasks of a suite that has a reference. A suite without is skipped."""
    tasks, pinned = list_tasks(suite), scoring.reference().tasks
    if not any(task.id in pinned for task in tasks):
        pytest.skip(f"{suite} has no reference")
    return tasks


def reference_runs(suite: str) -> list[dict[str, Any]]:
    """The scored runs of the entry that a suite's reference was pinned from."""
    lines = (ENTRIES / REFERENCE_ENTRIES[suite] / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [run for run in map(json.loads, lines) if not parse_id(run["task"]).control]


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_the_reference_covers_the_suite_and_fits_the_budgets(suite: str) -> None:
    """The reference has all official seeds of every task, and its median T is within the budget."""
    pinned = scoring.reference()
    for task in pinned_tasks(suite):
        times = pinned.tasks[task.id]
        assert sorted(times) == list(PROTOCOL.official_seeds)
        median = scoring.median_time(list(times.values()))
        assert median is not None
        assert median <= task.budget
        assert pinned.rmst(task, [0, 1]) == scoring.rmst([times[0], times[1]], task.budget)


def test_the_reference_has_no_other_tasks() -> None:
    """A task that left its suite isn't scored."""
    pinned = set(scoring.reference().tasks)
    assert pinned
    assert pinned <= {task.id for task in list_tasks()}


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_the_reference_is_recomputed_from_its_entries(suite: str) -> None:
    """Every pinned T and agent is that of the runs on the leaderboard."""
    pinned = scoring.reference()
    tasks = [task.id for task in pinned_tasks(suite)]
    times: dict[str, dict[int, int | None]] = {task: {} for task in tasks}
    agents: dict[str, str] = {}
    for run in reference_runs(suite):
        assert run["protocol"] == PROTOCOL.version
        times[run["task"]][run["seed"]] = run["outcome"]["steps_to_generalize"]
        agents[run["agent"]["name"]] = run["agent"]["hash"]
    assert times == {task: pinned.tasks[task] for task in tasks}
    assert agents.items() <= pinned.agents.items()


def test_the_reference_agents_are_the_recipes_that_ship() -> None:
    """The hashes are those of the recipes in the package, and each agent made the runs of a suite."""
    agents = scoring.reference().agents
    assert {name: find_recipe(name).hash for name in agents} == agents
    pinned = scoring.reference().tasks
    suites = [suite for suite in sorted(SUITES) if any(task.id in pinned for task in list_tasks(suite))]
    assert {run["agent"]["name"] for suite in suites for run in reference_runs(suite)} == set(agents)
