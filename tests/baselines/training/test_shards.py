"""Shards: layout, data, steps that a CUDA graph can capture, and the capture itself."""

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from baselines.networks.mlp import MLP
from baselines.networks.questions import Questions
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.layout import Layout
from baselines.training.capture import captured, rehearse
from baselines.training.data import Data
from baselines.training.shards import Shard
from tests.support.baselines import MUON, TABLES, TASK_ID, started

RECIPES = ("mlp", "transformer", "transformer2")

EVERYTHING: dict[str, Any] = {
    "schedule": {"name": "cosine", "warmup": 3, "steps": 9},
    "projection": {"norm": "rows", "mode": "clip", "c": 0.5},
    "noise": {"scale": 0.1, "on": "weights"},
    "average": {"decay": 0.9},
}


def test_parameters_lie_aligned_in_a_row() -> None:
    """Each parameter starts at a multiple of 16 numbers; writing through a view changes its columns alone."""
    layout = Layout.of({"a": torch.Size([3, 5]), "b": torch.Size([16]), "c": torch.Size([2])})
    assert layout.columns == {"a": slice(0, 15), "b": slice(16, 32), "c": slice(32, 34)}
    assert layout.width == 48
    rows = torch.zeros(2, layout.width)
    layout.views(rows)["c"][1] = 1
    assert rows[1, 32:34].tolist() == [1, 1]
    assert rows.sum() == 2


def test_training_data_are_the_questions_with_answers() -> None:
    """Questions whose target is the blank aren't trained on; the table has all of them."""
    inputs = torch.tensor([[[0, 0], [0, 1], [1, 0], [1, 1]]]).expand(2, -1, -1)
    targets = torch.tensor([[0, 2, 1, 2], [2, 1, 2, 0]])
    network = MLP(hidden=(4,), activation="relu", init_scale=1.0)
    data = Data.of(inputs, targets, num_symbols=2, network=network, dtype=torch.float32)
    assert isinstance(data.table, Questions)
    assert isinstance(data.questions, Questions)
    assert torch.equal(data.table.operands, inputs)
    assert data.questions.operands.tolist() == [[[0, 0], [1, 0]], [[0, 1], [1, 1]]]
    assert data.answers.tolist() == [[0, 1], [1, 0]]
    assert data.take_members(torch.tensor([1])).answers.tolist() == [[1, 0]]


class NoHostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails if an operation copies a value to the host or from it."""

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default), func
        return func(*args, **(kwargs or {}))


def places(shard: Shard) -> list[int]:
    """The addresses of everything that a step reads and writes."""
    buffers = [shard.gradients, shard.loss, shard.index, shard.optimizer.values, shard.data.answers]
    remembered = [tensor for tensors in shard.memory.values() for tensor in tensors.values()]
    buffers += [*shard.optimizer.state().values(), *remembered, *shard.parameters.values()]
    return [buffer.data_ptr() for buffer in buffers]


@pytest.mark.parametrize("batch", [0, 16])
@pytest.mark.parametrize(
    ("recipe", "tables"),
    [
        *((recipe, {}) for recipe in (*RECIPES, "deep_mlp")),
        ("transformer", {"gradient": {"filter": "grokfast_ema", "decay": 0.98, "amplification": 2.0}}),
        ("transformer", {"gradient": {"filter": "orthogonal"}}),
        ("transformer", {"optimizer": MUON}),
        ("transformer", EVERYTHING),
    ],
)
def test_a_step_can_be_captured(recipe: str, tables: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA a step asks the host for nothing (a fake tensor has no values) and leaves every buffer where it is."""
    task = "mnist5k-n60" if recipe == "deep_mlp" else TASK_ID
    shard = started(recipe, [0, 1], task=task, tables=tables, batch_size=batch).shards[0]
    monkeypatch.setattr(AdamW, "_factor", lambda self, updates: self.schedule.factor(updates))
    shard.learn(1)
    before = places(shard)
    with FakeTensorMode(allow_non_fake_inputs=True):
        shard._step()
    with NoHostReads():  # type: ignore[no-untyped-call]
        shard._step()
    assert places(shard) == before


@pytest.mark.parametrize("table", sorted(TABLES))
def test_trial_steps_leave_no_trace(table: str) -> None:
    """A shard that rehearsed for a capture learns bit for bit what a shard without rehearsal learns."""
    plain, rehearsed = (started("transformer", [0, 1], tables=TABLES[table]).shards[0] for _ in range(2))
    for shard in (plain, rehearsed):
        shard.learn(2)
    before = places(rehearsed)
    rehearse(rehearsed._step, rehearsed._changing())
    assert places(rehearsed) == before
    for name, values in plain.optimizer.state().items():
        assert torch.equal(rehearsed.optimizer.state()[name], values), name
    assert torch.equal(rehearsed.learn(3), plain.learn(3))


def test_trial_steps_are_taken() -> None:
    """The step runs several times before everything is restored."""
    counter, seen = torch.zeros(1), []

    def step() -> None:
        counter.add_(1)
        seen.append(counter.item())

    rehearse(step, [counter])
    assert seen == [1, 2, 3]
    assert counter.item() == 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_step_is_the_step() -> None:
    """Replays of a CUDA graph change a tensor as direct steps do, and the capture changes nothing."""
    values = torch.zeros(4, device="cuda")

    def step() -> None:
        values.mul_(2).add_(1)

    replay = captured(step, [values])
    assert values.tolist() == [0] * 4
    for _ in range(3):
        replay()
    assert values.tolist() == [7] * 4
