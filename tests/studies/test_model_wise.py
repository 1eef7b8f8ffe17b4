"""The statements about grokking as the model grows, on made-up rows of widths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from grokbench.analysis.curves import Curves
from grokbench.studies import model_wise
from grokbench.studies.model_wise import FittingWidths, HeldOutJump
from grokbench.studies.settings import Wide
from tests.support.curves import LATE, NEVER, UNFITTED, Shape, make_curves
from tests.support.figures import x_of, y_of
from tests.support.tables import table_rows

JUMPING = {2: UNFITTED, 4: NEVER, 8: NEVER, 16: LATE, 32: LATE}


def by_width(shapes: Mapping[int, Shape], *, decay: float = 1.0) -> dict[Any, list[Curves]]:
    """A run of each width."""
    settings = {Wide("div_mod23-0.7", width, 1, decay, steps=500): shape for width, shape in shapes.items()}
    return {setting: [make_curves(setting, shape)] for setting, shape in settings.items()}


def test_a_jump_after_the_first_fit_is_grokking_over_the_model() -> None:
    """Widths that fit first don't generalize, and larger ones do."""
    fits, jumps, *untested = model_wise.statements(by_width(JUMPING))
    assert (fits.conclusion, jumps.conclusion) == ("reproduced", "reproduced")
    assert str(fits.measurement) == "train accuracy 10% at width 2; all seeds fit from width 4"
    words = "10% at width 4, the smallest that fits; 90% at width 32; largest gain +80% from width 8 to 16"
    assert str(jumps.measurement) == words
    assert {statement.conclusion for statement in untested} == {"not tested at this scale"}


def test_the_order_of_the_runs_does_not_matter() -> None:
    """Settings are sorted by width."""
    backwards = dict(reversed(by_width(JUMPING).items()))
    assert model_wise.statements(backwards) == model_wise.statements(by_width(JUMPING))


def test_every_weight_decay_has_its_own_statements() -> None:
    """From the least."""
    statements = model_wise.statements(by_width(JUMPING, decay=1.0) | by_width(JUMPING, decay=0.3))
    decays = [statement.text.partition("weight decay ")[2] for statement in statements if "weight decay" in statement.text]
    assert decays == ["0.3)", "0.3)", "1)", "1)"]


def test_a_width_fits_if_all_larger_ones_do() -> None:
    """A width that fits by luck below a width that doesn't is no fit."""
    lucky = FittingWidths.measure(by_width({2: UNFITTED, 4: LATE, 8: UNFITTED, 16: LATE}))
    assert lucky.smallest_fit == 16
    assert not FittingWidths.measure(by_width({2: LATE, 4: LATE})).holds


def test_no_width_fits() -> None:
    """Both statements fail, and say so."""
    curves = by_width({2: UNFITTED, 4: UNFITTED})
    fits, jump = FittingWidths.measure(curves), HeldOutJump.measure(curves)
    assert (fits.holds, jump.holds) == (False, False)
    assert (str(fits), str(jump)) == ("no width fits", "no width fits the training data")


def of_two_seeds(shapes: Mapping[int, tuple[Shape, Shape]]) -> dict[Any, list[Curves]]:
    """Two runs of each width."""
    settings = {Wide("div_mod23-0.7", width, 1, 1.0, steps=500): pair for width, pair in shapes.items()}
    return {
        setting: [make_curves(setting, shape, seed=i) for i, shape in enumerate(pair)] for setting, pair in settings.items()
    }


def test_all_seeds_of_a_width_must_fit() -> None:
    """A width with a seed that doesn't fit is no fit; accuracies are means over seeds."""
    curves = of_two_seeds({2: (UNFITTED, UNFITTED), 4: (LATE, UNFITTED), 8: (NEVER, LATE), 16: (LATE, LATE)})
    assert FittingWidths.measure(curves).smallest_fit == 8
    jump = HeldOutJump.measure(curves)
    assert jump.widths == [8, 16]
    assert jump.accuracies == pytest.approx([0.5, 0.9], abs=0.01)
    assert FittingWidths.measure(of_two_seeds({4: (LATE, UNFITTED)})).accuracy == pytest.approx(0.55, abs=0.01)


def test_the_largest_gain_is_a_rise_between_neighbors() -> None:
    """A fall isn't a gain, and a rise over several widths is no jump."""
    gain = HeldOutJump([2, 4, 8, 16], [0.4, 0.0, 0.1, 0.25]).largest_gain
    assert (gain.narrow, gain.wide) == (8, 16)
    assert gain.size == pytest.approx(0.15)
    assert HeldOutJump([8], [0.3]).largest_gain.size == 0


def test_curves_are_drawn_up_to_the_last_step_of_all_runs() -> None:
    """The heat map ends where the first run diverged, and shows the mean over seeds at even places in log-steps."""
    setting = Wide("div_mod23-0.7", 4, 1, 1.0, steps=500)
    runs = [
        make_curves(setting, LATE),
        make_curves(setting, NEVER, seed=1),
        make_curves(setting, LATE, seed=2, diverged_at=300),
    ]
    (figure,) = model_wise.figures({setting: runs}).values()
    heat_map, section = figure.axes[:2]
    last = min(run.steps[-1] for run in runs)
    assert last < 300
    assert f"at step {last:.0f}," in section.get_title()
    (mesh,) = heat_map.collections
    shown = np.asarray(mesh.get_array()).flatten()
    steps = np.geomspace(runs[0].steps[0], last, len(shown))
    expected = np.mean([np.interp(np.log(steps), np.log(run.steps), run.held_out) for run in runs], axis=0)
    assert np.abs(shown - expected).max() < 0.01


def test_a_slope_is_no_jump() -> None:
    """A jump starts from less than half of the answers, where the training data is just fitted."""
    assert HeldOutJump([8, 16, 32], [0.1, 0.35, 0.4]).holds
    assert not HeldOutJump([8, 16, 32], [0.1, 0.2, 0.3]).holds
    assert not HeldOutJump([8, 16], [0.6, 0.9]).holds
    assert not HeldOutJump([8, 16], [0.5, 0.9]).holds
    assert not HeldOutJump([8], [0.1]).holds


def test_the_table_is_sorted_by_decay_and_width() -> None:
    """Whatever the order of the runs."""
    curves = by_width(JUMPING, decay=1.0) | by_width(JUMPING, decay=0.3)
    header, *rows = table_rows(model_wise.tables(curves)[0])
    assert header[:2] == ["weight decay", "width"]
    assert [row[:2] for row in rows] == [[decay, str(width)] for decay in ("0.3", "1") for width in JUMPING]
    assert {row[-1] for row in rows} == {"never"}


def test_the_figure_shows_accuracy_over_steps_and_width() -> None:
    """A heat map and the accuracies at the last step, side by side."""
    curves = by_width(JUMPING)
    (figure,) = model_wise.figures(curves).values()
    heat_map, section = figure.axes[:2]
    assert heat_map.get_title() == "held-out accuracy, weight decay 1"
    assert [label.get_text() for label in heat_map.get_yticklabels()] == [str(width) for width in JUMPING]
    (mesh,) = heat_map.collections
    last_step = np.asarray(mesh.get_array()).reshape(len(JUMPING), -1)[:, -1]
    train, held_out = section.lines
    assert [train.get_label(), held_out.get_label()] == ["train", "held out"]
    assert x_of(held_out).tolist() == list(JUMPING)
    assert np.allclose(y_of(held_out), [run.final_held_out for (run,) in curves.values()])
    assert np.allclose(last_step, y_of(held_out))
    assert section.get_title() == "at step 500, mean and range of seeds"
