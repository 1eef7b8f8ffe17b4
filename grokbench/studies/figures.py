"""What the figures of several studies share: curves over log-steps, with seeds as a band."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokbench.analysis.curves import NUMERICAL_RANK, Curves
from grokbench.analysis.series import FloatArray
from grokbench.results.plots import tidy

BLUE, ORANGE, GRAY = "#1f77b4", "#d95f02", "#444444"
ROWS = ("accuracy", "numerical rank", "effective rank", "weight norm")


@dataclass(frozen=True)
class Panel:
    """A column of a figure: a title, and the runs of a setting that differ by seed."""

    title: str
    seeds: Sequence[Curves]


def panels_figure(panels: Sequence[Panel]) -> Figure:
    """A figure like those of "Deep Grokking", with a column for each panel.

    The rows are accuracy, numerical rank, effective rank and weight norm; all but the first have a curve for each layer.
    """
    figure = Figure(figsize=(max(6.0, 3.4 * len(panels)), 10.5), layout="constrained")
    axes = figure.subplots(len(ROWS), len(panels), sharex="col", sharey="row", squeeze=False)
    for column, panel in enumerate(panels):
        _draw_column(list(axes[:, column]), panel)
    for row, name in zip(axes, ROWS, strict=True):
        row[0].set_ylabel(name)
    axes[-1][0].set_yscale("log")
    axes[0][0].legend(frameon=False, fontsize=8)
    for row in (axes[1], axes[3]):  # both need a legend: the norms have a curve for the output layer too
        row[-1].legend(frameon=False, fontsize=7, title="layer", title_fontsize=7)
    for panel_axes in axes.flat:
        tidy(panel_axes)
    return figure


def draw_accuracies(axes: Axes, seeds: Sequence[Curves]) -> None:
    """Train and held-out accuracy over the steps that all runs have."""
    steps = common_steps(seeds)
    draw_band(axes, steps, [run.train[: len(steps)] for run in seeds], color=ORANGE, label="train")
    draw_band(axes, steps, [run.held_out[: len(steps)] for run in seeds], color=BLUE, label="held out")


def draw_layers(axes: Axes, steps: FloatArray, values: Sequence[FloatArray]) -> None:
    """A band for each layer, the first layer lightest; `values` holds an array (T, L) for each seed."""
    num_layers = values[0].shape[1]
    for layer in range(num_layers):
        color = colormaps["viridis_r"](0.15 + 0.8 * layer / max(num_layers - 1, 1))
        draw_band(axes, steps, [seed[:, layer] for seed in values], color=color, label=str(layer + 1))


def draw_band(axes: Axes, steps: FloatArray, values: Sequence[FloatArray], *, color: Any, label: str) -> None:
    """The mean over seeds as a line, lowest to highest as a band; `values` holds an array (T,) for each seed."""
    stacked = np.stack(list(values))  # (S, T)
    axes.plot(steps, stacked.mean(0), color=color, linewidth=1.3, label=label)
    axes.fill_between(steps, stacked.min(0), stacked.max(0), color=color, alpha=0.2, linewidth=0)


def common_steps(seeds: Sequence[Curves]) -> FloatArray:
    """The steps that all these runs reached, (T,)."""
    return min((run.steps for run in seeds), key=len)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a file; its folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_column(axes: Sequence[Axes], panel: Panel) -> None:
    steps = common_steps(panel.seeds)
    norms = [run.metric("weight_norm") for run in panel.seeds]
    draw_accuracies(axes[0], panel.seeds)
    draw_layers(axes[1], steps, [run.rank(NUMERICAL_RANK)[: len(steps)] for run in panel.seeds])
    draw_layers(axes[2], steps, [run.rank()[: len(steps)] for run in panel.seeds])
    norm_steps = min((norm.steps for norm in norms), key=len)
    draw_layers(axes[3], norm_steps, [norm.values[: len(norm_steps)] for norm in norms])
    axes[0].set_title(panel.title, fontsize=9)
    axes[3].set_xlabel("step")
