"""Callbacks: several of them hear every event, in their order."""

from typing import Any

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.plan import Run, plan
from grokbench.runs.records import RunRecord
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
