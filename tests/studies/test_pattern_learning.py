"""The statements about pattern learning: the toy model, and fits to made-up runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grokbench.analysis.curves import Curves
from grokbench.analysis.patterns import DOUBLE_DESCENT
from grokbench.studies import pattern_learning
from grokbench.studies.pattern_learning import FitQuality, PatternOrder, PatternSpeeds, ToyDoubleDescent, ToyGrokking
from grokbench.studies.settings import Baseline
from grokbench.studies.statements import Share
from tests.support.curves import LATE, make_curves
from tests.support.figures import x_of, y_of
from tests.support.tables import table_rows

SETTING = Baseline("add_mod47-0.7", "mlp")


def test_the_toy_model_does_what_the_paper_shows() -> None:
    """Whatever real runs do."""
    first, second, *others = pattern_learning.statements({})
    assert (first.conclusion, second.conclusion) == ("reproduced", "reproduced")
    assert {statement.conclusion for statement in others} == {"not tested at this scale"}


def test_the_toy_model_is_that_of_the_committed_report() -> None:
    """The published parameters, and what the report says about them, haven't changed."""
    report = (Path(__file__).parents[2] / "docs" / "studies" / "pattern-learning" / "README.md").read_text(encoding="utf-8")
    _, descent, grokking, *_ = table_rows(report)
    assert descent[2] == str(ToyDoubleDescent.measure())
    assert grokking[2] == str(ToyGrokking.measure())


def test_a_toy_double_descent_falls_and_rises_clearly() -> None:
    """By more than 0.05 on both sides of the trough."""
    curve = ToyDoubleDescent.measure()
    assert curve.trough < 0.4 < curve.end < 0.5 < curve.peak
    assert not ToyDoubleDescent(peak_time=40, peak=0.5, trough_time=90, trough=0.46, end=0.9).holds
    assert not ToyDoubleDescent(peak_time=40, peak=0.5, trough_time=90, trough=0.3, end=0.33).holds


@pytest.mark.parametrize(("half_generalized", "holds"), [(159, False), (160, True)])
def test_toy_grokking_takes_twice_as_long(half_generalized: float, holds: bool) -> None:
    """As long as memorizing."""
    assert ToyGrokking(memorized=80, half_generalized=half_generalized).holds == holds


def test_a_late_run_memorizes_first() -> None:
    """Its first pattern memorizes, its preferred pattern generalizes later."""
    curves: dict[Any, list[Curves]] = {SETTING: [make_curves(SETTING, LATE)]}
    order = PatternOrder.measure(curves)
    assert order.memorizes_first == Share(1, 1)
    assert order.generalizes_partly == 0
    (ratio,) = order.ratios
    assert ratio > 5
    assert PatternSpeeds.measure(curves).slower.total == 1
    assert FitQuality.measure(curves).good == Share(1, 1)
    header, row = table_rows(pattern_learning.tables(curves)[1])
    table = dict(zip(header, row, strict=True))
    assert table["task"] == "add_mod47-0.7-v1"
    assert table["first: generalization"].startswith("0.1")
    assert table["preferred: generalization"].startswith("0.9")


def test_the_words_of_the_measurements() -> None:
    """As the report has them."""
    order = PatternOrder(Share(2, 3), generalizes_partly=1, ratios=[2.0, 4.0])
    assert str(order) == "2 of 3 runs; in 1 the first one generalizes partly; half-learned ×3.0 (2.0–4.0) later"
    assert str(FitQuality([0.01, 0.03, 0.08])) == "2 of 3 runs within 5% RMSE, 4.0% in the mean"


def test_the_toy_figure() -> None:
    """Three patterns and two accuracies in each panel."""
    left, right = pattern_learning.toy_figure().axes
    labels = ["pattern 1", "pattern 2", "pattern 3", "train", "held out"]
    for axes in (left, right):
        assert [line.get_label() for line in axes.lines] == labels
    assert np.allclose(y_of(left.lines[-1]), DOUBLE_DESCENT.held_out_accuracy(x_of(left.lines[-1])))


def test_the_fits_figure() -> None:
    """Points of the run, and lines of the fit that lie near them."""
    run = make_curves(SETTING, LATE, seed=3)
    (axes,) = pattern_learning.fits_figure({SETTING: [run]}).axes
    assert axes.get_title() == "add_mod47-0.7-v1, mlp, seed 3"
    _, held_out, _, fitted = axes.lines
    assert np.allclose(y_of(held_out), run.held_out)
    assert np.abs(y_of(fitted) - y_of(held_out)).max() < 0.15
