"""Figures like the papers': a column for each setting, accuracy, ranks and norms over log-steps, seeds as bands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokbench.analysis.curves import NUMERICAL, Array, Curves
from grokbench.results.plots import tidy

BLUE, ORANGE, GRAY = "#1f77b4", "#d95f02", "#444444"
Panel = tuple[str, Sequence[Curves]]  # a title and one setting's seeds


def draw_panels(panels: Sequence[Panel], path: Path) -> None:
    """Rows: accuracy, numerical rank per layer, effective rank per layer, weight norm per layer; a column for each panel."""
    figure = Figure(figsize=(max(6.0, 3.4 * len(panels)), 10.5), layout="constrained")
    axes = figure.subplots(4, len(panels), sharex="col", sharey="row", squeeze=False)
    for column, (title, seeds) in enumerate(panels):
        steps = common_steps(seeds)
        band(axes[0][column], steps, [one.train[: len(steps)] for one in seeds], ORANGE, "train")
        band(axes[0][column], steps, [one.held_out[: len(steps)] for one in seeds], BLUE, "held out")
        layers(axes[1][column], steps, [one.rank(NUMERICAL)[: len(steps)] for one in seeds])
        layers(axes[2][column], steps, [one.rank()[: len(steps)] for one in seeds])
        norms = [one.metrics("weight_norm") for one in seeds]
        layers(axes[3][column], norms[0][0], [norm for _, norm in norms])
        axes[0][column].set_title(title, fontsize=9)
        axes[3][column].set_xlabel("step")
    for row, name in zip(axes, ("accuracy", "numerical rank", "effective rank", "weight norm"), strict=True):
        row[0].set_ylabel(name)
    axes[3][0].set_yscale("log")
    axes[0][0].legend(frameon=False, fontsize=8)
    for row in (axes[1], axes[3]):  # the norms have the output's layer too
        row[-1].legend(frameon=False, fontsize=7, title="layer", title_fontsize=7)
    for one in axes.flat:
        tidy(one)
    save(figure, path)


def common_steps(seeds: Sequence[Curves]) -> Array:
    """The steps that all these runs got to."""
    return min((one.steps for one in seeds), key=len)


def band(axes: Axes, steps: Array, values: Sequence[Array], color: Any, label: str) -> None:
    """The mean over seeds as a line, lowest to highest as a band; `values` are S rows of (T,)."""
    stacked = np.stack(list(values))
    axes.plot(steps, stacked.mean(0), color=color, linewidth=1.3, label=label)
    axes.fill_between(steps, stacked.min(0), stacked.max(0), color=color, alpha=0.2, linewidth=0)


def layers(axes: Axes, steps: Array, values: Sequence[Array]) -> None:
    """One band per layer, the first one lightest; `values` are S arrays (T, L)."""
    count = values[0].shape[1]
    for layer in range(count):
        color = colormaps["viridis_r"](0.15 + 0.8 * layer / max(count - 1, 1))
        band(axes, steps, [one[:, layer] for one in values], color, str(layer + 1))


def save(figure: Figure, path: Path) -> None:
    """Write the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
