"""What the training loop asks of a network."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.networks.questions import Questions, Rows

Parameters = dict[str, Tensor]  # name → (S, …); a single seed's, while they are drawn, have no S
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # logits and answers → loss and its gradient, see losses.py
Encoded = TypeVar("Encoded", bound=Rows)


class Network(Protocol[Encoded]):
    """A network for q possible answers; S members at once, member s in row s of every parameter."""

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """The widths of the layers whose features it shows, the one that feeds the output last."""

    @property
    def hidden_weights(self) -> tuple[str, ...]:
        """The parameters that are hidden layers' matrices, neither embedding nor output."""
        return ()

    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        """One member's initial parameters, in float32 on the CPU, without the leading axis."""

    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Encoded:
        """The questions `inputs` (S, n, L) as `forward` takes them. Raises ValueError for inputs of another kind."""

    def forward(self, parameters: Parameters, questions: Encoded) -> tuple[Tensor, Tensor]:
        """Logits (S, n, q) and features (S, n, Σd), each distinct prefix computed once."""

    def logits(self, parameters: Parameters, questions: Encoded) -> Tensor:
        """The logits of `forward`, to rounding, for training, which needs no features."""
        return self.forward(parameters, questions)[0]

    def gradients(self, parameters: Parameters, questions: Encoded, answers: Tensor, loss_of: Loss, into: Parameters) -> Tensor:
        """Every member's loss, (S,), whose gradient by every parameter is written `into` a tensor of the same name."""
        logits = self.logits(parameters, questions)
        loss, gradient = loss_of(logits.detach(), answers)
        found = torch.autograd.grad(logits, list(parameters.values()), gradient)
        for name, one in zip(parameters, found, strict=True):
            into[name].copy_(one)
        return loss

    def metrics(self, parameters: Parameters) -> dict[str, Tensor]:
        """What is worth watching of the parameters beside the features: name → a number per layer, (S, layers)."""
        return {}

    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """The reference for `forward`: one seed, without the leading axis, as anyone would write it.

        Logits (n, q) and features (n, Σd) from `inputs` (n, L), every position of every question computed; with `last_only`
        the last layer's hidden units and the output at the last position alone.
        """

    def flops(self, num_symbols: int, questions: int) -> int:
        """Multiply-adds times two in the products and weighted sums of `logits` over n questions, for one seed."""


class TableNetwork(Network[Questions], Protocol):
    """A network for pairs (a, b) of q symbols."""

    @override
    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Questions:
        if inputs.is_floating_point():
            raise ValueError(f"{type(self).__name__} reads pairs of symbols, not images: choose a deep_mlp recipe")
        return Questions(inputs, num_symbols)


def normal(generator: Generator, *shape: int, scale: float) -> Tensor:
    """Gaussian numbers with standard deviation `scale`."""
    return torch.randn(shape, generator=generator) * scale


def uniform(generator: Generator, *shape: int, bound: float) -> Tensor:
    """Uniform numbers in [−bound, bound]."""
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


def heads(x: Tensor, count: int) -> Tensor:
    """The features of `x` split among attention heads: (…, d) → (…, H, d/H)."""
    return x.view(*x.shape[:-1], count, -1)
