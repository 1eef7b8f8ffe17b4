"""Re-execution: which runs a salt chooses, what is refused before anything runs, and the verdict."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.entry import Entry, run_key
from grokbench.board.entries.verdicts import ComparedTimes
from grokbench.board.verification.rerun import (
    REPEATING,
    _agent_folder,
    _fresh_rounds,
    _time,
    chosen_runs,
    judge,
    mixed_salt,
    round_plans,
    scored_runs,
    verify_entry,
)
from grokbench.errors import EntryError, VerificationError
from grokbench.results.sequential import Decision, Look, last_look
from grokbench.runs import engine
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Plan, plan
from grokbench.runs.records import ExamRecord, RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.tasks import list_tasks, parse_id
from tests.support.callbacks import Silent
from tests.support.cheats import Joiner
from tests.support.entries import JsonRuns, change_runs, change_text, good_runs, make_run, read_good_entry, write_good_entry


def test_the_salt_chooses_scored_runs(entry: Path) -> None:
    """The same for the same salt, others for another, and never one on the control."""
    good = read_good_entry(entry)
    assert chosen_runs(good, 4, salt="a") == chosen_runs(good, 4, salt="a") != chosen_runs(good, 4, salt="b")
    every = chosen_runs(good, 100, salt="a")
    assert len(every) == 30
    assert all(not task.startswith("random") for task, _ in every)


def test_a_changed_entry_meets_other_runs(entry: Path) -> None:
    """What its runs depend on is mixed into the salt, so nobody can change it until the choice is kind."""
    before = mixed_salt(read_good_entry(entry), "salt")
    change_text(entry / "entry.toml", "title = ", "title = 'Another' # ")
    assert mixed_salt(read_good_entry(entry), "salt") == before
    with (entry / "recipe.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert mixed_salt(read_good_entry(entry), "salt") != before


class StopWhenPlanned(Callback):
    """Stops the engine before anything runs, and keeps the number of runs that were planned."""

    planned = 0

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.planned = planned
        raise KeyboardInterrupt


def planned_runs(entry: Path, runs: int) -> int:
    """The number of official runs that are planned first."""
    callback = StopWhenPlanned()
    with pytest.raises(KeyboardInterrupt):
        verify_entry(entry, salt="salt", runs=runs, sandboxed=False, callbacks=[callback])
    return callback.planned


def test_a_whole_cohort_is_repeated(entry: Path) -> None:
    """Runs that trained together repeat to the bit only together."""
    assert planned_runs(entry, 2) == 2

    def train_together(runs: JsonRuns) -> None:
        for run in runs:
            if not run["task"].startswith("random"):
                run["cohort"] = list(range(10))

    change_runs(entry, train_together)
    assert planned_runs(entry, 1) == 10


def test_a_round_has_every_task_alone() -> None:
    """Whatever `seeds_together` says: a plan of one seed makes a cohort of one."""
    plans = round_plans(list_tasks("mini"), find_recipe("transformer"), salt="s", number=3)
    assert [(run.experiment.task.id, run.seed, run.experiment.salt) for each in plans for run in each.runs] == [
        (task.id, 3, "s") for task in list_tasks("mini")
    ]
    assert all(len(each.runs) == 1 for each in plans)


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


KEY = ("add_mod47-0.35-v1", 3)


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


def fresh_runs(rounds: int, *, around: float) -> list[RunRecord]:
    """Rounds of salted runs on every task of the suite."""
    runs = [
        make_run(task.id, seed=number, steps_to_generalize=around * 1.02**number, recipe=find_recipe("transformer"))
        for task in list_tasks("mini")
        for number in range(rounds)
    ]
    return [run.model_copy(update={"salt": "s"}) for run in runs]


class Rounds:
    """Stands for the engine: runs are done at once. `together` has the rounds of every call."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    def execute(self, plans: Sequence[Plan]) -> list[RunRecord]:
        """Records of these rounds and of those before."""
        self.together.append(sorted({seed for each in plans for seed in each.seeds}))
        assert len(plans) == 3 * len(self.together[-1])
        return fresh_runs(self.together[-1][-1] + 1, around=900)


@pytest.mark.parametrize("last", [2, 12])
def test_rounds_up_to_a_look_run_together(good: Entry, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a look decides."""

    def decided_by_the_last(fresh: Mapping[str, ComparedTimes]) -> Look:
        rounds = {len(times.new) for times in fresh.values()}.pop()
        return Look(rounds, slower=1.0, too_fast=0.0 if rounds == last else 1.0)

    monkeypatch.setattr("grokbench.board.verification.rerun.last_look", decided_by_the_last)
    engine = Rounds()
    records = _fresh_rounds(good, find_recipe("transformer"), engine.execute, salt="s", deadline=math.inf)
    expected = [[0], [1], [2], [3], [4, 5], [6, 7], [8, 9, 10, 11]]
    assert engine.together == [rounds for rounds in expected if rounds[-1] < last]
    assert len(records) == 3 * last


def test_only_the_first_round_runs_without_time(good: Entry) -> None:
    """It always does, so that every verdict has some new runs."""
    engine = Rounds()
    _fresh_rounds(good, find_recipe("transformer"), engine.execute, salt="s", deadline=0.0)
    assert engine.together == [[0]]


def test_kept_rounds_tell_how_long_a_round_takes(good: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there at once, and each of their runs took a second. Two more rounds might take three seconds."""
    monkeypatch.setattr("grokbench.board.verification.rerun.last_look", lambda fresh: Look(1, 1.0, 1.0))
    engine = Rounds()
    _fresh_rounds(good, find_recipe("transformer"), engine.execute, salt="s", deadline=time.monotonic() + 2.9)
    assert engine.together == [[0], [1], [2], [3]]


def test_only_fresh_runs_are_evidence(good: Entry, claimed: RunRecord) -> None:
    """They are compared with all claimed runs of their task, round by round."""
    verdict = judge(good, [claimed, *fresh_runs(6, around=900)], salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.repeated == [KEY]
    assert [(len(times.new), len(times.claimed)) for times in verdict.fresh.values()] == [(6, 10)] * 3
    assert verdict.decision == verdict.recomputed() == Decision.CONFIRMED
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
def test_a_run_that_differs_elsewhere_shows_nothing(good: Entry, other: RunRecord, change: dict[str, Any]) -> None:
    """Floats differ there, and training is chaotic."""
    provenance = other.provenance.model_copy(update=change)
    elsewhere = other.model_copy(update={"provenance": provenance})
    verdict = judge(good, [elsewhere], salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.differing == []
    assert verdict.fresh == {}
    assert verdict.passed
    assert verdict.cut_short


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


@pytest.mark.parametrize("speedup", [1.5, 3.0])
def test_claims_that_are_too_fast_fail(good: Entry, speedup: float) -> None:
    """Fresh runs that need so many times as long contradict them."""
    verdict = judge(good, fresh_runs(6, around=1_000 * speedup), salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.decision == Decision.CONTRADICTED
    assert "new runs are slower than the claimed ones" in verdict.problems[0]
    assert not verdict.passed


def repeated_runs(entry: Entry, *, slower: float = 1.0) -> list[RunRecord]:
    """All official runs on another machine, so many times as slow."""
    runs = [run for run in entry.runs if run_key(run) in scored_runs(entry)]
    again = [make_run(run.task, seed=run.seed, steps_to_generalize=_time(run) * slower, recipe=entry.recipe) for run in runs]
    elsewhere = again[0].provenance.model_copy(update={"code": "1" * 64})
    return [run.model_copy(update={"provenance": elsewhere}) for run in again]


@pytest.mark.parametrize(("slower", "decision"), [(1.0, Decision.REPEATED), (1.5, Decision.CONTRADICTED)])
def test_easy_official_instances_contradict_nobody(good: Entry, slower: float, decision: Decision) -> None:
    """Fresh runs are slower. If the official runs repeat, their instances are the easier ones."""
    records = [*fresh_runs(6, around=1_500), *repeated_runs(good, slower=slower)]
    verdict = judge(good, records, salt="s", chosen=[KEY], sandboxed=True)
    assert verdict.decision == verdict.recomputed() == decision
    assert verdict.passed == (decision == Decision.REPEATED)
    assert not verdict.cut_short
    assert [len(times.new) for times in verdict.official.values()] == [10] * 3


def test_code_may_know_the_official_instances(good: Entry) -> None:
    """So runs that repeat show nothing for an entry with code, nor does a part of the runs for a recipe."""
    with_code = replace(good, recipe=replace(good.recipe, source="1" * 64))
    again = repeated_runs(good)
    for entry, official in ((with_code, again), (good, again[1:])):
        verdict = judge(entry, [*fresh_runs(6, around=1_500), *official], salt="s", chosen=[KEY], sandboxed=True)
        assert (verdict.decision, verdict.official) == (Decision.CONTRADICTED, {})


def test_the_agent_sees_its_code_alone(entry: Path, tmp_path: Path) -> None:
    """Neither the claimed runs nor the form are beside it."""
    (entry / "agent.py").write_text("# code")
    home = _agent_folder(entry, tmp_path)
    assert [path.name for path in home.iterdir()] == ["agent.py"]
    assert (home / "agent.py").read_text() == "# code"


def test_a_salt_chooses_among_the_seeds_of_each_task_anew(good: Entry) -> None:
    """A seed that is chosen on a task says nothing about the other tasks."""
    chosen = [chosen_runs(good, 10, salt=str(salt)) for salt in range(20)]
    shared = [len({seed for _, seed in runs}) for runs in chosen]
    assert max(shared) > 5
    assert len({frozenset(runs) for runs in chosen}) == 20


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """An open entry whose agent guesses, with runs that generalize."""
    own = find_recipe("tests.support.agents:AddingAgent")
    stated = {"name": own.name, "target": own.target, "hyperparameters": {}, "source": own.source, "hash": own.hash}
    agent = good_runs()[0].agent.model_copy(update=stated | {"feature_dims": [4]})
    runs = [run.model_copy(update={"agent": agent, "exams": within_rank_4(run)}) for run in good_runs()]
    outcomes = [run.model_copy(update={"outcome": run.recomputed()}) for run in runs]
    return write_good_entry(tmp_path / "made-up", outcomes, division="open")


def test_a_made_up_entry_is_found_from_end_to_end(made_up: Path) -> None:
    """Two rounds contradict its times, and it is at chance on the task of another family."""
    verdict = verify_entry(made_up, salt="s", runs=1, sandboxed=False)
    assert (verdict.decision, verdict.rounds, verdict.official) == (Decision.CONTRADICTED, 2, {})
    assert verdict.recomputed() == verdict.decision
    assert verdict.other_family is not None
    assert verdict.other_family.at_chance
    assert verdict.pace is None
    assert verdict.failed == []
    assert not verdict.passed


class StopAtCall(Callback):
    """Stops when the engine is called for the nth time. `calls` has the planned runs of every call, and those finished."""

    def __init__(self, last: int) -> None:
        self.last, self.calls = last, list[tuple[int, int]]()

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.calls.append((planned, finished))
        if len(self.calls) == self.last:
            raise KeyboardInterrupt


def test_a_stopped_verification_goes_on(made_up: Path, tmp_path: Path) -> None:
    """The same salt finds its runs again; another salt has others."""
    first, second, other = StopAtCall(3), StopAtCall(99), StopAtCall(1)
    for callback, salt in ((first, "s"), (other, "another")):
        with pytest.raises(KeyboardInterrupt):
            verify_entry(made_up, salt=salt, runs=1, sandboxed=False, out=tmp_path / "out", callbacks=[callback])
    verdict = verify_entry(made_up, salt="s", runs=1, sandboxed=False, out=tmp_path / "out", callbacks=[second])
    assert (verdict.decision, verdict.rounds) == (Decision.CONTRADICTED, 2)
    assert first.calls == [(2, 0), (3, 0), (3, 0)]
    assert second.calls == [(2, 2), (3, 3), (3, 0)]
    assert other.calls == [(2, 0)]


def test_all_official_runs_are_repeated_if_fresh_ones_contradict(made_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the entry has code, which is overlooked here."""
    monkeypatch.setattr("grokbench.board.verification.rerun.has_no_code", lambda entry: True)
    callback, told = StopAtCall(4), Silent()
    with pytest.raises(KeyboardInterrupt):
        verify_entry(made_up, salt="s", runs=1, sandboxed=False, callbacks=[told, callback])
    assert callback.calls == [(2, 0), (3, 0), (3, 0), (30, 1)]
    assert told.messages == [REPEATING]


def within_rank_4(run: RunRecord) -> list[ExamRecord]:
    """The exams of a run with ranks that features of width 4 can have."""
    scaled = [{name: [rank / 20 for rank in ranks] for name, ranks in (exam.ranks or {}).items()} for exam in run.exams]
    return [exam.model_copy(update={"ranks": ranks or None}) for exam, ranks in zip(run.exams, scaled, strict=True)]


def test_an_agent_that_joins_its_members_tables_is_slower_alone(tmp_path: Path) -> None:
    """Its claimed runs trained in cohorts of ten. Fresh instances run alone, and contradict them."""
    joiner = Recipe("joiner", "agent:Joiner", {}, factory=Joiner)
    tasks = [parse_id("sub_mod31-0.6", 2_000), parse_id("add_mod31-0.6", 2_000)]
    plans = plan([task.id for task in tasks], [joiner], seeds=range(10), budget=2_000)
    engine.run(plans, Store(tmp_path / "claimed"), device="cpu")
    fresh = [each for number in range(3) for each in round_plans(tasks, joiner, salt="s", number=number)]
    engine.run(fresh, Store(tmp_path / "fresh"), device="cpu")
    claimed, new = (times_by_task(find_records([tmp_path / name])[0]) for name in ("claimed", "fresh"))
    assert last_look(claimed, new, dict.fromkeys(claimed, 2_000)).decision == Decision.CONTRADICTED


def times_by_task(runs: list[RunRecord]) -> dict[str, list[float]]:
    """min(T, budget) of runs that must be complete."""
    assert all(run.incomplete is None for run in runs), [run.incomplete for run in runs]
    times: dict[str, list[float]] = {}
    for run in runs:
        times.setdefault(run.task, []).append(run.outcome.steps_to_generalize or run.budget)
    return times
