"""MLP on one-hot pairs, after Gromov 2023 (arXiv 2301.02679) and Doshi et al. 2024 (arXiv 2406.03495).

Two one-hot operands → hidden layers without biases, quadratic or ReLU → logits. The product of a one-hot vector with the first
layer's weights is a row of these weights. So the first layer costs one look-up for each operand.

Shapes: S seeds, n questions, q symbols, w the width of a hidden layer.
"""

from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor
from typing_extensions import override

from baselines.fields import Positive, PositiveCount, hyperparameters, one_of
from baselines.networks.network import Loss, Parameters, TableNetwork, normal
from baselines.networks.products import multiply, product, relu_gradient, weight_gradient
from baselines.networks.questions import Questions

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "quadratic": torch.square}


@hyperparameters
class MLP(TableNetwork):
    """Hyperparameters of the network.

    Attributes:
        hidden: the width of each hidden layer.
        activation: `relu` or `quadratic`.
        init_scale: factor on every initial weight. Without it, weights are Gaussian with variance 1/fan-in.
    """

    hidden: Annotated[tuple[PositiveCount, ...], Field(min_length=1, description="a list of whole numbers from 1 up")]
    activation: Annotated[str, one_of(ACTIVATIONS)]
    init_scale: Positive

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return self.hidden

    @property
    @override
    def hidden_weights(self) -> tuple[str, ...]:
        return tuple(f"layer{layer}" for layer in range(1, len(self.hidden)))

    @property
    @override
    def fan_in_first(self) -> tuple[str, ...]:
        return (*self.hidden_weights, f"layer{len(self.hidden)}")

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        widths = [*self.hidden, num_symbols]
        # The fan-in of the first layer is 2, since two of the 2q one-hot inputs are on.
        operands = [normal(generator, num_symbols, widths[0], scale=self.init_scale / sqrt(2)) for _ in range(2)]  # (q, w)
        parameters = {"layer0": torch.cat(operands)}  # (2q, w)
        for layer, (fan_in, width) in enumerate(pairwise(widths), start=1):
            parameters[f"layer{layer}"] = normal(generator, fan_in, width, scale=self.init_scale / sqrt(fan_in))
        return parameters

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        weights = parameters["layer0"]  # (2q, w)
        one_hot = torch.nn.functional.one_hot(inputs, len(weights) // 2).flatten(1)  # (n, 2q)
        features, x = [], one_hot.to(weights.dtype) @ weights  # (n, w)
        for layer in range(1, len(self.hidden) + 1):
            features.append(ACTIVATIONS[self.activation](x))  # (n, w)
            x = features[-1] @ parameters[f"layer{layer}"]  # (n, w or q)
        return x, torch.cat(features, dim=-1)  # (n, q), (n, Σw)

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        features, x = [], self._first(parameters, questions)  # (S, n, w)
        for layer in range(1, len(self.hidden) + 1):
            features.append(ACTIVATIONS[self.activation](x))  # (S, n, w)
            x = product(features[-1], parameters[f"layer{layer}"])  # (S, n, w or q)
        return x, torch.cat(features, dim=-1) if len(features) > 1 else features[0]  # (S, n, q), (S, n, Σw)

    @override
    @torch.no_grad()
    def gradients(
        self, parameters: Parameters, questions: Questions, answers: Tensor, loss_of: Loss, into: Parameters
    ) -> Tensor:
        weights = [parameters[f"layer{layer}"] for layer in range(1, len(self.hidden) + 1)]
        inputs, features, x = [], [], self._first(parameters, questions)  # x: (S, n, w), then (S, n, q)
        for weight in weights:
            inputs.append(x)
            features.append(ACTIVATIONS[self.activation](x))
            x = multiply(features[-1], weight)
        loss, gradient = loss_of(x, answers)  # (S,), (S, n, q)
        for layer in reversed(range(len(weights))):
            into[f"layer{layer + 1}"].copy_(weight_gradient(features[layer], gradient))
            if self.activation == "relu":
                gradient = multiply(gradient, weights[layer].mT)  # (S, n, w)
                gradient = relu_gradient(gradient, features[layer], into=gradient)  # (S, n, w)
            else:
                gradient = multiply(gradient, (2 * weights[layer]).mT).mul_(inputs[layer])  # (S, n, w)
        into["layer0"].copy_(questions.to_table(gradient).squeeze(1))  # (S, 2q, w)
        return loss

    def _first(self, parameters: Parameters, questions: Questions) -> Tensor:
        """The first layer before its activation, (S, n, w)."""
        return questions.sum(parameters["layer0"].unsqueeze(1))  # (S, n, w)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        widths = [*self.hidden, num_symbols]
        return 2 * questions * sum(a * b for a, b in pairwise(widths))
