"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for S members, as `torch.optim.Muon` has it.

The hidden layers' matrices step along their orthogonalized momentum; everything else (embeddings, output, biases) is AdamW's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from baselines.networks.products import multiply
from baselines.optimizers.adamw import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
TINY = 1e-7


@dataclass(frozen=True)
class MuonSettings:
    """Hyperparameters of the matrices' updates; warm-up and the other parameters' are the training's.

    Attributes:
        learning_rate: the step size, times √max(1, fan-out/fan-in).
        weight_decay: decoupled decay.
        momentum: Nesterov's.
    """

    learning_rate: float
    weight_decay: float
    momentum: float


class Muon:
    """Muon on the first columns of `values`, where `matrices` lie, and `rest` on the others.

    Attributes:
        values: the parameters, (S, P); updated in place.
    """

    def __init__(
        self, values: Tensor, matrices: Sequence[tuple[slice, torch.Size]], settings: MuonSettings, rest: AdamW
    ) -> None:
        self.values, self.hidden_weights, self.settings, self.rest = values, matrices, settings, rest
        self.momentum = torch.zeros_like(values[:, : values.shape[1] - rest.values.shape[1]])

    def step(self, gradients: Tensor) -> None:
        """One update by `gradients` (S, P)."""
        total, settings = self.momentum.shape[1], self.settings
        self.rest.step(gradients[:, total:])
        rate = settings.learning_rate * self.rest.warm(self.rest.updates[0]).to(self.values.dtype)
        values = self.values[:, :total]
        self.momentum.lerp_(gradients[:, :total], 1 - settings.momentum)
        update = torch.lerp(gradients[:, :total], self.momentum, settings.momentum)  # (S, total)
        values.mul_(1 - rate * settings.weight_decay)
        for columns, (fan_in, fan_out) in self.hidden_weights:  # torch's are transposed, its rows the outputs
            direction = orthogonalized(update[:, columns].reshape(-1, fan_in, fan_out))
            values[:, columns].sub_(direction.flatten(1) * (rate * sqrt(max(1.0, fan_out / fan_in))))

    def state(self) -> dict[str, Tensor]:
        """Everything that changes, the parameters too, as the buffers themselves."""
        return {**self.rest.state(), "values": self.values, "momentum": self.momentum}

    def take_members(self, take: Callable[[Tensor], Tensor]) -> None:
        """Go on with the members that `select` leaves of a tensor's first axis."""
        self.values, self.momentum = take(self.values), take(self.momentum)
        self.rest.take_members(take)
        self.rest.values = self.values[:, self.momentum.shape[1] :]


def orthogonalized(matrices: Tensor) -> Tensor:
    """About U Vᵀ of every matrix U Σ Vᵀ, by five Newton-Schulz steps: (S, r, c) → (S, r, c)."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=TINY)
    for _ in range(ITERATIONS):
        gram = multiply(x, x.mT)
        x = a * x + multiply(b * gram + c * multiply(gram, gram), x)
    return x.mT if tall else x
