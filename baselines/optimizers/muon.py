"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for S independent members, as in `torch.optim.Muon`.

The matrices of hidden layers step along their orthogonalized momentum. AdamW updates embeddings, output matrices and biases.

Shapes: S members, P numbers in a member's row, M numbers in its hidden matrices.
"""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from baselines.fields import Fraction, NonNegative, Positive, hyperparameters
from baselines.networks.products import multiply
from baselines.optimizers.adamw import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SMALLEST_NORM = 1e-7


@hyperparameters
class MuonSettings:
    """Hyperparameters of the hidden matrices' updates. Warm-up is that of `Training`.

    Attributes:
        learning_rate: the step size; each matrix multiplies it by √max(1, fan-out/fan-in).
        weight_decay: decoupled weight decay.
        momentum: Nesterov momentum.
    """

    learning_rate: Positive
    weight_decay: NonNegative
    momentum: Fraction


class Muon:
    """Muon on the first M columns of `values`, and AdamW on the others.

    Attributes:
        values: the parameters, (S, P); updated in place.
        matrices: for each hidden matrix its columns and its shape (fan-in, fan-out).
        adamw: the optimizer of columns M to P.
    """

    def __init__(
        self, values: Tensor, *, matrices: Sequence[tuple[slice, torch.Size]], settings: MuonSettings, adamw: AdamW
    ) -> None:
        self.values, self.matrices, self.settings, self.adamw = values, matrices, settings, adamw
        self.momentum = torch.zeros_like(values[:, : values.shape[1] - adamw.values.shape[1]])  # (S, M)

    def step(self, gradients: Tensor) -> None:
        """Take a step along `gradients` (S, P)."""
        hidden, settings = self.momentum.shape[1], self.settings
        self.adamw.step(gradients[:, hidden:])
        rate = settings.learning_rate * self.adamw.warm(self.adamw.updates[0]).to(self.values.dtype)  # ()
        values = self.values[:, :hidden]  # (S, M)
        self.momentum.lerp_(gradients[:, :hidden], 1 - settings.momentum)  # (S, M)
        update = torch.lerp(gradients[:, :hidden], self.momentum, settings.momentum)  # (S, M)
        values.mul_(1 - rate * settings.weight_decay)
        for columns, (fan_in, fan_out) in self.matrices:
            direction = orthogonalized(update[:, columns].reshape(-1, fan_in, fan_out))  # (S, fan-in, fan-out)
            values[:, columns].sub_(direction.flatten(1) * (rate * sqrt(max(1.0, fan_out / fan_in))))

    def state(self) -> dict[str, Tensor]:
        """The buffers of everything that changes, parameters included. They aren't copied."""
        return {**self.adamw.state(), "values": self.values, "momentum": self.momentum}

    def take_members(self, indices: Tensor) -> None:
        """Continue with these members alone, `indices` (s,)."""
        self.values, self.momentum = self.values.index_select(0, indices), self.momentum.index_select(0, indices)
        self.adamw.take_members(indices)
        self.adamw.values = self.values[:, self.momentum.shape[1] :]  # a view again, (S, P − M)


def orthogonalized(matrices: Tensor) -> Tensor:
    """U Vᵀ of every matrix U Σ Vᵀ, approximately, by five Newton-Schulz steps: (S, r, c) → (S, r, c)."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices  # (S, r, c) with r ≤ c
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=SMALLEST_NORM)  # (S, r, c)
    for _ in range(ITERATIONS):
        gram = multiply(x, x.mT)  # (S, r, r)
        x = a * x + multiply(b * gram + c * multiply(gram, gram), x)  # (S, r, c)
    return x.mT if tall else x
