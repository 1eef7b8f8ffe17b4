"""Filters, Muon and StableMax against independent implementations, and batched as everything is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema
from pytorch_optimizer.optimizer.orthograd import OrthoGrad
from torch import Tensor

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.gradient_filters import GrokfastEMA, OrthogonalGradient
from baselines.optimizers.muon import Muon, MuonSettings, orthogonalized
from baselines.training.losses import stablemax
from grokbench.agents import trees
from grokbench.agents.recipes import recipe
from grokbench.runs.store import read_checkpoint
from tests.baselines.training.test_agent import started

GRADIENTS: dict[str, Any] = {
    "grokfast": {"gradient": {"filter": "grokfast_ema", "decay": 0.98, "amplification": 2.0}},
    "orthogonal": {"gradient": {"filter": "orthogonal"}},
    "muon": {"muon": {"learning_rate": 0.02, "weight_decay": 1.0, "momentum": 0.95}},
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Float64 numbers."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_grokfast_as_the_paper_writes_it() -> None:
    """An average that starts from the first gradient, added λ times; step by step with plain numbers."""
    filter_ = GrokfastEMA(decay=0.9, amplification=3.0)
    memory = filter_.start(torch.zeros(2, 4, dtype=torch.float64))
    average = None
    for step in range(5):
        gradient = random(2, 4, seed=step)
        average = gradient.clone() if average is None else 0.9 * average + 0.1 * gradient
        expected = gradient + 3 * average
        filter_.apply(gradient, [], memory)
        torch.testing.assert_close(gradient, expected)


def test_grokfast_is_pytorch_optimizers() -> None:
    """Gradient by gradient, member by member."""
    filter_ = GrokfastEMA(decay=0.98, amplification=2.0)
    memory = filter_.start(torch.zeros(2, 12, dtype=torch.float64))
    models = [torch.nn.Linear(3, 4, bias=False, dtype=torch.float64) for _ in range(2)]
    theirs: list[dict[str, Tensor] | None] = [None, None]
    for step in range(5):
        gradients = random(2, 12, seed=step)
        for member, model in enumerate(models):
            model.weight.grad = gradients[member].view(4, 3).clone()
            theirs[member] = gradfilter_ema(model, theirs[member], alpha=0.98, lamb=2.0)
        filter_.apply(gradients, [], memory)
        torch.testing.assert_close(
            gradients, torch.stack([g.flatten() for model in models if (g := model.weight.grad) is not None])
        )


def test_the_orthogonal_gradient_is_pytorch_optimizers() -> None:
    """Member by member, every tensor by itself."""
    tensors = [random(2, 4, 5), random(2, 7, seed=2)]
    gradients = random(2, 27, seed=1)
    views = [gradients[:, :20].view(2, 4, 5), gradients[:, 20:]]
    wanted = []
    for member in range(2):
        parameters = [one[member].clone().requires_grad_() for one in tensors]
        for parameter, view in zip(parameters, views, strict=True):
            parameter.grad = view[member].clone()
        OrthoGrad(torch.optim.SGD(parameters, lr=0.0)).step()
        wanted.append(torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]))
    OrthogonalGradient().apply(gradients, list(zip(views, tensors, strict=True)), {})
    torch.testing.assert_close(gradients, torch.stack(wanted))


def test_the_orthogonal_gradient() -> None:
    """Member by member and tensor by tensor: orthogonal to the parameter, as long as before, in the plane of the two."""
    parameter, gradient = random(3, 4, 5), random(3, 4, 5, seed=1)
    before = gradient.clone()
    OrthogonalGradient().apply(gradient, [(gradient, parameter)], {})
    for w, old, new in zip(parameter, before, gradient, strict=True):
        assert float((w * new).sum()) == pytest.approx(0, abs=1e-12)
        torch.testing.assert_close(new.norm(), old.norm())
        assert float((new * old).sum()) > 0
        plane = torch.stack([w.flatten(), old.flatten(), new.flatten()])
        assert float(torch.linalg.matrix_rank(plane, rtol=1e-9)) == 2


def test_stablemax_and_its_gradient() -> None:
    """Its definition, written out, and what autograd makes of it."""
    logits = random(2, 6, 5).requires_grad_()
    answers = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(1))
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits))
    expected = -(s / s.sum(-1, keepdim=True)).gather(-1, answers.unsqueeze(-1)).log().mean((-2, -1))
    loss, gradient = stablemax(logits.detach(), answers)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected.sum(), logits))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_is_torchs(shape: tuple[int, int]) -> None:
    """Member by member, to the bfloat16 in which torch orthogonalizes, its matrices (out, in) where ours are (in, out)."""
    count = shape[0] * shape[1]
    values = random(2, count + 3)
    adamw = AdamW(values[:, count:], [1e-3], [0.1], (0.9, 0.98), warmup=1)
    ours = Muon(values.clone(), [(slice(0, count), torch.Size(shape))], MuonSettings(0.02, 0.1, 0.95), adamw)
    theirs = [values[member, :count].reshape(shape).T.clone().requires_grad_() for member in range(2)]
    optimizer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95)
    for step in range(4):
        gradients = random(2, count + 3, seed=10 + step)
        ours.step(gradients)
        for member, parameter in enumerate(theirs):
            parameter.grad = gradients[member, :count].reshape(shape).T.clone()
        optimizer.step()  # type: ignore[no-untyped-call]
    for member, parameter in enumerate(theirs):
        theirs_now = parameter.detach().T.flatten()
        moved = (theirs_now - values[member, :count]).norm()
        difference = (ours.values[member, :count] - theirs_now).norm()
        assert float(difference / moved) < 0.02


def test_orthogonalized_is_nearly_so() -> None:
    """Singular values near 1, as far as five steps bring them, and the directions kept."""
    matrices = random(3, 20, 8)
    found = orthogonalized(matrices)
    sigma = torch.linalg.svdvals(found)
    assert 0.5 < float(sigma.min()) < float(sigma.max()) < 1.3
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    assert float((found * (u @ vt)).sum() / 3 / 8) > 0.8


@pytest.mark.parametrize("change", sorted(GRADIENTS))
def test_members_are_independent_and_state_restores(change: str, tmp_path: Path) -> None:
    """Together as alone, through keep and through a checkpoint, whatever changes the update."""
    tables = GRADIENTS[change]
    together = started("transformer", [0, 1, 2], tables=tables)
    alone = started("transformer", [2], tables=tables)
    together.learn(6)
    together.keep([0, 2])
    (tmp_path / "checkpoint").write_bytes(trees.pack(together.state_dict()))
    restored = started("transformer", [0, 2], tables=tables)
    restored.load_state_dict(read_checkpoint(tmp_path / "checkpoint"))
    losses = together.learn(6)["loss"]
    np.testing.assert_array_equal(losses, restored.learn(6)["loss"])
    assert losses[1] == pytest.approx(alone.learn(12)["loss"][0], rel=1e-9)
    plain = started("transformer", [2])
    assert losses[1] != pytest.approx(plain.learn(12)["loss"][0], rel=1e-6)


def test_bad_tables_are_refused() -> None:
    """An unknown filter, a missing number, Muon without matrices."""
    with pytest.raises(ValueError, match="MLP has none"):
        recipe("mlp", muon=GRADIENTS["muon"]["muon"]).make()
    with pytest.raises(ValueError, match="needs filter = one of grokfast_ema, orthogonal, got 'fast'"):
        recipe("transformer", gradient={"filter": "fast"}).make()
    with pytest.raises(ValueError, match="lacks amplification"):
        recipe("transformer", gradient={"filter": "grokfast_ema", "decay": 0.9}).make()
