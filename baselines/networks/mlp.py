"""MLP on one-hot pairs, after Gromov 2023 (arXiv 2301.02679) and Doshi et al. 2024 (arXiv 2406.03495).

Two one-hot operands → hidden layers without biases, quadratic or ReLU → logits. The first layer's product with a one-hot
vector is one row of its weights, so it costs one look-up per operand.

Shapes: S seeds, n questions, q symbols, w the width of a hidden layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.networks.network import Parameters, TableNetwork, normal
from baselines.networks.products import product, relu_product, square_product
from baselines.networks.questions import Questions

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "quadratic": torch.square}


@dataclass(frozen=True)
class MLP(TableNetwork):
    """Hyperparameters of the network.

    Attributes:
        hidden: width of each hidden layer.
        activation: `relu` or `quadratic`.
        init_scale: multiplies every initial weight, which is otherwise Gaussian with variance 1/fan-in.
    """

    hidden: tuple[int, ...]
    activation: str
    init_scale: float

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden needs at least one layer of at least one unit, got {self.hidden!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return tuple(self.hidden)

    @property
    @override
    def hidden_weights(self) -> tuple[str, ...]:
        return tuple(f"layer{layer}" for layer in range(1, len(self.hidden)))

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        widths = [*self.hidden, num_symbols]
        parameters = {
            name: normal(generator, num_symbols, widths[0], scale=self.init_scale / sqrt(2)) for name in ("first", "second")
        }
        for layer, (fan_in, width) in enumerate(pairwise(widths), start=1):
            parameters[f"layer{layer}"] = normal(generator, fan_in, width, scale=self.init_scale / sqrt(fan_in))
        return parameters

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        features, x = [], self._first(parameters, questions)
        for layer in range(1, len(self.hidden) + 1):
            features.append(ACTIVATIONS[self.activation](x))  # (S, n, w)
            x = product(features[-1], parameters[f"layer{layer}"])
        return x, torch.cat(features, dim=-1) if len(features) > 1 else features[0]

    @override
    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        x, onward = self._first(parameters, questions), relu_product if self.activation == "relu" else square_product
        for layer in range(1, len(self.hidden) + 1):
            x = onward(x, parameters[f"layer{layer}"])
        return x

    def _first(self, parameters: Parameters, questions: Questions) -> Tensor:
        """The first layer's preactivation, (S, n, w)."""
        return questions.sum(torch.cat([parameters["first"], parameters["second"]], dim=1).unsqueeze(1))

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        weights = torch.cat([parameters["first"], parameters["second"]])  # (2q, w)
        one_hot = torch.nn.functional.one_hot(inputs, len(weights) // 2).flatten(1)  # (n, 2q)
        features, x = [], one_hot.to(weights.dtype) @ weights
        for layer in range(1, len(self.hidden) + 1):
            features.append(ACTIVATIONS[self.activation](x))  # (n, w)
            x = features[-1] @ parameters[f"layer{layer}"]
        return x, torch.cat(features, dim=-1)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        widths = [*self.hidden, num_symbols]
        return 2 * questions * sum(a * b for a, b in pairwise(widths))
