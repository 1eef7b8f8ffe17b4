"""Simulations of re-execution, on pools whose truth is known."""

import numpy as np
import pytest

from grokbench.results.sequential import MOST_ROUNDS, Decision, last_look
from tools import simulate_verify
from tools.simulate_verify import BUDGET, HEADERS, decisions, row, simulate, synthetic_pool, with_these_claims


def test_certain_cases_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest claims from a pool without spread are never contradicted, and claims twice too fast always."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 3)
    monkeypatch.setattr(simulate_verify, "TOGETHER", 3)
    name, honest, *others = row("flat", [np.full(25, 500.0), np.full(25, 800.0), np.full(25, 900.0)])
    assert (name, honest.split()[0], others[2], len(others) + 2) == ("flat", "0.0%", "100.0%", len(HEADERS))


def test_simulations_decide_as_re_execution_does() -> None:
    """Each of them like `last_look` on its own times."""
    rng = np.random.default_rng(0)
    claimed, new = rng.lognormal(6, 0.4, (2, 6, 10)), rng.lognormal(6.2, 0.4, (2, 6, MOST_ROUNDS))
    together = decisions(list(claimed), list(new))
    for i in range(6):
        old, latest = {"a": claimed[0, i], "b": claimed[1, i]}, {"a": new[0, i], "b": new[1, i]}
        looked = last_look(old, latest, dict.fromkeys("ab", BUDGET))
        assert together.contradicted[i] == (looked.decision == Decision.CONTRADICTED)
        assert together.rounds[i] == looked.rounds


def test_bad_claims_are_found_though_a_fifth_of_the_runs_never_generalizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """95 of 100 claims that are 1.5 times too fast are found, 80 that hide runs, and at most one honest one is contradicted."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 100)
    monkeypatch.setattr(simulate_verify, "TOGETHER", 100)
    pool = synthetic_pool(0.3, 0.2)
    assert simulate(pool, 1.5).contradicted.sum() >= 95
    assert simulate(pool).contradicted.sum() <= 1
    hiding = simulate(pool, hidden=0.4)
    assert hiding.contradicted.sum() >= 80
    assert hiding.confirmed.sum() <= 10


def test_claims_as_they_are_meet_fresh_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that lucky seeds made are contradicted, those that the others made are confirmed."""
    monkeypatch.setattr(simulate_verify, "SIMULATIONS", 2)
    monkeypatch.setattr(simulate_verify, "TOGETHER", 2)
    fresh = [np.arange(480.0, 528.0), np.arange(800.0, 848.0)]
    assert with_these_claims([times[:10] / 2 for times in fresh], fresh).contradicted.all()
    assert with_these_claims([times[::5] for times in fresh], fresh).confirmed.all()


def test_a_share_of_synthetic_times_is_censored() -> None:
    """At the budget; the others have the spread that was asked for."""
    (times, *_) = synthetic_pool(0.3, 0.2)
    assert (times == BUDGET).mean() == pytest.approx(0.2, abs=0.01)
    assert np.log(times[times < BUDGET]).std() == pytest.approx(0.3, abs=0.01)
