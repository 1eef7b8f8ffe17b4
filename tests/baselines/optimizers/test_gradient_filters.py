"""Gradient filters against the papers and against pytorch_optimizer."""

import pytest
import torch
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema
from pytorch_optimizer.optimizer.orthograd import OrthoGrad
from torch import Tensor

from baselines.fields import from_table
from baselines.optimizers.gradient_filters import FILTERS, GrokfastEMA, OrthogonalGradient
from grokbench.errors import RecipeError


def random(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_grokfast_as_the_paper_writes_it() -> None:
    """The average starts from the first gradient, and λ times the average is added to each gradient."""
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
    """Five gradients of two members, each with its own average."""
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
    """Two members with two tensors each; every tensor is projected by itself."""
    tensors = [random(2, 4, 5), random(2, 7, seed=2)]
    gradients = random(2, 27, seed=1)
    views = [gradients[:, :20].view(2, 4, 5), gradients[:, 20:]]
    wanted = []
    for member in range(2):
        parameters = [tensor[member].clone().requires_grad_() for tensor in tensors]
        for parameter, view in zip(parameters, views, strict=True):
            parameter.grad = view[member].clone()
        OrthoGrad(torch.optim.SGD(parameters, lr=0.0)).step()
        wanted.append(torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]))
    OrthogonalGradient().apply(gradients, list(zip(views, tensors, strict=True)), {})
    torch.testing.assert_close(gradients, torch.stack(wanted))


def test_the_orthogonal_gradient() -> None:
    """The result is orthogonal to the parameter, as long as the gradient, and in the plane of both."""
    parameter, gradient = random(3, 4, 5), random(3, 4, 5, seed=1)
    before = gradient.clone()
    OrthogonalGradient().apply(gradient, [(gradient, parameter)], {})
    for w, old, new in zip(parameter, before, gradient, strict=True):
        assert float((w * new).sum()) == pytest.approx(0, abs=1e-12)
        torch.testing.assert_close(new.norm(), old.norm())
        assert float((new * old).sum()) > 0
        plane = torch.stack([w.flatten(), old.flatten(), new.flatten()])
        assert float(torch.linalg.matrix_rank(plane, rtol=1e-9)) == 2


def test_zeros_stay_finite() -> None:
    """A parameter of zeros keeps its gradient; a gradient of zeros, or along the parameter, becomes zero."""
    parameter = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]], requires_grad=True)
    gradient = torch.tensor([[1.0, 2.0], [0.0, 0.0], [6.0, 8.0]])
    OrthogonalGradient().apply(gradient, [(gradient, parameter)], {})
    torch.testing.assert_close(gradient[:2], torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    assert gradient[2].isfinite().all()
    assert not gradient.requires_grad


def test_runs_that_share_a_filter_have_their_own_memory() -> None:
    """A second run starts from its own first gradient, whatever the first run has seen."""
    filter_ = GrokfastEMA(decay=0.5, amplification=1.0)
    for first in (1.0, -3.0):
        memory = filter_.start(torch.full((1, 2), 7.0))
        gradient = torch.full((1, 2), first)
        filter_.apply(gradient, [], memory)
        torch.testing.assert_close(gradient, torch.full((1, 2), 2 * first))


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_found_by_the_names_of_recipes(name: str) -> None:
    """Grokfast amplifies a constant gradient (1 + λ)-fold; the orthogonal gradient of a single number has no direction left."""
    hyperparameters = {"grokfast_ema": {"decay": 0.9, "amplification": 2.0}, "orthogonal": {}}[name]
    filter_ = from_table(FILTERS[name], hyperparameters, "gradient")
    values, gradient = torch.tensor([[2.0]]), torch.tensor([[5.0]])
    filter_.apply(gradient, [(gradient, values)], filter_.start(values))
    assert gradient.item() == pytest.approx({"grokfast_ema": 15.0, "orthogonal": 0.0}[name])


def test_an_average_that_never_moves_is_refused() -> None:
    """A decay of 1 would keep the first gradient forever."""
    with pytest.raises(RecipeError, match=r"decay must be a number in \[0, 1\), got 1.0"):
        from_table(GrokfastEMA, {"decay": 1.0, "amplification": 2.0}, "gradient")
