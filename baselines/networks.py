"""What the training loop asks of a network."""

from typing import Protocol

import torch
from torch import Generator, Tensor

from baselines.questions import Questions

Parameters = dict[str, Tensor]  # name → (S, …); a single seed's, while they are drawn, have no S


class Network(Protocol):
    """A network over a table of q symbols; S seeds at once, seed s in row s of every parameter."""

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """The widths of the layers whose features it shows, the one that feeds the output last."""

    @property
    def matrices(self) -> tuple[str, ...]:
        """The parameters that are hidden layers' matrices, neither embedding nor output."""
        return ()

    def draw(self, symbols: int, generator: Generator) -> Parameters:
        """One seed's initial parameters, in float32 on the CPU, without the leading axis."""

    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        """Logits (S, n, q) and features (S, n, Σd), each distinct prefix computed once."""

    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        """The logits of `forward`, to rounding, for training, which needs no features."""
        return self.forward(parameters, questions)[0]

    def plain(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """The reference for `forward`: one seed, without the leading axis, as anyone would write it.

        Logits (n, q) and features (n, Σd) from `inputs` (n, 2), every position of every question computed; with `last_only`
        the last layer's hidden units and the output at the last position alone.
        """

    def flops(self, symbols: int, questions: int) -> int:
        """Multiply-adds times two in the matrix products of `logits` over n questions, for one seed."""


def normal(generator: Generator, *shape: int, scale: float) -> Tensor:
    """Gaussian numbers with standard deviation `scale`."""
    return torch.randn(shape, generator=generator) * scale


def uniform(generator: Generator, *shape: int, bound: float) -> Tensor:
    """Uniform numbers in [−bound, bound]."""
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


def heads(x: Tensor, count: int) -> Tensor:
    """The features of `x` split among attention heads: (…, d) → (…, H, d/H)."""
    return x.view(*x.shape[:-1], count, -1)
