"""Filters that change gradients before the optimizer takes them: Grokfast and the orthogonal gradient.

Shapes: S members, P numbers in a member's row of the buffer (`training/shards.py`).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import override

from baselines.fields import Fraction, NonNegative, hyperparameters

SMALLEST = 1e-30  # keeps the quotients of zero gradients and zero parameters finite


class Filter(Protocol):
    """Changes gradients in place. Its memory is a dict of tensors: (S, …), or () for a number that all members share."""

    def start(self, values: Tensor) -> dict[str, Tensor]:
        """The memory before the first step of parameters `values` (S, P)."""

    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        """Change `gradients` (S, P). `pairs` are the gradient, a view, and the value of each parameter, (S, …) each."""


@hyperparameters
class GrokfastEMA(Filter):
    """Amplifies slow gradients: g + λ·EMA(g). Lee et al. 2024 (arXiv 2405.20233), Algorithm 2.

    The average starts from the first gradient, as in the authors' code. The paper's listing starts it from the parameters.

    Attributes:
        decay: α, the share of the average that each step keeps.
        amplification: λ.
    """

    decay: Fraction
    amplification: NonNegative

    @override
    def start(self, values: Tensor) -> dict[str, Tensor]:
        return {"average": torch.zeros_like(values), "started": torch.zeros((), dtype=values.dtype, device=values.device)}

    @override
    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        memory["average"].lerp_(gradients, 1 - self.decay * memory["started"])
        memory["started"].fill_(1)
        gradients.add_(memory["average"], alpha=self.amplification)


@hyperparameters
class OrthogonalGradient(Filter):
    """⊥Grad: the component orthogonal to the parameter, rescaled to the gradient's norm. Prieto et al. 2025 (arXiv 2501.04697).

    Each tensor by itself, as in the authors' code.
    """

    @override
    def start(self, values: Tensor) -> dict[str, Tensor]:
        return {}

    @override
    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        for gradient, parameter in pairs:
            g, w = gradient.flatten(1), parameter.detach().flatten(1)  # (S, numbers) each
            along = (g * w).sum(1, keepdim=True) / ((w * w).sum(1, keepdim=True) + SMALLEST)  # (S, 1)
            across = g - along * w  # (S, numbers)
            scale = g.norm(dim=1, keepdim=True) / (across.norm(dim=1, keepdim=True) + SMALLEST)  # (S, 1)
            gradient.copy_((across * scale).view_as(gradient))


FILTERS: dict[str, type[GrokfastEMA] | type[OrthogonalGradient]] = {
    "grokfast_ema": GrokfastEMA,
    "orthogonal": OrthogonalGradient,
}
