"""The serving end: messages in their order, each with an answer, whatever the agent raises."""

import os
from io import RawIOBase
from typing import Any, cast

import numpy as np
import pytest
from typing_extensions import override

from grokbench.agents.agent import Agent, Spec
from grokbench.board.verification.serve import serve
from grokbench.board.verification.wire import receive, send
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import AddingAgent, spec_of

HERE = "tests.board.verification.test_serve"


class Curious(AddingAgent):
    """Reports its spec, and fails when it is asked to act."""

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        super().reset(observation, spec)
        hash(spec)  # a spec is immutable, its sequences too

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        return {"steps": steps, "seeds": list(self.spec.seeds), "questions": self.spec.num_questions}

    @override
    def act(self) -> dict[str, Any]:
        raise ZeroDivisionError("no answers")


def answers(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the serving end answers to these messages, all of which lie in the pipe before it starts."""
    ends = [*os.pipe(), *os.pipe()]
    modes = ("rb", "wb", "rb", "wb")
    asked, asking, heard, told = (
        cast(RawIOBase, os.fdopen(end, mode, buffering=0)) for end, mode in zip(ends, modes, strict=True)
    )
    for message in messages:
        send(asking, message)
    asking.close()
    serve(asked, told)
    told.close()
    received = []
    while (answer := receive(heard)) is not None:
        received.append(answer)
    asked.close()
    heard.close()
    return received


def make(agent: type[Agent], **hyperparameters: Any) -> dict[str, Any]:
    """The first message."""
    return {"target": f"{HERE}:{agent.__name__}", "hyperparameters": hyperparameters}


def reset() -> dict[str, Any]:
    """The message that resets an agent on a small instance."""
    instance = make_instance(parse_id("add_mod5-0.5"), 0)
    spec = spec_of([instance], (4,), batched=False)
    observation = {"targets": instance.shown_answers}
    return {"method": "reset", "arguments": [observation, vars(spec)]}


def test_every_message_has_an_answer_in_its_order() -> None:
    """The description first. An error of the agent is an answer, and the next message is served."""
    learn, act = {"method": "learn", "arguments": [7]}, {"method": "act", "arguments": []}
    described, was_reset, first, failed, second = answers(make(Curious), reset(), learn, act, learn)
    assert described["feature_dims"] == (4,)
    assert was_reset == {"result": None}
    assert first == second
    assert (first["result"]["steps"], first["result"]["questions"]) == (7, 25)
    assert failed == {"error": "ZeroDivisionError: no answers"}


def test_an_agent_that_can_not_be_made_is_an_error() -> None:
    """Then the next message makes another one."""
    nowhere = {"target": "nowhere:Mine", "hyperparameters": {}}
    wrong, unknown, described = answers(make(Curious, width=1), nowhere, make(Curious))
    assert "doesn't accept what" in wrong["error"]
    assert "nowhere" in unknown["error"]
    assert described["batched"] is False


@pytest.mark.parametrize("message", [{}, {"method": "learn"}, {"method": "surprise", "arguments": []}], ids=str)
def test_a_message_that_makes_no_sense_is_an_error(message: dict[str, Any]) -> None:
    """It ends neither the process nor the agent."""
    _, answer, after = answers(make(Curious), message, reset())
    assert set(answer) == {"error"}
    assert after == {"result": None}


def test_arrays_reach_the_agent_as_arrays() -> None:
    """The state that an agent gives is accepted by it again."""
    state = {"steps": 5, "random": dict(np.random.default_rng(1).bit_generator.state)}
    load, save = {"method": "load_state_dict", "arguments": [state]}, {"method": "state_dict", "arguments": []}
    *_, loaded, saved = answers(make(Curious), reset(), load, save)
    assert loaded == {"result": None}
    assert saved["result"] == state
