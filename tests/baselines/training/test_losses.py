"""Losses and their written gradients against torch and autograd."""

import pytest
import torch

from baselines.training.losses import LOSSES, stablemax


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_losses_and_their_gradients_against_torch(name: str) -> None:
    """The batched losses are torch's, seed by seed, and their gradients are autograd's."""
    logits = torch.randn(3, 8, 5, dtype=torch.float64, requires_grad=True)
    answers = torch.randint(0, 5, (3, 8))
    oracle = {
        "cross_entropy": torch.nn.functional.cross_entropy,
        "mse": lambda x, y: torch.nn.functional.mse_loss(x, torch.nn.functional.one_hot(y, 5).double()),
    }[name]
    expected = torch.stack([oracle(x, y) for x, y in zip(logits, answers, strict=True)])  # type: ignore[no-untyped-call]
    loss, gradient = LOSSES[name](logits.detach(), answers)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected.sum(), logits))


def test_stablemax_and_its_gradient() -> None:
    """Its definition, written out, and what autograd makes of it."""
    logits = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    answers = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(1))
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits))
    expected = -(s / s.sum(-1, keepdim=True)).gather(-1, answers.unsqueeze(-1)).log().mean((-2, -1))
    loss, gradient = stablemax(logits.detach(), answers)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected.sum(), logits))
