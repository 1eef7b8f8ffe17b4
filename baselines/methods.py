"""What an agent does, all of it set: its network, its training, and what becomes of the gradients."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from baselines.filters import Filter
from baselines.losses import LOSSES
from baselines.muon import MuonSettings
from baselines.networks import Network

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}
PER_MEMBER = ("init_scale", "learning_rate", "weight_decay")  # hyperparameters that may differ within a batch

Part = TypeVar("Part")


@dataclass(frozen=True)
class Training:
    """Hyperparameters of the training.

    Attributes:
        learning_rate: AdamW's step size after warm-up.
        weight_decay: AdamW's decoupled decay, on every parameter.
        betas: AdamW's two averaging rates.
        warmup: updates over which the learning rate rises linearly.
        batch_size: most training cells per step; 0 takes all. At most half of the training cells (Power et al.).
        loss: `cross_entropy`, `mse` (against one-hot answers) or `stablemax`.
        dtype: `float32`, `float64`, or `tf32`: float32 whose matrix products CUDA may round to TF32.
        seeds_together: most seeds trained as one batch.
    """

    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: int
    batch_size: int
    loss: str
    dtype: str
    seeds_together: int

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    def batch(self, cells: int) -> int:
        """Training cells per step, of `cells` in all."""
        return cells if not self.batch_size else max(1, min(self.batch_size, cells // 2))


@dataclass(frozen=True)
class Method:
    """A network and its training: by AdamW, or Muon for the matrices if chosen; a filter may change the gradients first."""

    network: Network[Any]
    training: Training
    gradient_filter: Filter | None = None
    muon: MuonSettings | None = None

    def __post_init__(self) -> None:
        if self.muon and not self.network.matrices:
            raise ValueError(f"Muon updates hidden layers' matrices, and {type(self.network).__name__} has none")

    @property
    def shared(self) -> "Method":
        """What all members of a batch have in common."""
        return replace(self, network=_levelled(self.network), training=_levelled(self.training))


def _levelled(part: Part) -> Part:
    """`part` without what may differ within a batch."""
    levels = {name: 1.0 for name in PER_MEMBER if hasattr(part, name)}
    return replace(part, **levels) if levels else part  # type: ignore[type-var]
