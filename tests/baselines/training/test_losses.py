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
    """The loss follows its definition, and the gradient is autograd's."""
    logits = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    answers = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(1))
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits))
    expected = -(s / s.sum(-1, keepdim=True)).gather(-1, answers.unsqueeze(-1)).log().mean((-2, -1))
    loss, gradient = stablemax(logits.detach(), answers)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected.sum(), logits))


def test_large_logits_stay_finite() -> None:
    """In float32 a wrong answer costs its whole margin, and its gradient is ±1."""
    loss, gradient = LOSSES["cross_entropy"](torch.tensor([[[1e4, 0.0], [0.0, 1e4]]]), torch.tensor([[1, 1]]))
    torch.testing.assert_close(loss, torch.tensor([5e3]))
    torch.testing.assert_close(gradient, torch.tensor([[[0.5, -0.5], [0.0, 0.0]]]))


def test_stablemax_of_float32_logits_is_computed_in_float64() -> None:
    """With s = 10⁸ against 1/(1 + 10³), float32 would round the loss 10⁻¹¹ to 0. Results have the logits' dtype."""
    loss, gradient = stablemax(torch.tensor([[[1e8, -999.0]]]), torch.tensor([[0]]))
    assert loss.item() == pytest.approx(1e-11, rel=1e-4)
    assert loss.dtype == gradient.dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
def test_losses_leave_their_arguments_alone(name: str) -> None:
    """Networks return logits that their features may share memory with."""
    logits, answers = torch.randn(2, 3, 4), torch.randint(0, 4, (2, 3))
    before = logits.clone(), answers.clone()
    LOSSES[name](logits, answers)
    assert torch.equal(logits, before[0])
    assert torch.equal(answers, before[1])


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_a_member_does_not_depend_on_the_others(name: str) -> None:
    """Bit for bit, so a run has the same record in every cohort; a member that diverged spoils its own loss alone."""
    logits, answers = torch.randn(3, 6, 5), torch.randint(0, 5, (3, 6))
    logits[1, 2, 3] = torch.nan
    loss, gradient = LOSSES[name](logits, answers)
    assert loss.isnan().tolist() == [False, True, False]
    for member in (0, 2):
        alone = LOSSES[name](logits[member : member + 1], answers[member : member + 1])
        assert torch.equal(alone[0][0], loss[member])
        assert torch.equal(alone[1][0], gradient[member])
