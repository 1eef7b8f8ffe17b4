"""Omnigrok's statements on made-up runs, and its figure."""

from typing import Any

import numpy as np
import pytest

from grokbench.analysis.curves import Curves
from grokbench.studies import omnigrok
from grokbench.studies.omnigrok import AtOnce, NormAtGeneralization, PublishedExponent, TimeExponent
from grokbench.studies.settings import CurvesBySetting, Deep
from grokbench.studies.statements import Share
from tests.support.curves import FIRST_STEP, LATE, NEVER, Shape, make_curves
from tests.support.figures import x_of, y_of

TASK = "mnist5k-n1000"


def grok_at(step: float) -> Shape:
    """Held-out accuracy rises to a half at this step, on a curve of 25 points."""
    log_steps = np.linspace(np.log10(FIRST_STEP), np.log10(20_000), 25)
    held_out = 0.1 + 0.8 / (1 + np.exp(-12 * (log_steps - np.log10(step))))
    return Shape(train=[0.1] + [1.0] * 24, held_out=held_out.tolist(), rank=[50] * 25)


def with_exponent(exponent: float) -> dict[Any, list[Curves]]:
    """Runs at α = 8 whose time to generalize is proportional to γ to this power."""
    settings = [Deep(TASK, 3, 8.0, decay) for decay in omnigrok.DIGITS_DECAYS]
    return {
        setting: [make_curves(setting, grok_at(2_000 * (setting.decay / 0.05) ** exponent), seed=seed) for seed in (0, 1)]
        for setting in settings
    }


@pytest.fixture(scope="module")
def inverse() -> CurvesBySetting:
    """Times that go as 1/γ."""
    return with_exponent(-1.0)


def test_times_that_go_as_the_inverse_reproduce_the_law(inverse: CurvesBySetting) -> None:
    """They fall, too; nothing ran at the usual initialization."""
    conclusion_of = {statement.text: statement.conclusion for statement in omnigrok.statements(inverse)}
    assert conclusion_of["the time to generalize falls with the weight decay"] == "reproduced"
    assert conclusion_of["the time to generalize goes as t ∝ 1/γ (App. C has α = 9, γ from .1 to 1)"] == "reproduced"
    assert conclusion_of["the usual initialization (α = 1) generalizes at once"] == "not tested at this scale"


@pytest.mark.parametrize("exponent", [0.0, -0.5])
def test_the_exponent_is_measured(exponent: float) -> None:
    """To the gap between exams, about 2 % of the step."""
    measurement = TimeExponent.measure(with_exponent(exponent))
    assert measurement is not None
    assert measurement.exponent == pytest.approx(exponent, abs=0.05)
    assert measurement.low <= measurement.exponent <= measurement.high
    assert list(measurement.decays) == list(omnigrok.DIGITS_DECAYS)


@pytest.mark.parametrize(
    ("low", "high", "falls", "inverse"),
    [(-0.80, -0.76, True, False), (-1.06, -0.97, True, True), (-0.96, -0.94, True, True), (-0.1, 0.1, False, False)],
)
def test_the_interval_decides(low: float, high: float, falls: bool, inverse: bool) -> None:
    """The time falls if the whole interval is below 0; the law needs an interval that comes within 0.05 of −1."""
    numbers = ((low + high) / 2, low, high, omnigrok.DIGITS_DECAYS)
    assert TimeExponent(*numbers).holds == falls
    assert PublishedExponent(*numbers).holds == inverse


def test_an_exponent_needs_three_decays() -> None:
    """Runs that never reach half of the answers give no time."""
    settings = [Deep(TASK, 3, 8.0, decay) for decay in omnigrok.DIGITS_DECAYS]
    curves = {setting: [make_curves(setting, LATE if i < 2 else NEVER)] for i, setting in enumerate(settings)}
    assert TimeExponent.measure(curves) is None


def test_runs_at_once_name_the_delays_of_the_others() -> None:
    """If there are any."""
    assert str(AtOnce(Share(2, 2), [])) == "2 of 2 runs at once"
    assert str(AtOnce(Share(1, 2), [4.0])) == "1 of 2 runs at once, delay ×4.0 (4.0–4.0)"


def test_the_norm_halfway() -> None:
    """The made-up norms are 10 / (1 + exam), 1 and 1."""
    setting = Deep(TASK, 3, 8.0, 0.1)
    run = make_curves(setting, LATE)
    measurement = NormAtGeneralization.measure({setting: [run]})
    assert measurement is not None
    exam = run.steps.tolist().index(run.halfway_step)
    assert measurement.ratios == pytest.approx([np.hypot(10 / (1 + exam), np.sqrt(2)) / np.hypot(10, np.sqrt(2))])
    assert measurement.holds
    assert not NormAtGeneralization([0.5, 1.1]).holds


def test_the_figure_shows_accuracies_and_the_law(inverse: CurvesBySetting) -> None:
    """A panel for each γ; then the time of every run, and a line that falls as 1/γ."""
    (figure,) = omnigrok.figures(inverse).values()
    *accuracies, times = figure.axes
    assert [axes.get_title() for axes in accuracies] == [f"α = 8, γ = {decay}" for decay in omnigrok.DIGITS_DECAYS]
    runs, law = times.lines
    assert x_of(runs).tolist() == [decay for decay in omnigrok.DIGITS_DECAYS for _ in range(2)]
    assert np.allclose(y_of(runs), 100 / x_of(runs), rtol=0.06)
    assert np.allclose(y_of(law) * x_of(law), y_of(law)[0] * x_of(law)[0])
    assert (times.get_xlabel(), times.get_ylabel()) == ("weight decay γ", "step with 50% held out")
