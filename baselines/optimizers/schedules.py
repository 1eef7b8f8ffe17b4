"""Schedules of the learning rate, in absolute steps: a factor on the optimizer's own learning rate.

Every schedule rises linearly from 0 to the peak over the first `warmup` steps.
"""

import math
from functools import lru_cache
from typing import Annotated, Protocol

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from baselines.fields import Count, PositiveCount, check, hyperparameters

Steps = Annotated[Count, Field(description="a whole number of steps from 0 up")]
BLOCK = 1_000  # steps whose factors are computed together

FinalShare = Annotated[float, Field(ge=0, le=1, description="a number in [0, 1]")]


class Schedule(Protocol):
    """The learning rate over steps, as a factor on its peak."""

    warmup: int

    def factor(self, steps: Tensor) -> Tensor:
        """The factor at each of these `steps`, counted from 1, in any shape. It asks the host for nothing."""

    @property
    def changes(self) -> bool:
        """Whether the factor is ever other than 1."""
        return True

    def at(self, step: int) -> float:
        """The factor at a step, counted from 1."""
        return _factors(self, step // BLOCK)[step % BLOCK]  # type: ignore[arg-type]  # every schedule is frozen


@lru_cache(maxsize=8)
def _factors(schedule: Schedule, block: int) -> list[float]:
    """The factors of so many steps at once. One at a time costs four small calls of torch in every step."""
    first = block * BLOCK
    factors: list[float] = schedule.factor(torch.arange(first, first + BLOCK, dtype=torch.float64)).tolist()
    return factors


def warm(steps: Tensor, warmup: int) -> Tensor:
    """The part of the learning rate that `steps` have during warm-up: rises to 1."""
    return (steps / max(warmup, 1)).clamp(max=1.0)


@hyperparameters
class Constant(Schedule):
    """Constant after warm-up.

    Attributes:
        warmup: steps over which the learning rate rises linearly.
    """

    warmup: Steps

    @property
    @override
    def changes(self) -> bool:
        return self.warmup > 1

    @override
    def factor(self, steps: Tensor) -> Tensor:
        return warm(steps, self.warmup)


@hyperparameters
class Linear(Schedule):
    """Falls linearly after warm-up.

    Attributes:
        warmup: steps over which the learning rate rises linearly.
        steps: the step at which the learning rate reaches `final`, where it stays.
        final: the share of the peak at the end.
    """

    warmup: Steps
    steps: PositiveCount
    final: FinalShare = 0.1

    def __post_init__(self) -> None:
        check(self.steps > self.warmup, f"[schedule] steps must be above warmup = {self.warmup}, got {self.steps}")

    @override
    def factor(self, steps: Tensor) -> Tensor:
        progress = ((steps - self.warmup) / (self.steps - self.warmup)).clamp(0.0, 1.0)
        return warm(steps, self.warmup) * (1 - (1 - self.final) * self.fallen(progress))

    def fallen(self, progress: Tensor) -> Tensor:
        """The share of the fall that lies behind at `progress` in [0, 1]."""
        return progress


@hyperparameters
class Cosine(Linear):
    """Falls along half a cosine after warm-up; see `Linear`."""

    @override
    def fallen(self, progress: Tensor) -> Tensor:
        return (1 - (progress * math.pi).cos()) / 2


SCHEDULES: dict[str, type[Constant] | type[Linear]] = {"constant": Constant, "linear": Linear, "cosine": Cosine}
