"""Callbacks: several of them hear every event, in their order, and an error of theirs isn't the agent's."""

import random
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

import grokbench
from grokbench.agents.recipes import find_recipe
from grokbench.errors import CallbackError
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.plan import Run, plan
from grokbench.runs.records import RunRecord
from tests.support.agents import AddingAgent
from tests.support.entries import make_run

TASK = "add_mod5-0.5-v1"
EVENTS = [name for name in vars(Callback) if name.startswith("on_")]


class Recorder(Callback):
    """Writes every event with its arguments into a list that several recorders share."""

    def __init__(self, name: str, heard: list[tuple[Any, ...]]) -> None:
        self.name, self.heard = name, heard

    def __getattribute__(self, attribute: str) -> Any:
        if attribute not in EVENTS:
            return super().__getattribute__(attribute)
        return lambda *arguments: self.heard.append((self.name, attribute, *arguments))


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """A made-up record."""
    return make_run(TASK, seed=0, steps_to_generalize=100, recipe=find_recipe("mlp"))


def events(record: RunRecord) -> dict[str, tuple[Any, ...]]:
    """Arguments for every event."""
    run = Run(plan([TASK], [find_recipe("mlp")], seeds=[0])[0].experiments[0], 0)
    return {
        "on_start": (3, 1),
        "on_exam": (run, Exam(10, 1, 1, None), Outcome(step=10)),
        "on_end": (run, "generalized", record),
        "on_message": ("a message",),
    }


def test_every_event_reaches_all_callbacks_in_their_order(record: RunRecord) -> None:
    """With the same arguments. Callbacks may hold further ones."""
    assert set(events(record)) == set(EVENTS)
    heard: list[tuple[Any, ...]] = []
    both = Callbacks([Recorder("a", heard), Callbacks([Recorder("b", heard)])])
    for event, arguments in events(record).items():
        getattr(both, event)(*arguments)
    assert heard == [(name, event, *arguments) for event, arguments in events(record).items() for name in ("a", "b")]


def test_a_callback_that_overrides_nothing_is_silent(record: RunRecord) -> None:
    """Nor does the absence of callbacks harm."""
    for callback in (Callback(), Callbacks([])):
        for event, arguments in events(record).items():
            assert getattr(callback, event)(*arguments) is None


class Failing(Callback):
    """Fails at an exam, as long as it is told to."""

    fails = True

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        if self.fails and exam.step >= 20:
            raise KeyError("no such metric")


def test_an_error_of_a_callback_is_no_failure_of_the_agent(tmp_path: Path) -> None:
    """No record says that the agent failed, and the same call without the error makes the run."""
    callback, out = Failing(), tmp_path / "runs"
    with pytest.raises(CallbackError, match=r"Failing failed, a callback: KeyError: 'no such metric'\. Finished runs are safe"):
        grokbench.run(AddingAgent, "add_mod5-0.5-to50", seed=0, out=out, callbacks=[callback])
    assert not list(out.rglob("seed-*.json"))
    callback.fails = False
    assert grokbench.run(AddingAgent, "add_mod5-0.5-to50", seed=0, out=out, callbacks=[callback]).record.incomplete is None


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sweep_tells_its_callbacks_every_end(processes: int) -> None:
    """In this process, whatever process makes the runs."""
    heard: list[tuple[Any, ...]] = []
    told = Recorder("", heard)
    grokbench.sweep(AddingAgent, "add_mod5-{ratio}-to10", ratio=[0.4, 0.6], seeds="0-1", processes=processes, callbacks=[told])
    assert sum(event == "on_end" for _, event, *_ in heard) == 4
    assert sum(event == "on_exam" for _, event, *_ in heard) == 4 * 2


class Guessing(AddingAgent):
    """Its features depend on Python's global generator."""

    @override
    def act(self) -> dict[str, Any]:
        action = super().act()
        return action | {"features": action["features"] * random.random()}


class Meddling(Callback):
    """Draws random numbers, and writes into the exam that it gets."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        self.drawn.append(random.random())
        for layers in (exam.ranks or {}).values():
            layers[-1] = -1.0


def test_a_callback_changes_no_run() -> None:
    """Runs draw the same numbers as without it. The callback draws other numbers at every exam, those of its process."""
    callback = Meddling()
    told, plain = (
        grokbench.sweep(Guessing, "add_mod5-0.5-to50", seeds="0-1", processes=1, callbacks=callbacks)
        for callbacks in ([callback], [])
    )
    assert [run.record.exams for run in told] == [run.record.exams for run in plain]
    assert len(set(callback.drawn)) == len(callback.drawn) > 2
    theirs = Meddling()
    random.seed(5)
    grokbench.run(Guessing, "add_mod5-0.5-to50", callbacks=[theirs])
    theirs.drawn.append(random.random())
    random.seed(5)
    assert theirs.drawn == [random.random() for _ in theirs.drawn]


class Exhausted(Callback):
    """Has no more items."""

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        next(iter(()))


def test_stop_iteration_is_the_callbacks_too() -> None:
    """Python's own machinery of generators would hide it."""
    with pytest.raises(CallbackError, match="Exhausted failed, a callback: StopIteration"):
        grokbench.run(AddingAgent, "add_mod5-0.5-to50", seed=0, callbacks=[Exhausted()])


@pytest.mark.parametrize("callbacks", [Exhausted(), [Exhausted], None])
def test_callbacks_are_a_list_of_objects(callbacks: Any) -> None:
    """Nothing runs with anything else."""
    with pytest.raises(CallbackError, match=r"callbacks must be a list of objects, such as \[grokbench"):
        grokbench.run(AddingAgent, "add_mod5-0.5-to50", seed=0, callbacks=callbacks)
