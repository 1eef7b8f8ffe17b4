"""Davies, Langosco, Krueger 2023, "Unifying Grokking and Double Descent" (arXiv 2303.06173): patterns and their speeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokbench.analysis.curves import Curves
from grokbench.analysis.patterns import DOUBLE_DESCENT, GROKKING, Fit, Pattern, PatternModel
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.plots import tidy
from grokbench.studies.figures import BLUE, GRAY, ORANGE
from grokbench.studies.report import Columns, settings_table, spread
from grokbench.studies.settings import Baseline, CurvesBySetting, Scale, SeedsBySetting, where
from grokbench.studies.statements import Claim, Share, Statement, all_runs

TITLE = "Pattern learning speeds (Davies, Langosco, Krueger 2023)"
SMALL_SCALE = (
    "The toy model has the paper's numbers. The fits to real runs are this project's own: the paper has none. The small scale "
    "takes three seeds, `--scale paper` takes all ten. Both networks train at learning rate 1e-3."
)
TASKS = ("add_mod47-0.7", "mul_mod47-0.7", "div_mod47-0.7-to6000")
TIMES = np.arange(1, 301, dtype=float)  # the steps of the toy model
HALF = 0.5  # accuracy with which the toy model has half generalized
CLEAR_RISE = 0.05  # accuracy by which the toy model's curve must fall and rise again
GOOD_FIT = 0.05  # accuracy, root mean square
MOSTLY = 0.5  # a pattern with less generalization mostly memorizes

BaselineCurves = Mapping[Baseline, list[Curves]]


def settings(scale: Scale) -> SeedsBySetting:
    """The settings and seeds to run: two baselines on small tables. `paper` takes all official seeds."""
    seeds = (0, 1, 2) if scale == "small" else PROTOCOL.official_seeds
    return {Baseline(task, recipe): seeds for task in TASKS for recipe in ("mlp", "transformer")}


@dataclass(frozen=True)
class ToyDoubleDescent:
    """The toy model's held-out accuracy at its first peak, at the trough after it, and at the end."""

    peak_time: float
    peak: float
    trough_time: float
    trough: float
    end: float

    @classmethod
    def measure(cls) -> "ToyDoubleDescent":
        """Read the curve of `DOUBLE_DESCENT`."""
        accuracy = DOUBLE_DESCENT.held_out_accuracy(TIMES)
        steepest_fall = int(np.argmin(np.diff(accuracy)))
        peak = int(np.argmax(accuracy[:steepest_fall]))
        trough = peak + int(np.argmin(accuracy[peak:]))
        return cls(
            peak_time=float(TIMES[peak]),
            peak=float(accuracy[peak]),
            trough_time=float(TIMES[trough]),
            trough=float(accuracy[trough]),
            end=float(accuracy[-1]),
        )

    @property
    def holds(self) -> bool:
        """The accuracy falls and rises again, both clearly."""
        return min(self.peak, self.end) > self.trough + CLEAR_RISE

    def __str__(self) -> str:
        rise = f"rises to {self.peak:.2f} at {self.peak_time:.0f}"
        return f"{rise}, falls to {self.trough:.2f} at {self.trough_time:.0f}, ends at {self.end:.2f}"


@dataclass(frozen=True)
class ToyGrokking:
    """The times at which the toy model memorizes and half generalizes."""

    memorized: float
    half_generalized: float

    @classmethod
    def measure(cls) -> "ToyGrokking":
        """Read the curves of `GROKKING`."""
        memorized = np.argmax(GROKKING.train_accuracy(TIMES) >= PROTOCOL.memorized)
        half_generalized = np.argmax(GROKKING.held_out_accuracy(TIMES) >= HALF)
        return cls(float(TIMES[memorized]), float(TIMES[half_generalized]))

    @property
    def holds(self) -> bool:
        """Generalizing takes at least twice as long."""
        return self.half_generalized >= 2 * self.memorized

    def __str__(self) -> str:
        times = f"train 99 % at {self.memorized:.0f}, held out 50 % at {self.half_generalized:.0f}"
        return f"{times} of {len(TIMES)}"


@dataclass(frozen=True)
class PatternOrder:
    """The order in which the two fitted patterns of each run are learned.

    Attributes:
        memorizes_first: The runs whose first pattern mostly memorizes and whose later pattern mostly generalizes.
        generalizes_partly: The number of runs whose first pattern mostly generalizes too.
        ratios: The step at which the preferred pattern is half-learned, over that of the first, for every run.
    """

    memorizes_first: Share
    generalizes_partly: int
    ratios: list[float]

    @classmethod
    def measure(cls, curves: BaselineCurves) -> "PatternOrder":
        """Fit all runs."""
        runs = all_runs(curves)
        return cls(
            memorizes_first=Share.among(runs, lambda run: _memorizes_first(_first(run.fit), _preferred(run.fit))),
            generalizes_partly=sum(_first(run.fit).generalization >= MOSTLY for run in runs),
            ratios=[float(np.exp(_preferred(run.fit).onset - _first(run.fit).onset)) for run in runs],
        )

    @property
    def holds(self) -> bool:
        """Most runs memorize first."""
        return self.memorizes_first.is_majority

    def __str__(self) -> str:
        partly = f"in {self.generalizes_partly} the first one generalizes partly"
        return f"{self.memorizes_first}; {partly}; half-learned ×{spread(self.ratios, 1)} later"


@dataclass(frozen=True)
class PatternSpeeds:
    """The runs whose preferred pattern has a lower speed than the first, over ln(step)."""

    slower: Share

    @classmethod
    def measure(cls, curves: BaselineCurves) -> "PatternSpeeds":
        """Fit all runs."""
        return cls(Share.among(all_runs(curves), lambda run: _preferred(run.fit).speed < _first(run.fit).speed))

    @property
    def holds(self) -> bool:
        """It is slower in most runs."""
        return self.slower.is_majority

    def __str__(self) -> str:
        return f"{self.slower}, over log-steps"


@dataclass(frozen=True)
class FitQuality:
    """The error of every run's fit."""

    errors: list[float]

    @classmethod
    def measure(cls, curves: BaselineCurves) -> "FitQuality":
        """Fit all runs."""
        return cls([run.fit.rmse for run in all_runs(curves)])

    @property
    def good(self) -> Share:
        """The runs with a good fit."""
        return Share(sum(error <= GOOD_FIT for error in self.errors), len(self.errors))

    @property
    def holds(self) -> bool:
        """Most fits are good."""
        return self.good.is_majority

    def __str__(self) -> str:
        return f"{self.good} within {GOOD_FIT:.0%} RMSE, {mean(self.errors):.1%} in the mean"


def statements(curves: CurvesBySetting) -> list[Statement]:
    """What the toy model shows, and whether real runs look like it."""
    fitted = where(curves, Baseline)
    claims = (
        Claim(
            "the pattern that generalizes is learned after one that doesn't",
            source="framework",
            runs=fitted,
            test=PatternOrder.measure,
        ),
        Claim(
            "the pattern that generalizes is learned at a lower speed",
            source="framework",
            runs=fitted,
            test=PatternSpeeds.measure,
        ),
        Claim(
            "two patterns are enough for a run that groks",
            source="this project",
            runs=fitted,
            test=FitQuality.measure,
        ),
    )
    return [
        Statement(
            "toy model, γ = (.7, 1, .2): held-out accuracy rises, falls and rises again",
            source="toy model",
            measurement=ToyDoubleDescent.measure(),
        ),
        Statement(
            "toy model, γ = (0, 1, 1): train accuracy is high long before held-out accuracy",
            source="toy model",
            measurement=ToyGrokking.measure(),
        ),
        *(claim.check(curves) for claim in claims),
    ]


COLUMNS: Columns[Baseline] = {
    "task": lambda setting, seeds: setting.experiment.task.id,
    "agent": lambda setting, seeds: setting.experiment.recipe.name,
    "first: half-learned at step": lambda setting, seeds: _half_learned(seeds, _first),
    "first: speed": lambda setting, seeds: spread([_first(run.fit).speed for run in seeds], 1),
    "first: generalization": lambda setting, seeds: spread([_first(run.fit).generalization for run in seeds], 2),
    "preferred: half-learned at step": lambda setting, seeds: _half_learned(seeds, _preferred),
    "preferred: speed": lambda setting, seeds: spread([_preferred(run.fit).speed for run in seeds], 1),
    "preferred: generalization": lambda setting, seeds: spread([_preferred(run.fit).generalization for run in seeds], 2),
    "RMSE": lambda setting, seeds: spread([run.fit.rmse for run in seeds], 3),
}
LEGEND = (
    "Two patterns are fitted to every run's train and held-out accuracy, p(t) = γ/(1 + (t/b)^−α) with t in steps. α is the "
    "speed, b the step at which the pattern is half-learned. Numbers are means over seeds (lowest–highest)."
)


def tables(curves: CurvesBySetting) -> list[str]:
    """The fitted patterns of every setting."""
    return [LEGEND, settings_table(COLUMNS, {setting: curves[setting] for setting in where(curves, Baseline)})]


def figures(curves: CurvesBySetting) -> dict[str, Figure]:
    """The toy model's two examples, and a run of every setting with its fit."""
    fitted = {setting: curves[setting] for setting in where(curves, Baseline)}
    return {"toy-model.png": toy_figure(), "fits.png": fits_figure(fitted)}


def toy_figure() -> Figure:
    """The toy model's two examples: what each pattern has learned, and both accuracies."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_toy(left, "γ = (.7, 1, .2)", DOUBLE_DESCENT)
    _draw_toy(right, "γ = (0, 1, 1)", GROKKING)
    right.legend(frameon=False, fontsize=7, loc=(0.27, 0.45))  # where no curve passes
    left.set_ylabel("accuracy")
    return figure


def fits_figure(curves: BaselineCurves) -> Figure:
    """The first seed of every setting with its fit."""
    figure = Figure(figsize=(3.4 * len(curves), 3.2), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (setting, seeds) in zip(panels, curves.items(), strict=True):
        _draw_fit(axes, seeds[0])
        experiment = setting.experiment
        axes.set_title(f"{experiment.task.id}, {experiment.recipe.name}, seed {seeds[0].record.seed}", fontsize=8)
    panels[0].legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("accuracy; lines: the fit")
    return figure


def _draw_toy(axes: Axes, title: str, model: PatternModel) -> None:
    for number, (share, style) in enumerate(zip(model.learned(TIMES), ("-", "--", ":"), strict=True), start=1):
        axes.plot(TIMES, share, color=GRAY, linewidth=0.8, linestyle=style, label=f"pattern {number}")
    axes.plot(TIMES, model.train_accuracy(TIMES), color=ORANGE, label="train")
    axes.plot(TIMES, model.held_out_accuracy(TIMES), color=BLUE, label="held out")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("time")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_fit(axes: Axes, run: Curves) -> None:
    model, log_steps = run.fit.model, np.log(run.steps)
    axes.plot(run.steps, run.train, ".", color=ORANGE, markersize=3, label="train")
    axes.plot(run.steps, run.held_out, ".", color=BLUE, markersize=3, label="held out")
    axes.plot(run.steps, model.train_accuracy(log_steps), color=ORANGE, linewidth=1)
    axes.plot(run.steps, model.held_out_accuracy(log_steps), color=BLUE, linewidth=1)
    axes.set_xlabel("step")
    tidy(axes)


def _first(fit: Fit) -> Pattern:
    return fit.model.patterns[0]


def _preferred(fit: Fit) -> Pattern:
    return fit.model.patterns[-1]


def _memorizes_first(first: Pattern, preferred: Pattern) -> bool:
    return preferred.onset > first.onset and first.generalization < MOSTLY < preferred.generalization


def _half_learned(seeds: Sequence[Curves], choose: Callable[[Fit], Pattern]) -> str:
    return spread([float(np.exp(choose(run.fit).onset)) for run in seeds])
