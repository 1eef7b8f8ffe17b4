"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for S independent members, whose parameters are rows of one buffer.

One buffer instead of a list of parameters: an update is a few passes over contiguous memory however many parameters there
are. The clock and the hyperparameters live on the device, so that a CUDA graph can hold the update.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EPSILON = 1e-8


class AdamW:
    """Decoupled weight decay on every parameter, the learning rate rising linearly over the first `warmup` updates.

    Attributes:
        values: the parameters, (S, P); updated in place.
        rates, decays: learning rate and weight decay of every member, (S, 1), or one for all, ().
    """

    def __init__(
        self, values: Tensor, rates: Sequence[float], decays: Sequence[float], betas: tuple[float, float], warmup: int
    ) -> None:
        self.values = values
        self.rates, self.decays = (_per_member(numbers, values.device) for numbers in (rates, decays))
        self.betas, self.warmup = betas, max(warmup, 1)
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)  # (S, P)
        self.updates = torch.zeros((), dtype=torch.float64, device=values.device)

    def step(self, gradients: Tensor) -> None:
        """One update by `gradients` (S, P), as torch.optim.AdamW makes it."""
        (beta1, beta2), updates = self.betas, self.updates.add_(1)
        rate = self.rates * (updates / self.warmup).clamp(max=1.0)
        self.mean.lerp_(gradients, 1 - beta1)
        self.square.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        # values ← (1 − rate · decay) values − rate · (mean / (1 − β₁ᵗ)) / (√(square / (1 − β₂ᵗ)) + ε), the corrections moved
        # into one number.
        root = (1 - beta2**updates).sqrt()
        move = (rate * root / (1 - beta1**updates)).to(self.values.dtype)
        denominator = self.square.sqrt().add_((EPSILON * root).to(self.values.dtype)).div_(move)
        self.values.mul_((1 - rate * self.decays).to(self.values.dtype)).addcdiv_(self.mean, denominator, value=-1)

    def state(self) -> dict[str, Tensor]:
        """Everything that changes, the parameters too, as the buffers themselves."""
        return {"values": self.values, "mean": self.mean, "square": self.square, "updates": self.updates}

    def select(self, select: Callable[[Tensor], Tensor]) -> None:
        """Go on with the members that `select` leaves of a tensor's first axis."""
        self.values, self.mean, self.square = select(self.values), select(self.mean), select(self.square)
        self.rates, self.decays = (select(x) if x.ndim else x for x in (self.rates, self.decays))


def _per_member(numbers: Sequence[float], device: torch.device) -> Tensor:
    """(S, 1), or () where all are the same, in float64."""
    same = len(set(numbers)) == 1
    return torch.tensor(numbers[0] if same else [[x] for x in numbers], dtype=torch.float64, device=device)
