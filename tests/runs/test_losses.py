"""Losses on training and on held-out questions, from the logits that an agent shows, in environments and in runs."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

import grokbench
from grokbench.agents import Spec
from grokbench.agents.agent import Action
from grokbench.errors import ActionError, AgentError
from grokbench.runs.records import read_record
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import AddingAgent

TASK = "add_mod5-0.5"


class Linear(nn.Module):
    """A linear map of two embeddings."""

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_symbols, 4)
        self.head = nn.Linear(8, num_symbols)

    @override
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.embedding(inputs).flatten(1)
        return self.head(features), features


class LinearAgent(grokbench.TorchAgent):
    """Keeps the logits of its exams, scaled."""

    feature_dims = (8,)
    scale = 1.0
    wrong_answers = False

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        self.shown: list[Tensor] = []
        model = Linear(spec.num_symbols)
        return model, torch.optim.AdamW(model.parameters(), lr=0.03)

    @override
    def act(self) -> Action:
        action = super().act()
        if "logits" in action:
            action["logits"] = action["logits"] * self.scale
            self.shown.append(action["logits"])
        if self.wrong_answers:
            action["answers"] = (action["answers"] + 1) % self.spec.num_symbols
        return action


def cross_entropies(logits: Tensor, seed: int = 0) -> tuple[float, float]:
    """Torch's cross-entropy on the training and on the held-out questions of a seed, in float64."""
    instance = make_instance(parse_id(TASK), seed)
    answers = torch.from_numpy(instance.shown_answers.copy())
    train, held_out = torch.from_numpy(instance.train.copy()), torch.from_numpy(~instance.train)
    precise = logits.double()
    loss = nn.functional.cross_entropy
    return float(loss(precise[train], answers[train])), float(loss(precise[held_out], answers[held_out]))


def drive(env: gymnasium.Env[Any, Any], agent: grokbench.Agent, exams: int) -> list[dict[str, Any]]:
    """Let the agent take some exams by hand; returns their infos."""
    observation, _ = env.reset(seed=0)
    agent.start(env)
    infos = []
    for _ in range(exams):
        agent.learn(int(observation["steps_to_next_exam"]))
        observation, _, _, _, info = env.step(agent.act())
        infos.append(info)
    return infos


def test_an_environment_gives_losses() -> None:
    """Every info has both, and an agent that is started on the environment shows its logits."""
    agent = LinearAgent()
    infos = drive(grokbench.make(TASK, feature_dims=(8,), logits=True), agent, 4)
    assert len(agent.shown) == 4
    for info, logits in zip(infos, agent.shown, strict=True):
        assert (info["train_loss"], info["held_out_loss"]) == pytest.approx(cross_entropies(logits), rel=1e-12)


def test_without_logits_there_are_no_losses() -> None:
    """Neither the agent nor the infos have them."""
    agent = LinearAgent()
    (info,) = drive(grokbench.make(TASK, feature_dims=(8,)), agent, 1)
    assert not agent.shown
    assert "train_loss" not in info


def test_the_spaces_and_the_error_of_an_environment_with_logits() -> None:
    """Actions have logits (N, q). An action without them is refused and changes nothing, in a vector too."""
    env, envs = (make(TASK, feature_dims=(2,), logits=True) for make in (grokbench.make, grokbench.make_vec))
    for each, shape in ((env, (25, 5)), (envs, (1, 25, 5))):
        each.reset(seed=0)
        each.action_space.seed(0)
        action = each.action_space.sample()
        assert action["logits"].shape == shape
        with pytest.raises(ActionError, match="made with logits=True"):
            each.unwrapped.step({name: action[name] for name in ("answers", "features")})
        info = each.step(action)[-1]
        assert info["step"] == 5
        assert np.isfinite(info["held_out_loss"])


def test_vector_losses_are_each_members() -> None:
    """Logits with a leading axis give every member its own losses."""
    envs = grokbench.make_vec(TASK, 2, feature_dims=(2,), logits=True)
    envs.reset(seed=3)
    envs.action_space.seed(0)
    action = envs.action_space.sample()
    infos = envs.step(action)[-1]
    for i in range(2):
        expected = cross_entropies(torch.from_numpy(action["logits"][i]), seed=3 + i)
        assert (infos["train_loss"][i], infos["held_out_loss"][i]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_a_run_records_losses(tmp_path: Path, scale: float) -> None:
    """Every exam has both, also of huge logits, and the record is read back with them. The run itself is the same."""

    class Scaled(LinearAgent):
        """Scales its logits."""

    Scaled.scale = scale
    run = grokbench.run(Scaled, TASK, max_steps=40, logits=True, out=tmp_path)
    plain = grokbench.run(Scaled, TASK, max_steps=40)
    assert [(e.train, e.held_out, e.ranks) for e in run.record.exams] == [
        (e.train, e.held_out, e.ranks) for e in plain.record.exams
    ]
    by_hand = LinearAgent()
    by_hand.scale = scale
    drive(grokbench.make(TASK, feature_dims=(8,), logits=True), by_hand, 8)
    found = [(exam.train_loss, exam.held_out_loss) for exam in run.record.exams]
    assert found == [pytest.approx(cross_entropies(logits), rel=1e-12) for logits in by_hand.shown]
    assert all(exam.train_loss is None for exam in plain.record.exams)
    (path,) = tmp_path.rglob("*.json")
    assert read_record(path) == run.record


def test_logits_of_nan_leave_no_losses_in_the_record(tmp_path: Path) -> None:
    """The run goes on, and no NaN reaches the file."""

    class Broken(LinearAgent):
        """Its logits aren't numbers."""

        scale = float("nan")

    run = grokbench.run(Broken, TASK, max_steps=20, logits=True, out=tmp_path)
    assert [exam.step for exam in run.record.exams] == [5, 10, 15, 20]
    assert all((exam.train_loss, exam.held_out_loss) == (None, None) for exam in run.record.exams)
    assert "NaN" not in next(tmp_path.rglob("*.json")).read_text()


def test_answers_that_do_not_follow_from_the_logits_are_refused() -> None:
    """The run fails, and the message says why."""

    class Other(LinearAgent):
        """Answers something else than its logits say."""

        wrong_answers = True

    with pytest.raises(AgentError, match="the symbol with the largest logit"):
        grokbench.run(Other, TASK, max_steps=20, logits=True)
    assert grokbench.run(Other, TASK, max_steps=20).record.exams[-1].step == 20


def test_misshapen_logits_are_named() -> None:
    """The shape is reported before answers and logits are compared."""

    class Misshapen(AddingAgent):
        """Shows a number for every question."""

        @override
        def act(self) -> dict[str, Any]:
            action = super().act()
            return action | {"logits": np.zeros(self.spec.num_questions)}

    with pytest.raises(AgentError, match=r"logits must have shape \(25, 5\), got \(25,\)"):
        grokbench.run(Misshapen, TASK, max_steps=20, logits=True)
