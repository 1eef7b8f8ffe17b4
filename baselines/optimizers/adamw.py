"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for S independent members, whose parameters are rows of one buffer.

torch's fused update goes through memory once, however many parameters there are. The clock lives on the device, so that a CUDA
graph can hold the update.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

EPSILON = 1e-8


class AdamW:
    """Decoupled weight decay on every parameter, the learning rate rising linearly over the first `warmup` updates.

    Attributes:
        values: the parameters, (S, P); updated in place.
        settings: learning rate and weight decay of every member, (S, 2).
        updates: those made so far, (S,), all the same.
    """

    def __init__(
        self, values: Tensor, rates: Sequence[float], decays: Sequence[float], betas: tuple[float, float], warmup: int
    ) -> None:
        self.values = values
        self.settings = torch.tensor([rates, decays], dtype=torch.float64, device=values.device).T
        self.betas, self.warmup = betas, max(warmup, 1)
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)  # (S, P)
        self.updates = torch.zeros(len(values), device=values.device)
        self._group()

    def _group(self) -> None:
        """Members with the same settings are updated together."""
        self._groups: dict[tuple[float, float], list[int]] = {}
        for member, (rate, decay) in enumerate(self.settings.tolist()):
            self._groups.setdefault((rate, decay), []).append(member)

    def step(self, gradients: Tensor) -> None:
        """One update by `gradients` (S, P)."""
        warm = self.warm(self.updates[0] + 1)
        for (rate, decay), members in self._groups.items():
            values, found, mean, square, updates = (
                [x[member] for member in members] for x in (self.values, gradients, self.mean, self.square, self.updates)
            )
            adamw(
                values,
                found,
                mean,
                square,
                [],  # AMSGrad's
                updates,
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=rate * warm,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )

    def warm(self, updates: Tensor) -> Tensor:
        """The share of the learning rate that has been reached after so many updates, ()."""
        # The fused update reads the rate as float32 on CUDA, as float64 elsewhere.
        precise = updates if updates.is_cuda else updates.double()
        return (precise / self.warmup).clamp(max=1.0)

    def state(self) -> dict[str, Tensor]:
        """Everything that changes, the parameters too, as the buffers themselves."""
        return {"values": self.values, "mean": self.mean, "square": self.square, "updates": self.updates}

    def take_members(self, take: Callable[[Tensor], Tensor]) -> None:
        """Go on with the members that `select` leaves of a tensor's first axis."""
        self.values, self.mean, self.square = take(self.values), take(self.mean), take(self.square)
        self.settings, self.updates = take(self.settings), take(self.updates)
        self._group()
