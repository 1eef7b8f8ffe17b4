"""What may be done to a gradient before the optimizer takes it: Grokfast and the orthogonal gradient.

Shapes: S members, P numbers in a member's row, as in `cohort.Cohort`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import override

TINY = 1e-30


class Filter(Protocol):
    """A change of the gradients in place; what it remembers is a dict of tensors, with S first where that makes sense."""

    def start(self, values: Tensor) -> dict[str, Tensor]:
        """What it remembers before the first update of parameters `values` (S, P)."""

    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        """Change `gradients` (S, P); `pairs` are its views with the parameters they belong to, (S, …) each."""


@dataclass(frozen=True)
class GrokfastEMA(Filter):
    """Slow gradients amplified: g + λ·EMA(g). Lee et al. 2024 (arXiv 2405.20233), Algorithm 2.

    As in the authors' code the average starts from the first gradient (the paper's listing starts from the parameters).
    """

    decay: float
    amplification: float

    @override
    def start(self, values: Tensor) -> dict[str, Tensor]:
        return {"average": torch.zeros_like(values), "started": torch.zeros((), dtype=values.dtype, device=values.device)}

    @override
    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        memory["average"].lerp_(gradients, 1 - self.decay * memory["started"])
        memory["started"].fill_(1)
        gradients.add_(memory["average"], alpha=self.amplification)


@dataclass(frozen=True)
class OrthogonalGradient(Filter):
    """⊥Grad: the part orthogonal to the parameter, as long as the whole. Prieto et al. 2025 (arXiv 2501.04697).

    Tensor by tensor, as in the authors' code.
    """

    @override
    def start(self, values: Tensor) -> dict[str, Tensor]:
        return {}

    @override
    def apply(self, gradients: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], memory: dict[str, Tensor]) -> None:
        for gradient, parameter in pairs:
            g, w = gradient.flatten(1), parameter.detach().flatten(1)  # (S, numbers)
            along = (g * w).sum(1, keepdim=True) / ((w * w).sum(1, keepdim=True) + TINY)
            across = g - along * w
            scale = g.norm(dim=1, keepdim=True) / (across.norm(dim=1, keepdim=True) + TINY)
            gradient.copy_((across * scale).view_as(gradient))


FILTERS: dict[str, type[GrokfastEMA] | type[OrthogonalGradient]] = {
    "grokfast_ema": GrokfastEMA,
    "orthogonal": OrthogonalGradient,
}
