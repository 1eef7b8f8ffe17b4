"""Deep ReLU MLP on images, after Omnigrok (Liu et al. 2022, 2210.01117) and "Deep Grokking" (Fan et al. 2024, 2405.19454).

Initial weights and biases are those of PyTorch's nn.Linear times α. With α > 1 the network memorizes long before it
generalizes.

Shapes: S members, n images, k pixels, w the width, q classes.
"""

from itertools import pairwise
from math import sqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor
from typing_extensions import override

from baselines.fields import Positive, PositiveCount, hyperparameters
from baselines.networks.network import Loss, Network, Parameters, uniform
from baselines.networks.products import multiply, product, relu_gradient, weight_gradient
from baselines.networks.questions import Images
from grokbench.errors import AgentError

DEPTHS = (2, 24)  # fewest and most linear layers


@hyperparameters
class DeepMLP(Network[Images]):
    """Hyperparameters of the network.

    Attributes:
        inputs: k, the pixels of an image.
        depth: the linear layers, the output layer included.
        width: w, of every hidden layer.
        init_scale: α, the factor on every initial weight and bias.
    """

    inputs: PositiveCount
    depth: Annotated[int, Field(ge=DEPTHS[0], le=DEPTHS[1], description=f"a whole number from {DEPTHS[0]} to {DEPTHS[1]}")]
    width: PositiveCount
    init_scale: Positive

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
            # (width, fan-in), as in nn.Linear, so that the gradient needs no transposed copy of the pixels.
            parameters[f"weight{layer}"] = uniform(generator, fan_in, width, bound=bound).T
            parameters[f"bias{layer}"] = uniform(generator, width, bound=bound)
        return parameters

    @override
    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Images:
        if not inputs.is_floating_point() or inputs.shape[-1] != self.inputs:
            kind = f"images of {inputs.shape[-1]} pixels" if inputs.is_floating_point() else "pairs of symbols"
            raise AgentError(f"this deep MLP reads images of {self.inputs} pixels, got {kind}")
        return Images(inputs.to(dtype))

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        x, outputs = inputs, []
        for layer in range(self.depth):
            outputs.append(x @ parameters[f"weight{layer}"].mT + parameters[f"bias{layer}"])  # (n, w or q)
            x = torch.relu(outputs[-1])  # (n, w or q)
        return outputs[-1], torch.cat(outputs[:-1], dim=-1)  # (n, q), (n, Σw)

    @override
    def forward(self, parameters: Parameters, questions: Images) -> tuple[Tensor, Tensor]:
        """Logits (S, n, q), and features (S, n, Σw): every hidden layer before its ReLU, as in the code of "Deep Grokking"."""
        outputs, x = [], questions.pixels
        for layer in range(self.depth):
            outputs.append(product(x, parameters[f"weight{layer}"].mT, parameters[f"bias{layer}"]))  # (S, n, w or q)
            x = outputs[-1].relu()  # (S, n, w or q)
        return outputs[-1], torch.cat(outputs[:-1], dim=-1)  # (S, n, q), (S, n, Σw)

    @override
    @torch.no_grad()
    def gradients(self, parameters: Parameters, questions: Images, answers: Tensor, loss_of: Loss, into: Parameters) -> Tensor:
        if answers.is_cuda:
            return self._gradients(parameters, questions.pixels, answers, loss_of, into)
        losses = [  # member by member, so that a CPU's cache holds the layers of one and no results are stacked
            self._gradients(_member(parameters, s), questions.pixels[s], answers[s], loss_of, _member(into, s))
            for s in range(len(answers))
        ]
        return torch.stack(losses)  # (S,)

    def _gradients(self, parameters: Parameters, pixels: Tensor, answers: Tensor, loss_of: Loss, into: Parameters) -> Tensor:
        """`gradients` of all members, or of a single member without the axis S. Autograd would take a sixth longer."""
        last = self.depth - 1
        inputs = [pixels]  # (S, n, k), then (S, n, w) for each hidden layer
        for layer in range(last):
            inputs.append(multiply(inputs[-1], parameters[f"weight{layer}"].mT, parameters[f"bias{layer}"], relu=True))
        logits = multiply(inputs[-1], parameters[f"weight{last}"].mT, parameters[f"bias{last}"])  # (S, n, q)
        loss, gradient = loss_of(logits, answers)  # (S,), (S, n, q)
        for layer in reversed(range(self.depth)):
            into[f"weight{layer}"].copy_(weight_gradient(gradient, inputs[layer]))  # (S, width, fan-in)
            torch.sum(gradient, -2, out=into[f"bias{layer}"])  # (S, width)
            if layer:
                gradient = multiply(gradient, parameters[f"weight{layer}"])  # (S, n, w)
                gradient = relu_gradient(gradient, inputs[layer], into=gradient)  # (S, n, w)
        return loss  # (S,)

    @override
    def metrics(self, parameters: Parameters) -> dict[str, Tensor]:
        """`weight_norm` (S, depth): the norm of each layer's weights and biases together."""
        norms = [self._norm(parameters, layer) for layer in range(self.depth)]  # (S,) each
        return {"weight_norm": torch.stack(norms, dim=1)}

    def _norm(self, parameters: Parameters, layer: int) -> Tensor:
        weight, bias = (parameters[f"{kind}{layer}"].flatten(1) for kind in ("weight", "bias"))  # (S, numbers) each
        return (weight.square().sum(1) + bias.square().sum(1)).sqrt()  # (S,)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        return 2 * questions * sum(a * b for a, b in pairwise([self.inputs, *self.feature_dims, num_symbols]))


def _member(parameters: Parameters, member: int) -> Parameters:
    """Views of a single member's parameters."""
    return {name: tensor[member] for name, tensor in parameters.items()}
