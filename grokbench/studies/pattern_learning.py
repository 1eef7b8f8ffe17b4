"""Davies, Langosco, Krueger 2023, "Unifying Grokking and Double Descent" (arXiv 2303.06173): patterns and their speeds."""

from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.figure import Figure

from grokbench.analysis import patterns
from grokbench.analysis.curves import Curves
from grokbench.analysis.patterns import DOUBLE_DESCENT, GROKKING
from grokbench.results.plots import tidy
from grokbench.studies.figures import BLUE, GRAY, ORANGE, save
from grokbench.studies.settings import Baseline, JointSettings, Measured, Scale
from grokbench.studies.study import Evidence, Statement, spread, table

TITLE = "Pattern learning speeds (Davies, Langosco, Krueger 2023)"
SMALL_SCALE = (
    "The toy model is the paper's, number for number. The fits are this project's: the paper fits nothing to real runs. "
    "Three seeds; `--scale paper` takes all ten."
)
TIMES = np.arange(1, 301, dtype=float)  # the toy model's steps
TASKS = ("add_mod47-0.7", "mul_mod47-0.7", "div_mod47-0.7-to6000")
GOOD_FIT = 0.05  # accuracy, root mean square
MOST_SHARED = 0.5  # generalization of a pattern that mostly memorizes


def batches(scale: Scale) -> list[JointSettings]:
    """Real runs to fit: both baselines on small tables; `paper` takes all official seeds."""
    seeds = (0, 1, 2) if scale == "small" else tuple(range(10))
    return [JointSettings((Baseline(task, agent),), seeds) for task in TASKS for agent in ("mlp", "transformer")]


def statements(measured: Measured) -> list[Statement]:
    """What the model shows, and whether real runs look like it."""
    return [
        Statement("toy model, γ = (.7, 1, .2): test accuracy rises, falls and rises again", "toy model", _double_descent()),
        Statement("toy model, γ = (0, 1, 1): train accuracy is high long before test accuracy", "toy model", _grokking()),
        Statement("the pattern that generalizes is learned after one that doesn't", "framework", _order(measured)),
        Statement("and at a lower speed", "framework", _slower(measured)),
        Statement("two patterns are enough for a run that groks", "asked here", _enough(measured)),
    ]


def tables(measured: Measured) -> list[str]:
    """The fitted patterns of every setting."""
    rows = []
    for setting, seeds in measured.items():
        fits = [one.fit for one in seeds]
        first, last = ([fit.patterns[i] for fit in fits] for i in (0, -1))
        rows.append(
            [
                setting.experiment.task.id,
                setting.experiment.recipe.name,
                spread([float(np.exp(p.onset)) for p in first]),
                spread([p.speed for p in first], 1),
                spread([p.generalization for p in first], 2),
                spread([float(np.exp(p.onset)) for p in last]),
                spread([p.speed for p in last], 1),
                spread([p.generalization for p in last], 2),
                spread([fit.rmse for fit in fits], 3),
            ]
        )
    names = ("half-learned at step", "speed", "generalization")
    headers = ["task", "agent", *(f"first: {name}" for name in names), *(f"preferred: {name}" for name in names), "RMSE"]
    text = (
        "Two patterns fitted to every run's train and held-out accuracy, p(t) = γ/(1 + (t/b)^−α) with t in steps: α is the "
        "speed, b the step at which the pattern is half-learned. Mean over seeds (lowest–highest)."
    )
    return [text, table(headers, rows)]


def figures(measured: Measured, folder: Path) -> list[str]:
    """The toy model's two settings, and for every setting a run with its fit."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (name, model) in zip(
        figure.subplots(1, 2), (("γ = (.7, 1, .2)", DOUBLE_DESCENT), ("γ = (0, 1, 1)", GROKKING)), strict=True
    ):
        for number, pattern in enumerate(patterns.learned(model, TIMES), start=1):
            axes.plot(
                TIMES, pattern, color=GRAY, linewidth=0.8, linestyle=("-", "--", ":")[number - 1], label=f"pattern {number}"
            )
        axes.plot(TIMES, patterns.train_accuracy(model, TIMES), color=ORANGE, label="train")
        axes.plot(TIMES, patterns.test_accuracy(model, TIMES), color=BLUE, label="test")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("time")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.axes[0].set_ylabel("accuracy")
    save(figure, folder / "toy-model.png")
    _draw_fits(measured, folder / "fits.png")
    return ["toy-model.png", "fits.png"]


def _draw_fits(measured: Measured, path: Path) -> None:
    figure = Figure(figsize=(3.4 * len(measured), 3.2), layout="constrained")
    for axes, (setting, seeds) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        run = seeds[0]
        model, t = run.fit.patterns, np.log(run.steps)
        axes.plot(run.steps, run.train, ".", color=ORANGE, markersize=3, label="train")
        axes.plot(run.steps, run.held_out, ".", color=BLUE, markersize=3, label="held out")
        axes.plot(run.steps, patterns.train_accuracy(model, t), color=ORANGE, linewidth=1)
        axes.plot(run.steps, patterns.test_accuracy(model, t), color=BLUE, linewidth=1)
        axes.set_title(f"{setting.experiment.task.id}, {setting.experiment.recipe.name}, seed {run.record.seed}", fontsize=8)
        axes.set_xlabel("step")
        tidy(axes)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.axes[0].set_ylabel("accuracy; lines: the fit")
    save(figure, path)


def _double_descent() -> Evidence:
    accuracy = patterns.test_accuracy(DOUBLE_DESCENT, TIMES)
    falls = int(np.argmin(np.diff(accuracy)))
    peak = int(np.argmax(accuracy[:falls]))
    trough = peak + int(np.argmin(accuracy[peak:]))
    first, second = (f"{accuracy[at]:.2f} at {TIMES[at]:.0f}" for at in (peak, trough))
    text = f"rises to {first}, falls to {second}, ends at {accuracy[-1]:.2f}"
    return Evidence(text, bool(min(accuracy[peak], accuracy[-1]) > accuracy[trough] + 0.05))


def _grokking() -> Evidence:
    train, test = (f(GROKKING, TIMES) for f in (patterns.train_accuracy, patterns.test_accuracy))
    memorized, half = TIMES[np.argmax(train >= 0.99)], TIMES[np.argmax(test >= 0.5)]
    return Evidence(f"train 99 % at {memorized:.0f}, test 50 % at {half:.0f} of 300", bool(half >= 2 * memorized))


def _runs(measured: Measured) -> list[Curves]:
    return [one for seeds in measured.values() for one in seeds]


def _order(measured: Measured) -> Evidence | None:
    fits = [one.fit.patterns for one in _runs(measured)]
    if not fits:
        return None
    later = [p for p in fits if p[-1].onset > p[0].onset and p[0].generalization < MOST_SHARED < p[-1].generalization]
    partly = sum(p[0].generalization >= MOST_SHARED for p in fits)
    ratios = [float(np.exp(p[-1].onset - p[0].onset)) for p in fits]
    text = f"{len(later)} of {len(fits)} runs; in {partly} the first one generalizes partly"
    return Evidence(f"{text}; half-learned ×{spread(ratios, 1)} later", len(later) > len(fits) / 2)


def _slower(measured: Measured) -> Evidence | None:
    """The speed α in p(t) = γ/(1 + (t/b)^−α), over log-steps."""
    fits = [one.fit.patterns for one in _runs(measured)]
    if not fits:
        return None
    slower = sum(p[-1].speed < p[0].speed for p in fits)
    return Evidence(f"{slower} of {len(fits)} runs, over log-steps", slower > len(fits) / 2)


def _enough(measured: Measured) -> Evidence | None:
    fits = [one.fit for one in _runs(measured)]
    if not fits:
        return None
    good = [fit for fit in fits if fit.rmse <= GOOD_FIT]
    text = f"{len(good)} of {len(fits)} runs within {GOOD_FIT:.0%} RMSE, {mean(fit.rmse for fit in fits):.1%} in the mean"
    return Evidence(text, len(good) > len(fits) / 2)
