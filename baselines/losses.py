"""Losses: logits (S, n, q) and answers (S, n) → one number per seed, (S,)."""

from collections.abc import Callable

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy of each seed's answers, (S,)."""
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
    return each.view_as(answers).mean(-1)


def mse(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean squared distance to the one-hot answers, over n and q, (S,)."""
    index = answers.unsqueeze(-1)
    minus_one = torch.full_like(index, -1, dtype=logits.dtype)
    return logits.scatter_add(-1, index, minus_one).square().mean((-2, -1))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "mse": mse}
