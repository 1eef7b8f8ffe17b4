"""Phase diagrams and curves of phase tables. Median T is a color on a log scale; the other phases are hatched."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from grokbench.errors import ResultError
from grokbench.results.phase import PowerLaw

Floats = NDArray[np.float64]
COLORS, SHARES = "viridis_r", "Blues"
HATCHES = {"collapsed": "xxx", "memorized": "///", "unfit": "..."}
LABELS = {
    "collapsed": "crossed the threshold and lost it",
    "memorized": "memorized, at chance or below the threshold",
    "unfit": "never memorized",
    "": "no finished run",
}
EMPTY, HATCH_COLOR = "#eeeeee", "#777777"
MOST_TICKS = 9
MOST_CONTOURS = 3


def phase_figure(table: pd.DataFrame, law: PowerLaw | None = None, *, title: str = "") -> Figure:
    """A phase table as a picture: a map over two things that vary, or curves over one thing.

    Args:
        table: see `results.phase.phase_table`.
        law: a fit to draw over one thing.
        title: what the runs are of, such as `results.phase.phase_title`.

    Raises:
        ResultError: a value isn't a number.
    """
    axes = list(table.columns).index("runs")  # the columns before it are what varies
    figure = _map_figure(table) if axes == 2 else _curve_figure(table, law)
    figure.suptitle(title, fontsize=10, color="#444444")
    return figure


def _map_figure(table: pd.DataFrame) -> Figure:
    """Median T over the first two columns of a phase table, with contours, and the share of solved runs beside it."""
    x, y = table.columns[:2]
    columns, rows = (np.array(sorted(table[axis].unique()), dtype=float) for axis in _numeric(table, (x, y)))
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    times, shares = (np.full((len(rows), len(columns)), np.nan) for _ in range(2))
    phases = np.full(times.shape, "", dtype=object)
    for _, setting in table.iterrows():
        place = int(np.searchsorted(rows, setting[y])), int(np.searchsorted(columns, setting[x]))
        times[place], shares[place], phases[place] = setting["median_T"], setting["solved"] / setting["runs"], setting["phase"]
    shown = np.where(phases == "grokked", times, np.nan)
    shown[np.isinf(shown)] = np.nan
    edges = _edges(columns), _edges(rows)
    _draw_times(figure, left, edges, shown)
    _draw_contours(left, columns, rows, shown)
    _hatch(left, edges, phases)
    mesh = right.pcolormesh(*edges, np.ma.masked_invalid(shares), cmap=SHARES, norm=Normalize(0, 1))
    figure.colorbar(mesh, ax=right)
    for axes, title in ((left, "steps-to-generalize (median)"), (right, "share of runs that generalized")):
        axes.set_title(title, fontsize=11)
        axes.set_facecolor(EMPTY)
        _scale(axes, "x", columns, x)
        _scale(axes, "y", rows, y)
    right.set_ylabel("")
    patches = [_patch(phase) for phase in LABELS if (phases == phase).any()]
    if patches:
        figure.legend(handles=patches, loc="outside lower left", ncols=len(patches), frameon=False, fontsize=9)
    return figure


def _curve_figure(table: pd.DataFrame, law: PowerLaw | None) -> Figure:
    """Median T over the first column of a phase table, with its 95 % interval, and the share of solved runs below."""
    x = table.columns[0]
    values = np.array(table[next(iter(_numeric(table, (x,))))], dtype=float)
    figure = Figure(figsize=(6, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for column, label, color in (("median_T", "generalizes", "#1f77b4"), ("median_memorized", "memorizes", "#999999")):
        steps = table[column].replace(np.inf, np.nan).to_numpy(dtype=float)
        upper.plot(values, steps, "o-", color=color, label=label, markersize=4)
    low, high = (table[name].to_numpy(dtype=float) for name in ("low", "high"))
    top = np.nanmax(np.where(np.isfinite(high), high, np.nan), initial=1.0) * 2
    solved = np.isfinite(table["median_T"].to_numpy(dtype=float))
    upper.fill_between(values, low, np.minimum(high, top), where=solved, alpha=0.2, color="#1f77b4", linewidth=0)
    if law is not None:
        label = f"T ∝ x^{law.exponent:.2f} ({law.low:.2f} to {law.high:.2f})"
        upper.plot(values[solved], law.factor * values[solved] ** law.exponent, "--", color="black", label=label)
    if np.isfinite(table[["median_T", "median_memorized"]].to_numpy(dtype=float)).any():
        upper.set_yscale("log")
    upper.set_ylabel("steps (median)")
    upper.legend(frameon=False)
    lower.plot(values, table["solved"] / table["runs"], "o-", color="#1f77b4", markersize=4)
    lower.set_ylim(-0.05, 1.05)
    lower.set_ylabel("share solved")
    _scale(lower, "x", values, x)
    return figure


def _patch(phase: str) -> Patch:
    return Patch(facecolor=EMPTY, edgecolor=HATCH_COLOR, hatch=HATCHES.get(phase), label=LABELS[phase])


def _numeric(table: pd.DataFrame, axes: Sequence[str]) -> Sequence[str]:
    for axis in axes:
        if not pd.api.types.is_numeric_dtype(table[axis]) or pd.api.types.is_bool_dtype(table[axis]):
            values = ", ".join(map(str, table[axis].unique()))
            raise ResultError(f"{axis} must be numbers to draw it, got {values}: choose one with where")
    return axes


def _is_logarithmic(values: Floats) -> bool:
    """Whether neighbors have more equal ratios than differences."""
    if values.min() <= 0 or len(values) < 3:
        return bool(values.min() > 0 and values.max() / values.min() >= 10)
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return bool(np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps))


def _edges(values: Floats) -> Floats:
    """The borders of cells around values, half way between neighbors."""
    logarithmic = _is_logarithmic(values)
    centers = np.log(values) if logarithmic else values
    if len(centers) == 1:
        edges = np.array([centers[0] - 0.5, centers[0] + 0.5])
    else:
        inner = (centers[1:] + centers[:-1]) / 2
        edges = np.concatenate([[2 * centers[0] - inner[0]], inner, [2 * centers[-1] - inner[-1]]])
    return np.asarray(np.exp(edges) if logarithmic else edges, dtype=float)


def _draw_times(figure: Figure, axes: Axes, edges: tuple[Floats, Floats], times: Floats) -> None:
    finite = times[np.isfinite(times)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 10.0)
    norm = LogNorm(low, max(high, 1.01 * low))
    axes.pcolormesh(*edges, np.ma.masked_invalid(times), cmap=COLORS, norm=norm)
    bar = figure.colorbar(ScalarMappable(norm, COLORS), ax=axes)
    ticks = _nice_steps(norm.vmin or low, norm.vmax or high)
    bar.set_ticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())


def _draw_contours(axes: Axes, columns: Floats, rows: Floats, times: Floats) -> None:
    """Lines of equal median T, where the table is large enough for them."""
    if min(times.shape) < 3 or np.isfinite(times).sum() < 4:
        return
    finite = times[np.isfinite(times)]
    levels = [level for level in _nice_steps(finite.min(), finite.max()) if finite.min() < level < finite.max()]
    levels = levels[:: math.ceil(len(levels) / MOST_CONTOURS)] if levels else []
    if levels:
        lines = axes.contour(columns, rows, np.ma.masked_invalid(times), levels=levels, colors="white", linewidths=0.9)
        axes.clabel(lines, fmt=lambda level: f"{level:,.0f}", fontsize=7)


def _hatch(axes: Axes, edges: tuple[Floats, Floats], phases: NDArray[Any]) -> None:
    (x, y) = edges
    for row, column in zip(*np.nonzero(np.isin(phases, list(HATCHES))), strict=True):
        axes.add_patch(
            Rectangle(
                (x[column], y[row]),
                x[column + 1] - x[column],
                y[row + 1] - y[row],
                facecolor=EMPTY,
                edgecolor=HATCH_COLOR,
                hatch=HATCHES[phases[row, column]],
                linewidth=0,
            )
        )


def _scale(axes: Axes, which: str, values: Floats, name: str) -> None:
    """The scale, the ticks and the label of one axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if _is_logarithmic(values):
        axes.set(**{f"{which}scale": "log"})
    every = math.ceil(len(values) / MOST_TICKS)
    axis.set_ticks(values[::every])
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(name.rpartition(".")[2].replace("_", " "))


def _nice_steps(low: float, high: float) -> list[float]:
    """Round numbers of steps between two, at least three of them where there are so many."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), np.arange(1, 10, 0.25), np.arange(1, 10, 0.05)):
        steps = [float(digit * 10.0**exponent) for exponent in exponents for digit in digits]
        found = [step for step in steps if low <= step <= high]
        if len(found) >= 3:
            break
    return found
