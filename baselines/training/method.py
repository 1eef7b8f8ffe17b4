"""What an agent does, all of it set: its network, its training, and what becomes of the gradients."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from baselines.networks.network import Network
from baselines.optimizers.gradient_filters import Filter
from baselines.optimizers.muon import MuonSettings
from baselines.training.losses import LOSSES

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
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        sound = (
            ("learning_rate", _is_number(self.learning_rate) and self.learning_rate > 0, "a number above 0"),
            ("weight_decay", _is_number(self.weight_decay) and self.weight_decay >= 0, "a number from 0 up"),
            ("betas", pair and all(_is_number(beta) and 0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)"),
            ("warmup", _is_count(self.warmup), "a whole number of updates"),
            ("batch_size", _is_count(self.batch_size), "a whole number of cells, 0 for all"),
            ("loss", self.loss in LOSSES, f"one of {', '.join(LOSSES)}"),
            ("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
            ("seeds_together", _is_count(self.seeds_together) and self.seeds_together > 0, "a whole number from 1 up"),
        )
        for name, fits, expected in sound:
            if not fits:
                raise ValueError(f"{name} must be {expected}, got {getattr(self, name)!r}")

    def minibatch_size(self, num_train: int) -> int:
        """Training cells per step, of `num_train` in all."""
        return num_train if not self.batch_size else max(1, min(self.batch_size, num_train // 2))


@dataclass(frozen=True)
class Method:
    """A network and its training: by AdamW, or Muon for the matrices if chosen; a filter may change the gradients first."""

    network: Network[Any]
    training: Training
    gradient_filter: Filter | None = None
    muon: MuonSettings | None = None

    def __post_init__(self) -> None:
        if self.muon and not self.network.hidden_weights:
            raise ValueError(f"Muon updates hidden layers' matrices, and {type(self.network).__name__} has none")

    @property
    def shared(self) -> "Method":
        """What all members of a batch have in common."""
        return replace(self, network=_levelled(self.network), training=_levelled(self.training))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _levelled(part: Part) -> Part:
    """`part` without what may differ within a batch."""
    levels = {name: 1.0 for name in PER_MEMBER if hasattr(part, name)}
    return replace(part, **levels) if levels else part  # type: ignore[type-var]
