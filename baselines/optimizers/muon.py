"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for S independent members, as in `torch.optim.Muon`.

The matrices of hidden layers step along their orthogonalized momentum. AdamW updates embeddings, output matrices and biases.

Shapes: S members, P numbers in a member's row, M numbers in its hidden matrices.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from baselines.fields import Fraction, NonNegative, Positive, hyperparameters
from baselines.networks.network import Network
from baselines.networks.products import multiply
from baselines.optimizers.adamw import AdamW, AdamWSettings, Betas
from baselines.optimizers.layout import Layout
from baselines.optimizers.optimizer import CohortOptimizer, Settings
from baselines.optimizers.schedules import Schedule

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SMALLEST_NORM = 1e-7


@hyperparameters
class MuonSettings(Settings):
    """Hyperparameters of the hidden matrices' updates, and of AdamW for the other parameters.

    Attributes:
        lr: the step size; each matrix multiplies it by √max(1, fan-out/fan-in).
        weight_decay: decoupled weight decay.
        momentum: Nesterov momentum.
        adamw_lr: AdamW's learning rate.
        adamw_weight_decay: AdamW's weight decay.
        adamw_betas: AdamW's averaging rates.
    """

    lr: Positive
    weight_decay: NonNegative
    momentum: Fraction
    adamw_lr: Positive
    adamw_weight_decay: NonNegative
    adamw_betas: Betas

    @property
    @override
    def shared(self) -> Self:
        return self

    @property
    def adamw(self) -> AdamWSettings:
        """The hyperparameters of the parameters that aren't hidden matrices."""
        return AdamWSettings(lr=self.adamw_lr, weight_decay=self.adamw_weight_decay, betas=self.adamw_betas)

    @override
    def start(
        self, members: Sequence[Any], values: Tensor, *, layout: Layout, network: Network[Any], schedule: Schedule
    ) -> "Muon":
        hidden = network.hidden_weights
        adamw = AdamW(values[:, layout.columns[hidden[-1]].stop :], [member.adamw for member in members], schedule)
        matrices = [(layout.columns[name], layout.shapes[name]) for name in hidden]
        return Muon(values, matrices=matrices, settings=self, adamw=adamw)


class Muon(CohortOptimizer):
    """Muon on the first M columns of `values`, and AdamW on the others.

    Attributes:
        matrices: for each hidden matrix its columns and its shape (fan-in, fan-out).
        adamw: the optimizer of columns M to P.
    """

    def __init__(
        self, values: Tensor, *, matrices: Sequence[tuple[slice, torch.Size]], settings: MuonSettings, adamw: AdamW
    ) -> None:
        self.values, self.matrices, self.settings, self.adamw = values, matrices, settings, adamw
        self.momentum = torch.zeros_like(values[:, : values.shape[1] - adamw.values.shape[1]])  # (S, M)

    @override
    def step(self, gradients: Tensor) -> None:
        hidden, settings = self.momentum.shape[1], self.settings
        self.adamw.step(gradients[:, hidden:])
        rate = settings.lr * self.adamw.schedule.factor(self.adamw.updates[0]).to(self.values.dtype)  # ()
        values = self.values[:, :hidden]  # (S, M)
        self.momentum.lerp_(gradients[:, :hidden], 1 - settings.momentum)  # (S, M)
        update = torch.lerp(gradients[:, :hidden], self.momentum, settings.momentum)  # (S, M)
        values.mul_(1 - rate * settings.weight_decay)
        for columns, (fan_in, fan_out) in self.matrices:
            direction = orthogonalized(update[:, columns].reshape(-1, fan_in, fan_out))  # (S, fan-in, fan-out)
            values[:, columns].sub_(direction.flatten(1) * (rate * sqrt(max(1.0, fan_out / fan_in))))

    @override
    def state(self) -> dict[str, Tensor]:
        return {**self.adamw.state(), "values": self.values, "momentum": self.momentum}

    @override
    def take_members(self, indices: Tensor) -> None:
        self.values, self.momentum = self.values.index_select(0, indices), self.momentum.index_select(0, indices)
        self.adamw.take_members(indices)
        self.adamw.update_rows_of(self.values[:, self.momentum.shape[1] :])  # a view again, (S, P − M)


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
