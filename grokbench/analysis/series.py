"""The input of every function here: values of a run at rising steps."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokbench.errors import CurveError

FloatArray = NDArray[np.float64]


def checked_series(steps: ArrayLike, values: ArrayLike, name: str) -> tuple[FloatArray, FloatArray]:
    """Convert steps and values to arrays and check them.

    Args:
        steps: (T,) the steps of the exams, positive and rising.
        values: (T,) the value at each step, finite.
        name: what the values are, for the error messages.

    Returns:
        The steps (T,) and the values (T,).

    Raises:
        CurveError: The shapes differ or are empty, a number isn't finite, or the steps aren't positive and rising.
    """
    step_array, value_array = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if step_array.ndim != 1 or step_array.shape != value_array.shape or not len(step_array):
        raise CurveError(
            f"steps and {name} must be one-dimensional and of one length, at least 1, "
            f"got shapes {step_array.shape} and {value_array.shape}"
        )
    if not (np.isfinite(step_array).all() and np.isfinite(value_array).all()):
        raise CurveError(f"steps and {name} must be finite: drop the exams after the run diverged")
    if step_array[0] <= 0 or (np.diff(step_array) <= 0).any():
        raise CurveError(f"steps must be positive and rising, got {step_array[:5]} …")
    return step_array, value_array
