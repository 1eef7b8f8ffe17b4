"""Deep ReLU MLP on images, after Omnigrok (Liu et al. 2022, 2210.01117) and "Deep Grokking" (Fan et al. 2024, 2405.19454).

PyTorch's default initialization of nn.Linear, every weight and bias times α: with α > 1 the network memorizes long before
it generalizes.

Shapes: S members, n images, k pixels, w the width, q classes.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.networks.network import Loss, Network, Parameters, uniform
from baselines.networks.products import multiply, product, relu_gradient, weight_gradient
from baselines.networks.questions import Images


@dataclass(frozen=True)
class DeepMLP(Network[Images]):
    """Hyperparameters of the network.

    Attributes:
        inputs: pixels of an image, k.
        depth: linear layers, the output counted.
        width: of every hidden layer.
        init_scale: α, which multiplies every initial weight and bias.
    """

    inputs: int
    depth: int
    width: int
    init_scale: float

    def __post_init__(self) -> None:
        if not 2 <= self.depth <= 24:
            raise ValueError(f"depth counts the linear layers, from 2 to 24, got {self.depth!r}")
        if min(self.inputs, self.width) < 1:
            raise ValueError(f"inputs and width must be at least 1, got {self.inputs!r} and {self.width!r}")

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return (self.width,) * (self.depth - 1)

    @property
    @override
    def hidden_weights(self) -> tuple[str, ...]:
        return tuple(f"weight{layer}" for layer in range(1, self.depth - 1))

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        parameters = {}
        for layer, (fan_in, width) in enumerate(pairwise([self.inputs, *self.feature_dims, num_symbols])):
            bound = self.init_scale / sqrt(fan_in)
            # As nn.Linear's, (width, fan-in): that way its gradient needs no transposed copy of the pixels.
            parameters[f"weight{layer}"] = uniform(generator, fan_in, width, bound=bound).T
            parameters[f"bias{layer}"] = uniform(generator, width, bound=bound)
        return parameters

    @override
    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Images:
        if not inputs.is_floating_point() or inputs.shape[-1] != self.inputs:
            kind = f"images of {inputs.shape[-1]} pixels" if inputs.is_floating_point() else "pairs of symbols"
            raise ValueError(f"this deep MLP reads images of {self.inputs} pixels, got {kind}")
        return Images(inputs.to(dtype))

    @override
    def forward(self, parameters: Parameters, questions: Images) -> tuple[Tensor, Tensor]:
        """Logits, and as features every hidden layer's output before its ReLU, as the code of "Deep Grokking" measures it."""
        outputs, x = [], questions.pixels
        for layer in range(self.depth):
            outputs.append(product(x, parameters[f"weight{layer}"].mT, parameters[f"bias{layer}"]))  # (S, n, w)
            x = outputs[-1].relu()
        return outputs[-1], torch.cat(outputs[:-1], dim=-1)

    @override
    def gradients(self, parameters: Parameters, questions: Images, answers: Tensor, loss_of: Loss, into: Parameters) -> Tensor:
        # On CPU one member after another: its layers stay in the cache, and nothing is stacked.
        turns = [slice(None)] if answers.is_cuda else range(len(answers))
        losses = [self._gradients(turn, parameters, questions.pixels, answers, loss_of, into) for turn in turns]
        return torch.stack(losses).flatten()

    @torch.no_grad()
    def _gradients(
        self, of: int | slice, parameters: Parameters, pixels: Tensor, answers: Tensor, loss_of: Loss, into: Parameters
    ) -> Tensor:
        """`gradients` for one member, or for all of them in one; autograd would take a sixth longer."""
        weights, biases, to_weights, to_biases = (
            [tensors[f"{kind}{layer}"][of] for layer in range(self.depth)]
            for tensors in (parameters, into)
            for kind in ("weight", "bias")
        )
        inputs = [pixels[of]]  # of every layer
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(multiply(inputs[-1], weight.mT, bias, relu=True))
        loss, gradient = loss_of(multiply(inputs[-1], weights[-1].mT, biases[-1]), answers[of])
        for layer in reversed(range(self.depth)):
            to_weights[layer].copy_(weight_gradient(gradient, inputs[layer]))
            torch.sum(gradient, -2, out=to_biases[layer])
            if layer:
                gradient = relu_gradient(multiply(gradient, weights[layer]), inputs[layer])
        return loss

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        x, outputs = inputs, []
        for layer in range(self.depth):
            outputs.append(x @ parameters[f"weight{layer}"].mT + parameters[f"bias{layer}"])
            x = torch.relu(outputs[-1])
        return outputs[-1], torch.cat(outputs[:-1], dim=-1)

    @override
    def metrics(self, parameters: Parameters) -> dict[str, Tensor]:
        """Every layer's norm, weights and biases together."""
        squares = [
            sum(parameters[f"{kind}{layer}"].flatten(1).square().sum(1) for kind in ("weight", "bias"))
            for layer in range(self.depth)
        ]
        return {"weight_norm": torch.stack([torch.as_tensor(square).sqrt() for square in squares], dim=1)}

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        return 2 * questions * sum(a * b for a, b in pairwise([self.inputs, *self.feature_dims, num_symbols]))
