"""Projection, noise and averages against their definitions."""

import pytest
import torch
from torch import Generator, Tensor

from baselines.optimizers.averages import Average
from baselines.optimizers.noise import Noise
from baselines.optimizers.projections import Projection
from tests.support.baselines import started


def parameters(seed: int) -> dict[str, Tensor]:
    """Two members with a product's matrix, a table and a bias."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"product": (2, 3, 5), "table": (2, 7, 4), "bias": (2, 5)}
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def test_rows_keep_their_norm() -> None:
    """A unit's incoming weights are a column of (fan-in, fan-out); a symbol's vector is a row of its table. Biases are free."""
    before, after = parameters(0), parameters(1)
    bias, direction = after["bias"].clone(), after["table"][1, 2] / after["table"][1, 2].norm()
    projection = Projection(norm="rows")
    norms = projection.start(before, ("product",))
    projection.apply(after, norms, ("product",))
    torch.testing.assert_close(after["product"].norm(dim=1), before["product"].norm(dim=1))
    torch.testing.assert_close(after["table"].norm(dim=2), before["table"].norm(dim=2))
    torch.testing.assert_close(after["table"][1, 2] / after["table"][1, 2].norm(), direction)
    assert torch.equal(after["bias"], bias)


def test_all_weights_keep_their_norm() -> None:
    """One factor for each member."""
    before, after = parameters(0), parameters(1)
    raw = {name: tensor.clone() for name, tensor in after.items()}
    projection = Projection(norm="global")
    projection.apply(after, projection.start(before, ()), ())
    for member in range(2):
        flat = [torch.cat([tensor[member].flatten() for tensor in each.values()]) for each in (before, after, raw)]
        torch.testing.assert_close(flat[1].norm(), flat[0].norm())
        torch.testing.assert_close(flat[1] / flat[1].norm(), flat[2] / flat[2].norm())


def test_clipping_limits_rows_alone() -> None:
    """The rule of Clip to Grok: w · min(1, c/‖w‖), for the named parameters."""
    after = parameters(1)
    raw = {name: tensor.clone() for name, tensor in after.items()}
    projection = Projection(norm="rows", names=("table",), mode="clip", c=1.5)
    projection.apply(after, projection.start(parameters(0), ()), ())
    expected = raw["table"] * (1.5 / raw["table"].norm(dim=2, keepdim=True)).clamp(max=1)
    torch.testing.assert_close(after["table"], expected)
    assert torch.equal(after["product"], raw["product"])


def test_the_average_is_a_running_one() -> None:
    """(1 − decay) · weights + decay · average, from the initial weights on; answers and features are the average's."""
    agent = started("mlp", [0, 1], tables={"average": {"decay": 0.7}})
    shard = agent.shards[0]
    expected = shard.optimizer.values.detach().clone()
    for _ in range(4):
        agent.learn(1)
        expected = 0.7 * expected + 0.3 * shard.optimizer.values.detach()
    torch.testing.assert_close(shard.memory["average"]["values"], expected)
    features = shard.network.forward(shard.layout.views(expected), shard.data.table)[1]
    torch.testing.assert_close(agent.act()["features"], features)
    plain = started("mlp", [0, 1])
    plain.learn(4)
    assert torch.equal(shard.optimizer.values, plain.shards[0].optimizer.values)  # training isn't changed
    assert Average(decay=0.0).decay == 0


def test_noise_is_each_members_own() -> None:
    """Of the asked scale, and the same for a member alone."""
    drawn = Noise(scale=0.5).draw(torch.zeros(3, 20_000), [Generator().manual_seed(seed) for seed in (0, 1, 2)])
    assert drawn.std(dim=1).tolist() == pytest.approx([0.5] * 3, rel=0.03)
    alone = Noise(scale=0.5).draw(torch.zeros(1, 20_000), [Generator().manual_seed(2)])
    assert torch.equal(drawn[2], alone[0])


def test_rows_keep_their_norm_in_training() -> None:
    """After real steps every weight vector has the norm that it had at initialization."""
    agent = started("transformer", [0], tables={"projection": {"norm": "rows"}})
    shard = agent.shards[0]
    before = shard.parameters["mlp_in"].detach().norm(dim=1).clone()
    agent.learn(5)
    torch.testing.assert_close(shard.parameters["mlp_in"].detach().norm(dim=1), before)
