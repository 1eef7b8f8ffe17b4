"""The hyperparameters of training: the `[training]` table of a recipe."""

from typing import Annotated

import torch
from pydantic import Field

from baselines.fields import Count, PositiveCount, hyperparameters, one_of
from baselines.training.losses import LOSSES

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}
PER_MEMBER = ("init_scale", "lr", "weight_decay")  # hyperparameters that may differ within a cohort


@hyperparameters
class Training:
    """Hyperparameters of the training.

    Attributes:
        batch_size: the most training questions per step; 0 takes all. At most half of them, as in Power et al.
        loss: `cross_entropy`, `mse` (against one-hot answers) or `stablemax`.
        dtype: `float32`, `float64`, or `tf32`: float32 whose matrix products CUDA may round to TF32.
        seeds_together: the most seeds of a cohort.
        passes_per_step: the most forward-backward passes of an update. Each pass is a step of the clock.
    """

    batch_size: Annotated[Count, Field(description="a whole number of questions, or 0 for all")]
    loss: Annotated[str, one_of(LOSSES)]
    dtype: Annotated[str, one_of(DTYPES)]
    seeds_together: PositiveCount
    passes_per_step: PositiveCount = 1

    def minibatch_size(self, num_train: int) -> int:
        """Training questions per step, of `num_train` in all."""
        return max(1, min(self.batch_size, num_train // 2)) if self.batch_size else num_train
