"""Losses: logits (S, n, q) and answers (S, n) → one number per seed, (S,)."""

from collections.abc import Callable

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy of each seed's answers, (S,)."""
    return (logits.logsumexp(-1) - logits.gather(-1, answers.unsqueeze(-1)).squeeze(-1)).mean(-1)


def mse(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean squared distance to the one-hot answers, over n and q, (S,)."""
    one_hot = torch.nn.functional.one_hot(answers, logits.shape[-1])
    return (logits - one_hot).square().mean((-2, -1))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "mse": mse}
