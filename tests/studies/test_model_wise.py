"""The statements about grokking as the model grows, on made-up rows of widths."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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


def test_a_slope_is_no_jump() -> None:
    """Nor is an accuracy that is high where the training data is just fitted."""
    assert HeldOutJump([8, 16, 32], [0.1, 0.35, 0.4]).holds
    assert not HeldOutJump([8, 16, 32], [0.1, 0.2, 0.3]).holds
    assert not HeldOutJump([8, 16], [0.6, 0.9]).holds
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
