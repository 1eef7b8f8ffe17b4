"""Averages of the weights over the updates.

Shapes: S members, P numbers in a member's row.
"""

from torch import Tensor

from baselines.fields import Fraction, hyperparameters


@hyperparameters
class Average:
    """A running average of the weights, which answers the exams: (1 − decay) · weights + decay · average.

    It starts from the initial weights.

    Attributes:
        decay: the share of the average that each update keeps.
    """

    decay: Fraction

    def apply(self, average: Tensor, values: Tensor) -> None:
        """Update `average` (S, P) in place after an update has led to `values` (S, P)."""
        average.lerp_(values.detach(), 1 - self.decay)
