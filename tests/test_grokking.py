"""Grokking for real, in seconds: the baselines generalize late on a small prime, and never on a random table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.networks.network import Network, Parameters, TableNetwork
from baselines.networks.questions import Questions
from baselines.training.agent import NetworkAgent
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.results.plots import draw_curves
from grokbench.results.scoring import beats_chance
from grokbench.results.tables import report, task_table
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import ExamRecord
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent

COMPARED = 300  # steps in which two float64 runs agree on every answer


@pytest.mark.parametrize(("agent", "task"), [("mlp", "add_mod23-0.8"), ("transformer", "add_mod31-0.8")])
def test_baselines_grok(tmp_path: Path, agent: str, task: str) -> None:
    """Memorized first, generalized at least twice as late, and the table and the figure show it."""
    assert engine.run(plan([task], [find_recipe(agent)], seeds=[0]), Store(tmp_path), callbacks=[Silent()], device="cpu")
    (record,), errors = find_records([tmp_path])
    assert not errors
    outcome = record.outcome
    assert outcome.end == "generalized"
    assert outcome.steps_to_memorize is not None
    assert outcome.steps_to_generalize is not None
    assert outcome.steps_to_generalize >= 2 * outcome.steps_to_memorize
    assert "1/1" in report([record])
    for path in draw_curves([record], tmp_path / "figure"):
        assert path.stat().st_size > 10_000


class Plain(TableNetwork):
    """A network that computes everything by its plain forward, seed by seed."""

    def __init__(self, network: Network[Any]) -> None:
        self.network = network

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return self.network.feature_dims

    @override
    def init_params(self, symbols: int, generator: Generator) -> Parameters:
        return self.network.init_params(symbols, generator)

    @override
    def flops(self, symbols: int, questions: int) -> int:
        return self.network.flops(symbols, questions)

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        return self.network.reference_forward(parameters, inputs, last_only)

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        inputs = questions.operands  # (S, n, 2)
        each = [self.reference_forward({k: v[s] for k, v in parameters.items()}, one) for s, one in enumerate(inputs)]
        logits, features = zip(*each, strict=True)
        return torch.stack(logits), torch.stack(features)


class PlainAgent(NetworkAgent):
    """The recipe's agent on plain forwards."""

    def __init__(self, recipe: str) -> None:
        agent = find_recipe(recipe).make()
        assert isinstance(agent, NetworkAgent)
        super().__init__(Plain(agent.method.network), replace(agent.method.training, dtype="float64"))


@pytest.mark.parametrize(
    ("recipe", "task", "steps"),
    [("mlp", "add_mod31-0.8", None), ("transformer", "add_mod13-0.9", COMPARED), ("transformer2", "add_mod7-0.8", COMPARED)],
)
def test_outcomes_are_those_of_the_plain_forward(tmp_path: Path, recipe: str, task: str, steps: int | None) -> None:
    """In float64 the exams count the same answers, whichever way the networks compute; the MLP runs to its end."""
    fast = find_recipe(recipe)
    fast.hyperparameters["training"]["dtype"] = "float64"
    plain = Recipe("plain", "tests.test_grokking:PlainAgent", {"recipe": recipe})
    engine.run(plan([task], [fast, plain], seeds=[0]), Store(tmp_path), callbacks=[Silent()], device="cpu", max_steps=steps)
    (one, other), errors = find_records([tmp_path])
    assert not errors
    assert {one.agent.name, other.agent.name} == {recipe, "plain"}
    assert one.outcome.steps_to_memorize == other.outcome.steps_to_memorize is not None
    begun = [[exam for exam in run.exams if exam.step <= COMPARED] for run in (one, other)]
    counts, ranks = ([[what(exam) for exam in exams] for exams in begun] for what in (_counts, _rank))
    assert len(counts[0]) > 20
    assert counts[0] == counts[1]
    assert ranks[0] == pytest.approx(ranks[1], rel=1e-6)
    if steps is None:  # rounding has grown by then, so that they may differ by an exam or two
        assert one.outcome.end == other.outcome.end == "generalized"
        assert one.outcome.steps_to_generalize == pytest.approx(other.outcome.steps_to_generalize, rel=0.05)


def _counts(exam: ExamRecord) -> tuple[int, int, int]:
    return exam.step, exam.train, exam.held_out


def _rank(exam: ExamRecord) -> float:
    assert exam.ranks
    return exam.ranks["effective_rank"][-1]


@pytest.mark.parametrize("agent", ["mlp", "transformer", "transformer2"])
def test_the_random_control_stays_at_chance(tmp_path: Path, agent: str) -> None:
    """A random table is memorized and nothing more, and the table says so."""
    engine.run(plan(["random_mod23-0.5"], [find_recipe(agent)], seeds=[0]), Store(tmp_path), callbacks=[Silent()], device="cpu")
    (record,), _ = find_records([tmp_path])
    assert record.outcome.end == "censored"
    assert not beats_chance(record.parsed_task(), [exam.exam() for exam in record.exams])
    assert "at chance" in task_table([record])
