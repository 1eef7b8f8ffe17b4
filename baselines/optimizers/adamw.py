"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for S independent members, whose parameters are rows of one buffer.

torch's fused update reads memory once, however many parameters there are. The step count is a tensor on the device, so that a
CUDA graph can capture the update.

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim.adamw import adamw

ADAM_EPSILON = 1e-8


class AdamW:
    """AdamW with decoupled weight decay on every parameter. The learning rate rises linearly over the first `warmup` steps.

    Attributes:
        values: the parameters, (S, P); updated in place.
        rates_and_decays: learning rate and weight decay of every member, (S, 2).
        updates: the number of steps taken, (S,), the same for all members.
    """

    def __init__(
        self, values: Tensor, *, rates: Sequence[float], decays: Sequence[float], betas: tuple[float, float], warmup: int
    ) -> None:
        self.values = values
        self.rates_and_decays = torch.tensor([rates, decays], dtype=torch.float64, device=values.device).T  # (S, 2)
        self.betas, self.warmup = betas, max(warmup, 1)
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)  # (S, P)
        self.updates = torch.zeros(len(values), device=values.device)  # (S,)
        self._group()

    def _group(self) -> None:
        """Collect members with the same learning rate and weight decay, which are updated by one call."""
        self._groups: dict[tuple[float, float], list[int]] = {}
        for member, (rate, decay) in enumerate(self.rates_and_decays.tolist()):
            self._groups.setdefault((rate, decay), []).append(member)

    def step(self, gradients: Tensor) -> None:
        """Take a step along `gradients` (S, P)."""
        warm = self.warm(self.updates[0] + 1)  # ()
        for (rate, decay), members in self._groups.items():
            rows = partial(_rows, members=members)
            adamw(
                rows(self.values),
                rows(gradients),
                rows(self.mean),
                rows(self.square),
                [],  # the largest squares, which only AMSGrad has
                rows(self.updates),
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=rate * warm,
                weight_decay=decay,
                eps=ADAM_EPSILON,
                maximize=False,
            )

    def warm(self, updates: Tensor) -> Tensor:
        """The part of the learning rate that step number `updates` () has: rises to 1 during warm-up, ()."""
        # The fused update reads the learning rate as float32 on CUDA, and as float64 on CPU.
        precise = updates if updates.is_cuda else updates.double()
        return (precise / self.warmup).clamp(max=1.0)

    def state(self) -> dict[str, Tensor]:
        """The buffers of everything that changes, parameters included. They aren't copied."""
        return {"values": self.values, "mean": self.mean, "square": self.square, "updates": self.updates}

    def take_members(self, indices: Tensor) -> None:
        """Continue with these members alone, `indices` (s,)."""
        for name in ("values", "mean", "square", "updates", "rates_and_decays"):
            setattr(self, name, getattr(self, name).index_select(0, indices))
        self._group()


def _rows(tensor: Tensor, members: Sequence[int]) -> list[Tensor]:
    """Views of these members' rows."""
    return [tensor[member] for member in members]
