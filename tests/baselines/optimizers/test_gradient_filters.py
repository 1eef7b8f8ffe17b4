"""Gradient filters against the papers and against pytorch_optimizer."""

import pytest
import torch
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema
from pytorch_optimizer.optimizer.orthograd import OrthoGrad
from torch import Tensor

from baselines.optimizers.gradient_filters import GrokfastEMA, OrthogonalGradient


def random(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers in float64."""
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
