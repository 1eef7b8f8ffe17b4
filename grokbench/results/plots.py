"""The picture of grokking: accuracy over log-steps, with the effective rank of the last layer below."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokbench.results.tables import group
from grokbench.runs.records import RunRecord

COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444")

MOST_COLUMNS = 4


def draw_curves(records: Sequence[RunRecord], out: Path, endings: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Draw two panels for each task, seeds as thin lines; writes `<out>.png` and `<out>.svg` and returns their paths.

    Raises:
        ValueError: there are no runs with exams.
    """
    groups = [one for one in group(records) if any(record.exams for record in (*one.complete, *one.incomplete))]
    if not groups:
        raise ValueError("no runs to draw: make some with `grokbench run`")
    tasks = list(dict.fromkeys(one.task.id for one in groups))
    agents = list(dict.fromkeys(one.agent for one in groups))
    colors = {agent: COLORS[i % len(COLORS)] for i, agent in enumerate(agents)}
    figure, panels = _panels(len(tasks))
    for i, (task, (accuracy, rank)) in enumerate(zip(tasks, panels, strict=True)):
        for one in groups:
            if one.task.id == task:
                for record in (*one.complete, *one.incomplete):
                    _draw_run(accuracy, rank, record, colors[one.agent])
        _label(accuracy, rank, task, first=i % MOST_COLUMNS == 0)
    _legend(figure, colors)
    paths = [out.with_name(f"{out.name}.{ending}") for ending in endings]
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def _panels(tasks: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with two panels, one above the other, for every task."""
    columns = min(tasks, MOST_COLUMNS)
    bands = -(-tasks // columns)
    figure = Figure(figsize=(max(6.5, 4.2 * columns), 0.4 + 5.2 * bands), layout="constrained")
    grid = figure.add_gridspec(2 * bands, columns)
    panels = []
    for band, column in [divmod(task, columns) for task in range(tasks)]:
        rank = figure.add_subplot(grid[2 * band + 1, column])
        accuracy = figure.add_subplot(grid[2 * band, column], sharex=rank)
        accuracy.tick_params(labelbottom=False)
        panels.append((accuracy, rank))
    return figure, panels


def _draw_run(accuracy: Axes, rank: Axes, record: RunRecord, color: str) -> None:
    task = record.parsed_task()
    steps = [exam.step for exam in record.exams]
    style: dict[str, Any] = {"color": color, "linewidth": 1.0, "alpha": 0.8}
    accuracy.plot(steps, [exam.train / task.num_train for exam in record.exams], linestyle=(0, (1, 1)), **style)
    accuracy.plot(steps, [exam.held_out / task.num_held_out for exam in record.exams], **style)
    ranked = [(exam.step, exam.ranks["effective_rank"][-1]) for exam in record.exams if exam.ranks]
    if ranked:
        rank.plot(*zip(*ranked, strict=True), **style)


def _label(accuracy: Axes, rank: Axes, task: str, *, first: bool) -> None:
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


def _legend(figure: Figure, colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, label=agent) for agent, color in colors.items()]
    handles += [
        Line2D([], [], color="#444444", linestyle=(0, (1, 1)), label="train"),
        Line2D([], [], color="#444444", label="held out"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
