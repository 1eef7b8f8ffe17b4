"""Scores against closed forms, lifelines, and the committed runs of the reference."""

import json
from math import isclose, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from grokbench.agents.recipes import find_recipe
from grokbench.errors import ResultError
from grokbench.evaluation.protocol import Exam
from grokbench.results import scoring
from grokbench.tasks import list_tasks, parse_id

ENTRIES = Path(__file__).resolve().parents[2] / "leaderboard" / "entries"
REFERENCE_ENTRIES = ("transformer", "transformer-core", "deep-mlp")  # whose runs the reference was pinned from
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


@pytest.mark.parametrize("suite", ["mini", "core", "deep"])
def test_the_reference_covers_the_suite_and_fits_the_budgets(suite: str) -> None:
    """The reference has all official seeds, and every budget is at least four times its median T."""
    pinned = scoring.reference()
    for task in list_tasks(suite):
        times = pinned.tasks[task.id]
        assert sorted(times) == list(range(10))
        median = scoring.median_time(list(times.values()))
        assert median is not None
        assert task.budget >= 4 * median
        assert pinned.rmst(task, [0, 1]) == scoring.rmst([times[0], times[1]], task.budget)


def test_the_reference_is_recomputed_from_its_entries() -> None:
    """Every pinned T and agent is that of the runs on the leaderboard."""
    times: dict[str, dict[int, int | None]] = {}
    agents: dict[str, str] = {}
    for entry in REFERENCE_ENTRIES:
        for line in (ENTRIES / entry / "runs.jsonl").read_text(encoding="utf-8").splitlines():
            run = json.loads(line)
            if not parse_id(run["task"]).control:
                times.setdefault(run["task"], {})[run["seed"]] = run["outcome"]["steps_to_generalize"]
                agents[run["agent"]["name"]] = run["agent"]["hash"]
    pinned = scoring.reference()
    assert pinned.tasks == times
    assert pinned.agents == agents


def test_the_reference_agents_are_the_recipes_that_ship() -> None:
    """The hashes are those of the recipes in the package."""
    agents = scoring.reference().agents
    assert {name: find_recipe(name).hash for name in agents} == agents
