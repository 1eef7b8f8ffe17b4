"""The check of steps and values."""

import numpy as np
import pytest

from grokbench.analysis.series import checked_series
from grokbench.errors import CurveError


def test_sequences_become_arrays() -> None:
    """Integers become floats."""
    steps, values = checked_series([10, 20], (0, 1), "accuracy")
    assert steps.dtype == values.dtype == np.float64
    assert (steps.tolist(), values.tolist()) == ([10, 20], [0, 1])


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        ([], [], "one length, at least 1"),
        ([10, 20], [0.1], r"one length.*shapes \(2,\) and \(1,\)"),
        ([[10, 20]], [[0.1, 0.2]], "one-dimensional"),
        ([10, 20], [0.1, np.nan], "finite: drop the exams after the run diverged"),
        ([10, np.inf], [0.1, 0.2], "finite"),
        ([20, 10], [0.1, 0.2], "rising"),
        ([10, 10], [0.1, 0.2], "rising"),
        ([0, 10], [0.1, 0.2], "positive"),
    ],
)
def test_bad_curves_are_refused(steps: list[float], values: list[float], message: str) -> None:
    """The error says what was expected."""
    with pytest.raises(CurveError, match=message):
        checked_series(steps, values, "accuracy")


def test_the_error_names_the_values() -> None:
    """A caller with two curves sees which is wrong."""
    with pytest.raises(CurveError, match="train accuracy"):
        checked_series([10], [np.nan], "train accuracy")
