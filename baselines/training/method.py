"""What a baseline does: its network, its training, and how gradients become steps."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field

from baselines.hyperparameters import Count, Fraction, NonNegative, Positive, PositiveCount, check, hyperparameters, one_of
from baselines.networks.network import Network
from baselines.optimizers.gradient_filters import Filter
from baselines.optimizers.muon import MuonSettings
from baselines.training.losses import LOSSES

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}
PER_MEMBER = ("init_scale", "learning_rate", "weight_decay")  # hyperparameters that may differ within a cohort

Part = TypeVar("Part")


@hyperparameters
class Training:
    """Hyperparameters of the training.

    Attributes:
        learning_rate: AdamW's learning rate after warm-up.
        weight_decay: AdamW's decoupled weight decay, on every parameter.
        betas: AdamW's averaging rates of the gradient and of its square.
        warmup: steps over which the learning rate rises linearly.
        batch_size: the most training questions per step; 0 takes all. At most half of them, as in Power et al.
        loss: `cross_entropy`, `mse` (against one-hot answers) or `stablemax`.
        dtype: `float32`, `float64`, or `tf32`: float32 whose matrix products CUDA may round to TF32.
        seeds_together: the most seeds of a cohort.
    """

    learning_rate: Positive
    weight_decay: NonNegative
    betas: Annotated[tuple[Fraction, Fraction], Field(description="two numbers in [0, 1)")]
    warmup: Annotated[Count, Field(description="a whole number of steps from 0 up")]
    batch_size: Annotated[Count, Field(description="a whole number of questions, or 0 for all")]
    loss: Annotated[str, one_of(LOSSES)]
    dtype: Annotated[str, one_of(DTYPES)]
    seeds_together: PositiveCount

    def minibatch_size(self, num_train: int) -> int:
        """Training questions per step, of `num_train` in all."""
        return max(1, min(self.batch_size, num_train // 2)) if self.batch_size else num_train


@dataclass(frozen=True)
class Method:
    """A network and its training.

    Attributes:
        network: the network.
        training: its hyperparameters.
        gradient_filter: changes the gradients before the optimizer takes them.
        muon: updates the hidden layers' matrices by Muon. Without it AdamW updates every parameter.

    Raises:
        RecipeError: Muon for a network without hidden matrices.
    """

    network: Network[Any]
    training: Training
    gradient_filter: Filter | None = None
    muon: MuonSettings | None = None

    def __post_init__(self) -> None:
        name = type(self.network).__name__
        has_matrices = self.muon is None or bool(self.network.hidden_weights)
        check(has_matrices, f"Muon updates the matrices of hidden layers, and {name} has none: leave out [muon]")

    @property
    def shared(self) -> "Method":
        """The method with equal values for the hyperparameters that may differ within a cohort."""
        return replace(self, network=_without_differences(self.network), training=_without_differences(self.training))


def _without_differences(part: Part) -> Part:
    equal = {name: 1.0 for name in PER_MEMBER if hasattr(part, name)}
    return replace(part, **equal) if equal else part  # type: ignore[type-var]
