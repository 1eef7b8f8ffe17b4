"""The interface of an optimizer of S members, whose parameters are rows of one buffer, and of its hyperparameters.

Shapes: S members, P numbers in a member's row.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self

from torch import Tensor

from baselines.networks.network import Network
from baselines.optimizers.layout import Layout
from baselines.optimizers.schedules import Schedule


class CohortOptimizer(ABC):
    """Updates the parameters of S independent members.

    Attributes:
        values: the parameters, (S, P); updated in place.
        capturable: whether a CUDA graph can capture `step`.
    """

    values: Tensor
    capturable: bool = True

    @abstractmethod
    def step(self, gradients: Tensor) -> None:
        """Take a step along `gradients` (S, P)."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that changes, parameters included. Tensors aren't copied."""

    @abstractmethod
    def take_members(self, indices: Tensor) -> None:
        """Continue with these members alone, `indices` (s,)."""

    def load_state(self, saved: dict[str, Any]) -> None:
        """Continue from what `state` returned, in the same memory."""
        for name, tensor in self.state().items():
            tensor.copy_(saved[name])

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Within it `values` are the weights that answer an exam. Afterwards they are as before."""
        yield


class Settings(Protocol):
    """The hyperparameters of an optimizer: the `[optimizer]` table of a recipe."""

    @property
    def shared(self) -> Self:
        """The hyperparameters with equal values for those that may differ within a cohort."""

    @property
    def needs_closure(self) -> bool:
        """Whether an update asks for gradients at several points."""
        return False

    def start(
        self, members: Sequence[Any], values: Tensor, *, layout: Layout, network: Network[Any], schedule: Schedule
    ) -> CohortOptimizer:
        """The optimizer of `values` (S, P). `members` are the hyperparameters of each member, of this class."""
