"""The figure of a tuning: its settings over learning rate and weight decay, and what more settings bring."""

from math import ceil, exp, floor, log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from grokbench.results.plots import tidy
from grokbench.sweeps.space import OFF_SHARE
from grokbench.sweeps.tuning import COUNTS, PUBLISHED, Tuning, expected_steps, log_steps

MOST_TICKS = 5


def tuning_figure(tuning: Tuning) -> Figure:
    """The RMST of every setting over learning rate and weight decay, and the expected RMST after so many settings.

    RMST is the geometric mean over the tasks of the suite `tuning`, in steps.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_settings(figure, left, tuning)
    steps = [expected_steps(tuning.sampled, count) for count in COUNTS]
    right.plot(COUNTS, steps, "o-", color="#1f77b4", markersize=4)
    tidy(right)  # first, because it sets the ticks of a logarithm
    right.set(yscale="log", xlabel="settings tried", ylabel="expected RMST of the best (steps)")
    right.set_xticks(COUNTS, [str(count) for count in COUNTS])
    right.minorticks_off()
    ticks = sorted({steps[0], steps[-1], steps[len(steps) // 2]})
    right.set_yticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten from low to high, and three times those where that makes at most five."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    powers = [float(f"1e{exponent}") for exponent in exponents]
    finer = [float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 3)]
    within = [[value for value in values if low <= value <= high] for values in (finer, powers)]
    return next((values for values in within if len(values) <= MOST_TICKS), within[-1])


def _draw_settings(figure: Figure, axes: Axes, tuning: Tuning) -> None:
    rate, *others = tuning.space.dimensions
    decay = next((dimension for dimension in others if dimension.name.endswith("weight_decay")), None)
    numbers = sorted(tuning.search)
    steps = np.array([exp(log_steps(tuning.search[number])) for number in numbers])
    places = [tuning.points[number] or tuning.space.place(tuning.space.published) for number in numbers]
    x = [rate.value(place[0]) for place in places]
    # Settings without weight decay are drawn below the lowest one.
    y = [place[1] if decay else 0.5 for place in places]
    shown = axes.scatter(x, y, c=steps, cmap="viridis_r", norm=LogNorm(), s=36, edgecolors="#555555", linewidths=0.5)
    for number, marker, label in ((tuning.winner, "*", "chosen"), (PUBLISHED, "s", "start")):
        at = numbers.index(number)
        axes.scatter(x[at], y[at], s=170, marker=marker, facecolors="none", edgecolors="#d62728", label=label, linewidths=1.4)
    axes.set(xscale="log", xlabel="learning rate", ylabel="weight decay")
    if decay:
        values = _ticks(decay.low, decay.high)
        axes.set_yticks([OFF_SHARE / 2, *map(decay.place, values)], ["off", *(f"{value:g}" for value in values)])
        axes.axhline(OFF_SHARE, color="#cccccc", linewidth=0.8)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
    figure.colorbar(shown, ax=axes, label="RMST (steps)")
    tidy(axes)
