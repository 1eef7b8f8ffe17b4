"""The hyperparameters of training: the `[training]` table of a recipe."""

from typing import Annotated

import torch
from pydantic import Field

from baselines.fields import Count, Fraction, NonNegative, Positive, PositiveCount, hyperparameters, one_of
from baselines.training.losses import LOSSES

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}
PER_MEMBER = ("init_scale", "learning_rate", "weight_decay")  # hyperparameters that may differ within a cohort


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
