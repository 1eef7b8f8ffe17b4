"""Losses: logits (S, n, q) and answers (S, n) → the loss (S,) of each member and its gradient (S, n, q) by the logits.

The gradients are written out. They take two passes over arrays that the loss has computed anyway, fewer than autograd takes.
"""

import torch
from torch import Tensor

from baselines.networks.network import Loss


def cross_entropy(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over n questions; its gradient is (p − one-hot)/n."""
    index = answers.unsqueeze(-1)  # (S, n, 1)
    log_p = logits.log_softmax(-1)  # (S, n, q)
    loss = -log_p.gather(-1, index).squeeze(-1).mean(-1)  # (S,)
    return loss, _minus_one_hot(log_p.exp_(), index).div_(logits.shape[-2])


def stablemax(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy whose softmax is s(x)/Σs(x). Prieto et al. 2025 (arXiv 2501.04697).

    s(x) = x + 1 for x ≥ 0, and 1/(1 − x) for x < 0. So log s(x) = ±log(1 + |x|), with slope 1/(1 + |x|).
    Computed in float64, as in the authors' code.
    """
    index, x = answers.unsqueeze(-1), logits.double()  # (S, n, 1), (S, n, q)
    one_plus_abs = 1 + x.abs()  # (S, n, q)
    s = torch.where(x < 0, 1 / one_plus_abs, one_plus_abs)  # (S, n, q)
    p = s / s.sum(-1, keepdim=True)  # (S, n, q)
    loss = -p.gather(-1, index).squeeze(-1).log().mean(-1)  # (S,)
    gradient = _minus_one_hot(p, index).div_(one_plus_abs).div_(logits.shape[-2])  # (S, n, q)
    return loss.to(logits.dtype), gradient.to(logits.dtype)


def mse(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error against one-hot answers, over n and q; its gradient is 2 (logits − one-hot)/(n q)."""
    n, q = logits.shape[-2:]
    difference = _minus_one_hot(logits.clone(), answers.unsqueeze(-1))  # (S, n, q)
    return difference.square().mean((-2, -1)), difference.mul_(2 / (n * q))


def _minus_one_hot(x: Tensor, index: Tensor) -> Tensor:
    """Subtract from `x` the one-hot of `index` (S, n, 1), in the memory of `x` (S, n, q)."""
    return x.scatter_add_(-1, index, torch.full_like(index, -1, dtype=x.dtype))


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "stablemax": stablemax}
