"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for S independent members, whose parameters are rows of one buffer.

torch's fused update reads memory once, however many parameters there are. The step count is a tensor on the device, so that a
CUDA graph can capture the update.

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from baselines.fields import Fraction, NonNegative, Positive, hyperparameters
from baselines.networks.network import Network
from baselines.optimizers.layout import Layout
from baselines.optimizers.optimizer import CohortOptimizer, Settings
from baselines.optimizers.schedules import Schedule

Betas = Annotated[tuple[Fraction, Fraction], Field(description="two numbers in [0, 1)")]


@hyperparameters
class AdamWSettings(Settings):
    """Hyperparameters of AdamW, with the names of `torch.optim.AdamW`.

    Attributes:
        lr: learning rate after warm-up.
        weight_decay: decoupled weight decay, on every parameter.
        betas: averaging rates of the gradient and of its square.
        eps: added to the root of the average square.
    """

    lr: Positive
    weight_decay: NonNegative
    betas: Betas
    eps: Positive = 1e-8

    @property
    @override
    def shared(self) -> Self:
        return replace(self, lr=1.0, weight_decay=1.0)

    @override
    def start(
        self, members: Sequence[Any], values: Tensor, *, layout: Layout, network: Network[Any], schedule: Schedule
    ) -> "AdamW":
        return AdamW(values, members, schedule)


@dataclass(frozen=True)
class _Group:
    """Members with the same learning rate and weight decay, which one call updates. Their rows are views."""

    lr: float
    weight_decay: float
    members: list[int]
    values: list[Tensor]  # (P,) each
    mean: list[Tensor]  # (P,) each
    square: list[Tensor]  # (P,) each
    updates: list[Tensor]  # () each


class AdamW(CohortOptimizer):
    """AdamW with decoupled weight decay on every parameter. Members may differ in learning rate and weight decay.

    Attributes:
        rates_and_decays: learning rate and weight decay of every member, (S, 2).
        updates: the number of steps taken, (S,), the same for all members.
    """

    def __init__(self, values: Tensor, members: Sequence[AdamWSettings], schedule: Schedule) -> None:
        self.values, self.schedule, self.settings = values, schedule, members[0]
        rates, decays = [member.lr for member in members], [member.weight_decay for member in members]
        self.rates_and_decays = torch.tensor([rates, decays], dtype=torch.float64, device=values.device).T  # (S, 2)
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)  # (S, P)
        self.updates = torch.zeros(len(values), device=values.device)  # (S,)
        self._one = torch.ones((), device=values.device)  # (); adding the number 1 takes longer
        self.update_rows_of(values)

    def update_rows_of(self, values: Tensor) -> None:
        """Update the parameters `values` (S, P) from now on."""
        self.values = values
        by_rate_and_decay: dict[tuple[float, float], list[int]] = {}
        for member, (rate, decay) in enumerate(self.rates_and_decays.tolist()):
            by_rate_and_decay.setdefault((rate, decay), []).append(member)
        state = (self.values, self.mean, self.square, self.updates)
        self._groups = [
            _Group(rate, decay, members, *(_rows(tensor, members) for tensor in state))
            for (rate, decay), members in by_rate_and_decay.items()
        ]

    @override
    def step(self, gradients: Tensor) -> None:
        updates = self.updates.add_(self._one)[0]  # ()
        factor = self._factor(updates)  # () or a number
        for group in self._groups:
            # What `torch.optim.AdamW(fused=True)` calls, after a check of its lists that takes as long as a small update.
            torch._fused_adamw_(
                group.values,
                _rows(gradients, group.members),
                group.mean,
                group.square,
                [],  # the largest squares, which only AMSGrad has
                group.updates,
                lr=group.lr * factor,
                beta1=self.settings.betas[0],
                beta2=self.settings.betas[1],
                weight_decay=group.weight_decay,
                eps=self.settings.eps,
                amsgrad=False,
                maximize=False,
            )

    def _factor(self, updates: Tensor) -> Tensor | float:
        """The schedule's factor at step number `updates` (). On CUDA a tensor, because a graph repeats the same calls."""
        return self.schedule.factor(updates) if updates.is_cuda else self.schedule.at(int(updates))

    @override
    def state(self) -> dict[str, Tensor]:
        return {"values": self.values, "mean": self.mean, "square": self.square, "updates": self.updates}

    @override
    def take_members(self, indices: Tensor) -> None:
        for name in ("mean", "square", "updates", "rates_and_decays"):
            setattr(self, name, getattr(self, name).index_select(0, indices))
        self.update_rows_of(self.values.index_select(0, indices))


def _rows(tensor: Tensor, members: Sequence[int]) -> list[Tensor]:
    """Views of these members' rows."""
    return [tensor[member] for member in members]
