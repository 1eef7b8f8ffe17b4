"""Losses: logits (S, n, q) and answers (S, n) → one number per seed, (S,), and its gradient with respect to the logits.

The gradients are written down, not differentiated: they take two passes over what the loss has made already.
"""

import torch
from torch import Tensor

from baselines.networks.network import Loss


def cross_entropy(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of each seed's answers; its gradient is (p − one-hot)/n."""
    index = answers.unsqueeze(-1)
    log_p = logits.log_softmax(-1)
    loss = -log_p.gather(-1, index).squeeze(-1).mean(-1)
    return loss, _minus_one_hot(log_p.exp_(), index).div_(logits.shape[-2])


def stablemax(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy with s(x)/Σs(x) for the softmax, s(x) = x + 1 from 0 up and 1/(1 − x) below. Prieto et al. 2025.

    log s(x) = ±log(1 + |x|), so its slope is 1/(1 + |x|). In float64, as in the authors' code.
    """
    index, x = answers.unsqueeze(-1), logits.double()
    grown = 1 + x.abs()
    s = torch.where(x < 0, 1 / grown, grown)
    p = s / s.sum(-1, keepdim=True)
    loss = -p.gather(-1, index).squeeze(-1).log().mean(-1)
    gradient = _minus_one_hot(p, index).div_(grown).div_(logits.shape[-2])
    return loss.to(logits.dtype), gradient.to(logits.dtype)


def mse(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared distance to the one-hot answers, over n and q; its gradient is 2 (logits − one-hot)/(n q)."""
    n, q = logits.shape[-2:]
    difference = _minus_one_hot(logits.clone(), answers.unsqueeze(-1))
    return difference.square().mean((-2, -1)), difference.mul_(2 / (n * q))


def _minus_one_hot(x: Tensor, index: Tensor) -> Tensor:
    return x.scatter_add_(-1, index, torch.full_like(index, -1, dtype=x.dtype))


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "stablemax": stablemax}
