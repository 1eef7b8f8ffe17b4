"""The figure of grokking: accuracies over log-steps, with the effective rank of the last layer below."""

from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokbench.errors import ResultError
from grokbench.results.files import base_path, with_ending, write_files
from grokbench.results.tables import group
from grokbench.runs.records import RunRecord

AGENT_COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444")
LEGEND_GRAY = "#444444"
DOTTED = (0, (1, 1))
MAX_COLUMNS = 4


def draw_curves(records: Sequence[RunRecord], out: Path, *, endings: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Save the figure of these runs as `<out>.png` and `<out>.svg`, and return the paths.

    A path that has one of the endings, such as `figure.png`, is saved with this ending alone. In a folder the files are called
    `grokking`.

    Raises:
        ResultError: no run has exams, or a file can't be written.
    """
    figure = curves_figure(records)
    out = base_path(out, "grokking")
    has_ending = out.suffix.removeprefix(".") in endings
    paths = [out] if has_ending else [with_ending(out, ending) for ending in endings]
    return write_files(dict.fromkeys(paths, partial(figure.savefig, dpi=150)))


def curves_figure(records: Sequence[RunRecord]) -> Figure:
    """A figure with two panels per task, accuracies and rank, and a thin line per seed.

    Raises:
        ResultError: no run has exams.
    """
    groups = [runs for runs in group(records) if any(record.exams for record in runs.records)]
    if not groups:
        raise ResultError("no runs to draw: make some with `grokbench run`")
    tasks = list(dict.fromkeys(runs.task.id for runs in groups))
    agents = list(dict.fromkeys(runs.agent for runs in groups))
    colors = {agent: AGENT_COLORS[i % len(AGENT_COLORS)] for i, agent in enumerate(agents)}
    figure, panels = _panels(tasks)
    for runs in groups:
        for record in runs.records:
            _draw_run(*panels[runs.task.id], record, colors[runs.agent])
    for i, task in enumerate(tasks):
        _label(*panels[task], task, first=i % MAX_COLUMNS == 0)
    _add_legend(figure, colors)
    return figure


def _panels(tasks: Sequence[str]) -> tuple[Figure, dict[str, tuple[Axes, Axes]]]:
    """A figure, and for every task an accuracy panel with a rank panel below it."""
    columns = min(len(tasks), MAX_COLUMNS)
    rows = ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(6.5, 4.2 * columns), 0.4 + 5.2 * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns)
    panels = {}
    for i, task in enumerate(tasks):
        row, column = divmod(i, columns)
        rank = figure.add_subplot(grid[2 * row + 1, column])
        accuracy = figure.add_subplot(grid[2 * row, column], sharex=rank)
        accuracy.tick_params(labelbottom=False)
        panels[task] = (accuracy, rank)
    return figure, panels


def _draw_run(accuracy: Axes, rank: Axes, record: RunRecord, color: str) -> None:
    task = record.parsed_task()
    steps = [exam.step for exam in record.exams]
    style: dict[str, Any] = {"color": color, "linewidth": 1.0, "alpha": 0.8}
    accuracy.plot(steps, [exam.train / task.num_train for exam in record.exams], linestyle=DOTTED, **style)
    accuracy.plot(steps, [exam.held_out / task.num_held_out for exam in record.exams], **style)
    ranks = [(exam.step, exam.ranks["effective_rank"][-1]) for exam in record.exams if exam.ranks]
    if ranks:
        rank.plot(*zip(*ranks, strict=True), **style)


def _label(accuracy: Axes, rank: Axes, task: str, *, first: bool) -> None:
    """Titles and axes; the `first` panels of a row name the y-axes."""
    accuracy.set_title(task, fontsize=10)
    accuracy.set_ylim(-0.03, 1.03)
    rank.set_ylim(bottom=0)
    rank.set_xlabel("step")
    if first:
        accuracy.set_ylabel("accuracy")
        rank.set_ylabel("effective rank, last layer")
    for axes in (accuracy, rank):
        tidy(axes)


def tidy(axes: Axes) -> None:
    """Log-steps, a light grid, two spines."""
    axes.set_xscale("log")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Figure, colors: dict[str, str]) -> None:
    handles = [Line2D([], [], color=color, label=agent) for agent, color in colors.items()]
    handles += [
        Line2D([], [], color=LEGEND_GRAY, linestyle=DOTTED, label="train"),
        Line2D([], [], color=LEGEND_GRAY, label="held out"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
