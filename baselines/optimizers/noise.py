"""Gaussian noise on gradients or weights, two of the regularizers of Power et al. 2022 (arXiv 2201.02177), Figure 2.

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Generator, Tensor

from baselines.devices import to_device
from baselines.fields import NonNegative, hyperparameters, one_of


@hyperparameters
class Noise:
    """Independent Gaussian numbers, drawn at every update from the member's own generator.

    Attributes:
        scale: their standard deviation.
        on: `gradient` adds them to the gradient. `weights` adds them to the weights while the gradient is computed.
    """

    scale: NonNegative
    on: Annotated[str, one_of(("gradient", "weights"))] = "gradient"

    def draw(self, like: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Noise of the shape of `like` (S, P), a generator for each member."""
        rows = [torch.randn(like.shape[1], generator=generator, dtype=like.dtype) for generator in generators]  # (P,) each
        return to_device(torch.stack(rows).mul_(self.scale), like.device)
