"""Figures, by what their axes show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from grokbench.studies.figures import Panel, common_steps, draw_accuracies, draw_band, draw_layers, panels_figure, save
from grokbench.studies.settings import Deep
from tests.support.curves import AT_ONCE, LATE, make_curves
from tests.support.figures import x_of, y_of

SETTING = Deep("mnist5k-n60", 3, 8.0, 0.1, steps=1_000)
STEPS = np.array([10.0, 20.0, 30.0])


def test_a_band_is_mean_and_range() -> None:
    """The line is the mean over seeds; the band reaches from the lowest to the highest."""
    axes = Figure().subplots()
    seeds = [np.array([0.0, 0.2, 0.4]), np.array([0.2, 0.2, 0.8]), np.array([0.7, 0.2, 0.3])]
    draw_band(axes, STEPS, seeds, color="k", label="train")
    (line,) = axes.lines
    assert np.allclose(line.get_xydata(), [[10, 0.3], [20, 0.2], [30, 0.5]])
    assert line.get_label() == "train"
    (band,) = axes.collections
    corners = np.asarray(band.get_paths()[0].vertices).round(6)
    assert {tuple(corner) for corner in corners} == {(10, 0), (10, 0.7), (20, 0.2), (30, 0.3), (30, 0.8)}


def test_layers_are_numbered_from_the_first() -> None:
    """A line for each layer, each in its own color."""
    axes = Figure().subplots()
    draw_layers(axes, STEPS, [np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])])
    assert [line.get_label() for line in axes.lines] == ["1", "2"]
    assert [y_of(line).tolist() for line in axes.lines] == [[1, 2, 3], [5, 5, 5]]
    assert axes.lines[0].get_color() != axes.lines[1].get_color()


def test_curves_end_where_the_first_run_diverges() -> None:
    """The mean over seeds is drawn as long as all seeds have values."""
    seeds = [make_curves(SETTING, LATE), make_curves(SETTING, LATE, seed=1, diverged_at=200)]
    assert common_steps(seeds)[-1] < 200
    axes = Figure().subplots()
    draw_accuracies(axes, seeds)
    train, held_out = axes.lines
    assert x_of(train)[-1] == x_of(held_out)[-1] == common_steps(seeds)[-1]
    assert np.allclose(y_of(train), seeds[1].train)
    assert np.allclose(y_of(held_out), seeds[1].held_out)


def test_all_rows_end_where_the_first_run_diverges() -> None:
    """Ranks and norms too, whichever seed diverges."""
    seeds = [make_curves(SETTING, LATE, diverged_at=200), make_curves(SETTING, LATE, seed=1)]
    for panel in (seeds, seeds[::-1]):
        for axes in panels_figure([Panel("diverged", panel)]).axes:
            assert {x_of(line)[-1] for line in axes.lines} == {common_steps(seeds)[-1]}


def test_each_row_has_its_own_rank() -> None:
    """The second row shows the numerical rank, the third the effective rank."""
    run = make_curves(SETTING, replace(LATE, numerical=[7] * 9))
    _, numerical, effective, _ = panels_figure([Panel("late", [run])]).axes
    assert set(y_of(numerical.lines[0])) == {7}
    assert np.allclose(y_of(effective.lines[0]), run.rank()[:, 0])


def test_a_single_layer_has_a_curve() -> None:
    """The layers' colors divide by their number minus 1."""
    axes = Figure().subplots()
    draw_layers(axes, STEPS, [np.array([[1.0], [2.0], [3.0]])])
    assert [line.get_label() for line in axes.lines] == ["1"]


@pytest.fixture(scope="module")
def figure() -> Figure:
    """Two panels, of which the second has a run that diverged."""
    late = [make_curves(SETTING, LATE, seed=seed) for seed in (0, 1)]
    at_once = [make_curves(SETTING, AT_ONCE), make_curves(SETTING, AT_ONCE, seed=1, diverged_at=200)]
    return panels_figure([Panel("late", late), Panel("at once", at_once)])


def test_a_column_for_each_panel(figure: Figure) -> None:
    """Titles above, names of the rows on the left, steps below."""
    axes = np.array(figure.axes).reshape(4, 2)
    assert [panel.get_title() for panel in axes[0]] == ["late", "at once"]
    assert [panel.get_ylabel() for panel in axes[:, 0]] == ["accuracy", "numerical rank", "effective rank", "weight norm"]
    assert [panel.get_xlabel() for panel in axes[-1]] == ["step", "step"]
    assert {panel.get_xscale() for panel in axes.flat} == {"log"}
    assert [panel.get_yscale() for panel in axes[:, 0]] == ["linear", "linear", "linear", "log"]


def test_every_row_shows_its_curves(figure: Figure) -> None:
    """Two accuracies, two layers with ranks, three with norms; the made-up runs have the same ranks in all measures."""
    run = make_curves(SETTING, LATE)
    accuracy, numerical, effective, norms = np.array(figure.axes).reshape(4, 2)[:, 0]
    assert [line.get_label() for line in accuracy.lines] == ["train", "held out"]
    assert np.allclose(y_of(accuracy.lines[1]), run.held_out)
    for ranks in (numerical, effective):
        assert len(ranks.lines) == 2
        assert np.allclose(y_of(ranks.lines[-1]), run.rank()[:, -1])
    assert len(norms.lines) == 3
    assert np.allclose(y_of(norms.lines[0]), run.metric("weight_norm").values[:, 0])


def test_save_makes_the_folder(tmp_path: Path) -> None:
    """The file is a picture of the format that its name says."""
    save(Figure(), tmp_path / "new" / "empty.png")
    assert (tmp_path / "new" / "empty.png").read_bytes().startswith(b"\x89PNG")
    save(Figure(), tmp_path / "new" / "empty.png")  # into the folder that there is now
