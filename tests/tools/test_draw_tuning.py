"""What tuning buys: the curves of the tuned methods, and whether one setting predicts the order after 32."""

from dataclasses import replace

import numpy as np
import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import COUNTS, Trial, TrialsByPoint, Tuning, expected_steps
from tests.support.entries import make_tuning
from tests.support.tables import table_rows
from tools.draw_tuning import draw, table

TUNING, _ = make_tuning(Space.of(find_recipe("transformer")))


def slower(tuning: Tuning, times: float) -> Tuning:
    """A tuning whose every run took so many times as long."""

    def scaled(trials: TrialsByPoint) -> dict[int, tuple[Trial, ...]]:
        return {point: tuple(replace(trial, time=round(times * trial.time)) for trial in its) for point, its in trials.items()}

    return replace(tuning, search=scaled(tuning.search), final=scaled(tuning.final))


def test_a_row_for_every_method_and_the_rank_correlation() -> None:
    """Methods that differ by a factor have the same order after any number of settings."""
    methods = {"A": TUNING, "B": slower(TUNING, 2), "C": slower(TUNING, 4)}
    _, first, second, third, correlation = table_rows(table(methods))
    assert [row[0] for row in (first, second, third)] == list(methods)
    assert first[2:-1] == [f"{expected_steps(TUNING.sampled, count):,.0f}" for count in COUNTS]
    assert correlation[2:-1] == ["1.00"] * len(COUNTS)


def test_two_methods_have_no_correlation() -> None:
    """It would be 1 or −1."""
    assert len(table_rows(table({"A": TUNING, "B": slower(TUNING, 2)}))) == 3


def test_a_curve_for_every_method() -> None:
    """The expected RMST falls with the number of settings."""
    (axes,) = draw({"A": TUNING, "B": slower(TUNING, 2)}).axes
    assert [line.get_label() for line in axes.get_lines()] == ["A", "B"]
    curves = [np.array(line.get_ydata()) for line in axes.get_lines()]
    assert all((np.diff(curve) <= 0).all() for curve in curves)
    assert curves[0][0] == pytest.approx(expected_steps(TUNING.sampled, 1))
