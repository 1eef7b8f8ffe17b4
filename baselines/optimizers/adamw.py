"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for S independent members, whose parameters are rows of one buffer.

torch's fused update reads memory once, however many parameters there are. The step count is a tensor on the device, so that a
CUDA graph can capture the update.

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
        self._group()

    def _group(self) -> None:
        """Collect members with the same learning rate and weight decay, which are updated by one call."""
        self._groups: dict[tuple[float, float], list[int]] = {}
        for member, (rate, decay) in enumerate(self.rates_and_decays.tolist()):
            self._groups.setdefault((rate, decay), []).append(member)

    @override
    def step(self, gradients: Tensor) -> None:
        factor = self.factor(self.updates.add_(1)[0])  # ()
        for (rate, decay), members in self._groups.items():
            rows = partial(_rows, members=members)
            # What `torch.optim.AdamW(fused=True)` calls, after a check of its lists that takes as long as a small update.
            torch._fused_adamw_(
                rows(self.values),
                rows(gradients),
                rows(self.mean),
                rows(self.square),
                [],  # the largest squares, which only AMSGrad has
                rows(self.updates),
                lr=rate * factor,
                beta1=self.settings.betas[0],
                beta2=self.settings.betas[1],
                weight_decay=decay,
                eps=self.settings.eps,
                amsgrad=False,
                maximize=False,
            )

    def factor(self, updates: Tensor) -> Tensor:
        """The schedule's factor on the learning rate at step number `updates` (), ()."""
        # The fused update reads the learning rate as float32 on CUDA, and as float64 on CPU.
        return self.schedule.factor(updates if updates.is_cuda else updates.double())

    @override
    def state(self) -> dict[str, Tensor]:
        return {"values": self.values, "mean": self.mean, "square": self.square, "updates": self.updates}

    @override
    def take_members(self, indices: Tensor) -> None:
        for name in ("values", "mean", "square", "updates", "rates_and_decays"):
            setattr(self, name, getattr(self, name).index_select(0, indices))
        self._group()


def _rows(tensor: Tensor, members: Sequence[int]) -> list[Tensor]:
    """Views of these members' rows."""
    return [tensor[member] for member in members]
