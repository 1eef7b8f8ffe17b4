"""Re-execution: which runs a salt chooses, what is refused before anything runs, and the verdict."""

from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.entry import Entry, run_key
from grokbench.board.verification.isolation import Isolation
from grokbench.board.verification.process import Limits
from grokbench.board.verification.rerun import (
    FRESH,
    _agent_folder,
    _check_time,
    _remote_recipe,
    chosen_runs,
    judge,
    mixed_salt,
    plans_of,
    verify_entry,
)
from grokbench.errors import EntryError, VerificationError
from grokbench.runs.callbacks import Callback
from grokbench.runs.records import RunRecord
from tests.support.entries import JsonRuns, change_runs, good_runs, make_run, read_good_entry


def test_the_salt_chooses_scored_runs(entry: Path) -> None:
    """The same for the same salt, others for another, and never one on the control."""
    good = read_good_entry(entry)
    assert chosen_runs(good, 4, salt="a") == chosen_runs(good, 4, salt="a") != chosen_runs(good, 4, salt="b")
    every = chosen_runs(good, 100, salt="a")
    assert len(every) == 20
    assert all(not task.startswith("random") for task, _ in every)


def test_a_changed_entry_meets_other_runs(entry: Path) -> None:
    """Its contents are mixed into the salt, so nobody can change it until the choice is kind."""
    before = mixed_salt(read_good_entry(entry), "salt")
    with (entry / "entry.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert mixed_salt(read_good_entry(entry), "salt") != before


class Planned(Exception):
    """The number of runs that were planned."""


class StopWhenPlanned(Callback):
    """Stops the engine before anything runs."""

    @override
    def on_start(self, planned: int, finished: int) -> None:
        raise Planned(planned)


@pytest.mark.parametrize(("runs", "tasks"), [(1, 1), (20, 2)])
def test_every_chosen_task_gets_fresh_runs(entry: Path, runs: int, tasks: int) -> None:
    """The cohorts of this entry have one run each."""
    with pytest.raises(Planned) as planned:
        verify_entry(entry, salt="salt", runs=runs, sandboxed=False, callbacks=[StopWhenPlanned()])
    assert planned.value.args == (runs + tasks * FRESH,)


def test_a_whole_cohort_is_repeated(entry: Path) -> None:
    """Runs that trained together repeat to the bit only together."""

    def train_together(runs: JsonRuns) -> None:
        for run in runs:
            if not run["task"].startswith("random"):
                run["cohort"] = list(range(10))

    change_runs(entry, train_together)
    with pytest.raises(Planned) as planned:
        verify_entry(entry, salt="salt", runs=1, sandboxed=False, callbacks=[StopWhenPlanned()])
    assert planned.value.args == (10 + FRESH,)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"runs": 0}, "at least one run"),
        ({"seconds": 1}, "the cohort of .* took 1 s when it was made: allow at least 2"),
        ({}, "can't serve a baseline here"),
    ],
)
def test_problems_before_the_agent_runs_give_no_verdict(
    entry: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], problem: str
) -> None:
    """They aren't held against the entry."""
    monkeypatch.setattr("grokbench.board.verification.isolation.sandboxed_command", lambda command, home: ["false"])
    with pytest.raises(VerificationError, match=problem):
        verify_entry(entry, salt="salt", **options)


def test_a_refused_entry_is_not_run(entry: Path) -> None:
    """Its checks come first."""
    change_runs(entry, lambda runs: runs.pop())
    with pytest.raises(EntryError, match="`grokbench check good` refuses the entry"):
        verify_entry(entry, salt="salt")


KEY = ("add_mod47-0.7-v1", 3)


@pytest.fixture
def good(entry: Path) -> Entry:
    """A good entry, read."""
    return read_good_entry(entry)


@pytest.fixture
def claimed(good: Entry) -> RunRecord:
    """The run of the entry that is repeated."""
    (run,) = (run for run in good.runs if (run.task, run.seed) == KEY)
    return run


@pytest.fixture
def other() -> RunRecord:
    """A run of the same task and seed with other exams."""
    (run,) = (run for run in good_runs(luck=1) if (run.task, run.seed) == KEY)
    return run


def test_a_run_that_repeats_is_no_new_evidence(good: Entry, claimed: RunRecord) -> None:
    """Only the fresh runs are compared with the claimed ones."""
    fresh = make_run(KEY[0], seed=11, steps_to_generalize=1_000, recipe=find_recipe("transformer"))
    fresh = fresh.model_copy(update={"salt": "s"})
    verdict = judge(good, [claimed, fresh], salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.repeated == [KEY]
    assert len(verdict.fresh[KEY[0]].new) == 1
    assert len(verdict.fresh[KEY[0]].claimed) == 10
    assert verdict.passed
    assert verdict.digest == good.digest


def test_a_run_that_differs_on_the_same_machine_fails(good: Entry, other: RunRecord) -> None:
    """With the same versions, threads and code it had to repeat to the bit, whatever the commit is called."""
    newer = other.provenance.model_copy(update={"commit": "another, of the same code"})
    for record in (other, other.model_copy(update={"provenance": newer})):
        verdict = judge(good, [record], salt="s", chosen=[KEY], sandboxed=True)
        assert verdict.differing == [KEY]
        assert not verdict.passed


@pytest.mark.parametrize("change", [{"threads": 1}, {"code": "1" * 64}, {"code": None}], ids=str)
def test_a_run_that_differs_elsewhere_is_compared(good: Entry, other: RunRecord, change: dict[str, Any]) -> None:
    """Floats differ there, so its time is evidence like that of a fresh run."""
    provenance = other.provenance.model_copy(update=change)
    elsewhere = other.model_copy(update={"provenance": provenance})
    verdict = judge(good, [elsewhere], salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.differing == []
    assert len(verdict.fresh[KEY[0]].new) == 1
    assert verdict.passed


def test_nothing_must_repeat_in_a_container(good: Entry, other: RunRecord) -> None:
    """The records' provenance describes this machine, not the container."""
    verdict = judge(good, [other], salt="s", chosen=[KEY], sandboxed=True, same_machine=False)
    assert verdict.differing == []
    assert verdict.passed


def test_a_run_that_fails_is_named(good: Entry, claimed: RunRecord) -> None:
    """With its reason. A failed fresh run is marked as salted."""
    crashed = claimed.model_copy(update={"incomplete": "out of memory"})
    salted = crashed.model_copy(update={"salt": "s"})
    verdict = judge(good, [crashed, salted], salt="s", chosen=[KEY], sandboxed=False)
    assert verdict.failed == [f"{KEY[0]} seed 3: out of memory", f"{KEY[0]} seed 3 salted: out of memory"]
    assert not verdict.passed


def test_claims_that_are_too_fast_fail(good: Entry) -> None:
    """Fresh runs that need three times as long, on two tasks."""

    def fresh(task: str, seed: int) -> RunRecord:
        run = make_run(task, seed=seed, steps_to_generalize=3_000, recipe=find_recipe("transformer"))
        return run.model_copy(update={"salt": "s"})

    tasks = ("add_mod47-0.7-v1", "mul_mod47-0.7-v1")
    records = [fresh(task, seed) for task in tasks for seed in range(FRESH)]
    verdict = judge(good, records, salt="s", chosen=[(task, 0) for task in tasks], sandboxed=True)
    assert verdict.p < 0.01
    assert not verdict.passed


def test_the_agent_sees_its_code_alone(entry: Path, tmp_path: Path) -> None:
    """Neither the claimed runs nor the form are beside it."""
    (entry / "agent.py").write_text("# code")
    home = _agent_folder(entry, tmp_path)
    assert [path.name for path in home.iterdir()] == ["agent.py"]
    assert (home / "agent.py").read_text() == "# code"


def test_a_salt_chooses_among_the_seeds_of_each_task_anew(good: Entry) -> None:
    """A seed that is chosen on a task says nothing about the other task."""
    chosen = [chosen_runs(good, 10, salt=str(salt)) for salt in range(20)]
    shared = [len({seed for _, seed in runs}) for runs in chosen]
    assert max(shared) > 5
    assert len({frozenset(runs) for runs in chosen}) == 20


def test_fresh_runs_have_the_salt_and_repeated_runs_have_none(good: Entry, tmp_path: Path) -> None:
    """The repeated runs are the chosen ones, and every chosen task has its fresh runs once."""
    isolation = Isolation(("false",), sandboxed=True, same_machine=True)
    chosen = [KEY, (KEY[0], 4)]
    plans = plans_of(good, chosen, recipe=_remote_recipe(good, isolation, tmp_path, Limits(seconds=1.0)), salt="grain")
    runs = [run for each in plans for run in each.runs]
    assert [(run.experiment.task.id, run.seed) for run in runs if not run.experiment.salt] == chosen
    assert [(run.experiment.salt, run.seed) for run in runs if run.experiment.salt] == [("grain", s) for s in range(FRESH)]


def test_a_cohort_may_take_twice_its_time(good: Entry) -> None:
    """Exactly twice is enough."""
    took = next(run.cost.seconds for run in good.runs if run_key(run) == KEY)
    _check_time(good, [KEY], 2 * took)
    with pytest.raises(VerificationError, match=f"the cohort of {KEY[0]} seed {KEY[1]} took"):
        _check_time(good, [KEY], 2 * took - 0.01)
