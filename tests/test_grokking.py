"""Real training in seconds: the baselines generalize late on a small prime, and never on a random table."""

from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.networks.network import Network, Parameters, TableNetwork
from baselines.networks.questions import Questions
from baselines.training.agent import NetworkAgent
from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.results.scoring import beats_chance
from grokbench.results.tables import report, task_table
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import ExamRecord, RunRecord
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent

COMPARED_STEPS = 300  # two float64 runs agree on every answer up to this step


@pytest.mark.parametrize(("agent", "task"), [("mlp", "add_mod23-0.8"), ("transformer", "add_mod31-0.8")])
def test_baselines_grok(tmp_path: Path, agent: str, task: str) -> None:
    """The baseline generalizes at twice the step of memorizing or later, and the report counts it as solved."""
    assert engine.run(plan([task], [find_recipe(agent)], seeds=[0]), Store(tmp_path), callbacks=[Silent()], device="cpu")
    (record,), errors = find_records([tmp_path])
    assert not errors
    outcome = record.outcome
    assert outcome.end == "generalized"
    assert outcome.steps_to_memorize is not None
    assert outcome.steps_to_generalize is not None
    assert outcome.steps_to_generalize >= 2 * outcome.steps_to_memorize
    assert "1/1" in report([record])


class ReferenceNetwork(TableNetwork):
    """A network that computes everything by its reference forward, member by member."""

    def __init__(self, network: Network[Any]) -> None:
        self.network = network

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return self.network.feature_dims

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        return self.network.init_params(num_symbols, generator)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        return self.network.flops(num_symbols, questions)

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        return self.network.reference_forward(parameters, inputs, last_only)

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        operands = questions.operands  # (S, n, 2)
        members = [
            self.reference_forward({name: weights[member] for name, weights in parameters.items()}, operands[member])
            for member in range(len(operands))
        ]
        logits, features = zip(*members, strict=True)
        return torch.stack(logits), torch.stack(features)


class ReferenceAgent(NetworkAgent):
    """The agent of a recipe, in float64 on reference forwards."""

    def __init__(self, base: str) -> None:
        agent = find_recipe(base).make()
        assert isinstance(agent, NetworkAgent)
        training = replace(agent.method.training, dtype="float64")
        super().__init__(replace(agent.method, network=ReferenceNetwork(agent.method.network), training=training))


@pytest.mark.parametrize(
    ("name", "task", "max_steps"),
    [
        ("mlp", "add_mod31-0.8", None),
        ("transformer", "add_mod13-0.9", COMPARED_STEPS),
        ("transformer2", "add_mod7-0.8", COMPARED_STEPS),
    ],
)
def test_fast_and_reference_forward_give_the_same_run(tmp_path: Path, name: str, task: str, max_steps: int | None) -> None:
    """In float64 the exams count the same answers. The MLP runs to its end."""
    fast = recipe(name, name="fast", training={"dtype": "float64"})
    reference = Recipe("reference", "tests.test_grokking:ReferenceAgent", {"base": name})
    plans = plan([task], [fast, reference], seeds=[0])
    engine.run(plans, Store(tmp_path), callbacks=[Silent()], device="cpu", max_steps=max_steps)
    records, errors = find_records([tmp_path])
    assert not errors
    runs = {record.agent.name: record for record in records}
    outcomes = [runs[agent].outcome for agent in ("fast", "reference")]
    assert outcomes[0].steps_to_memorize == outcomes[1].steps_to_memorize is not None
    exams, reference_exams = _compared_exams(runs["fast"]), _compared_exams(runs["reference"])
    assert len(exams) > 20
    assert [_counts(exam) for exam in exams] == [_counts(exam) for exam in reference_exams]
    assert _ranks(exams) == pytest.approx(_ranks(reference_exams), rel=1e-6)
    assert len(_ranks(exams)) == (len(exams) + 1) // 2
    if max_steps is None:  # rounding has grown by the end, so T may differ by an exam or two
        assert outcomes[0].end == outcomes[1].end == "generalized"
        assert outcomes[0].steps_to_generalize == pytest.approx(outcomes[1].steps_to_generalize, rel=0.05)


def _compared_exams(run: RunRecord) -> list[ExamRecord]:
    return list(takewhile(lambda exam: exam.step <= COMPARED_STEPS, run.exams))


def _counts(exam: ExamRecord) -> tuple[int, int, int]:
    return exam.step, exam.train, exam.held_out


def _ranks(exams: list[ExamRecord]) -> list[float]:
    """The effective ranks of the last layer at the exams that measure them."""
    return [exam.ranks["effective_rank"][-1] for exam in exams if exam.ranks]


@pytest.mark.parametrize("agent", ["mlp", "transformer", "transformer2"])
def test_the_random_control_stays_at_chance(tmp_path: Path, agent: str) -> None:
    """A random table is memorized but not generalized, and the table of runs says so."""
    engine.run(plan(["random_mod23-0.5"], [find_recipe(agent)], seeds=[0]), Store(tmp_path), callbacks=[Silent()], device="cpu")
    (record,), _ = find_records([tmp_path])
    assert record.outcome.end == "censored"
    assert not beats_chance(record.parsed_task(), [exam.exam() for exam in record.exams])
    assert "at chance" in task_table([record])
