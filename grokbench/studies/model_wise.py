"""Davies, Langosco, Krueger 2023, section 3 (arXiv 2303.06173): grokking as the model grows, at a fixed number of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokbench.analysis.curves import Curves
from grokbench.analysis.series import FloatArray
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.studies.figures import BLUE, ORANGE
from grokbench.studies.report import Columns, percent, settings_table, spread
from grokbench.studies.settings import SEEDS, CurvesBySetting, Scale, SeedsBySetting, Wide, where
from grokbench.studies.statements import Claim, Statement

TITLE = "Model-wise grokking (Davies, Langosco, Krueger 2023)"
SMALL_SCALE = (
    "The paper trains two layers of one head on division mod 97 with weight decay 10⁻⁵ for 4·10⁵ steps. The small scale "
    "trains one layer of one head on division mod 47, with 70 % of the questions for training, for 6,000 full-batch steps. "
    "More weight decay makes these steps enough."
)
TABLE_DECAYS = (0.3, 1.0)
WIDTHS = (2, 4, 8, 12, 16, 24, 32, 64)
LOW = 0.5  # held-out accuracy below this is low
JUMP = 0.2  # least gain in held-out accuracy between neighboring widths that is a jump, not a slope
HEAT_MAP_STEPS = 60

WideCurves = Mapping[Wide, list[Curves]]


def settings(scale: Scale) -> SeedsBySetting:
    """The settings and seeds to run.

    `paper` has two layers, division mod 97, weight decay 10⁻⁵ and 4·10⁵ steps. `small` has one layer and more decay, with
    which held-out accuracy rises within thousands of steps.
    """
    if scale == "paper":
        grid = [Wide("div_mod97-0.5", width, layers=2, decay=1e-5, steps=400_000) for width in (*WIDTHS, 128, 256)]
    else:
        grid = [Wide("div_mod47-0.7", width, layers=1, decay=decay, steps=6_000) for decay in TABLE_DECAYS for width in WIDTHS]
    return dict.fromkeys(grid, SEEDS)


@dataclass(frozen=True)
class FittingWidths:
    """The widths with which the training data is fitted.

    Attributes:
        narrowest: The least width that ran.
        accuracy: The final train accuracy at that width, in the mean over seeds.
        smallest_fit: The least width from which all seeds of every width fit the training data, None if no width fits.
    """

    narrowest: int
    accuracy: float
    smallest_fit: int | None

    @classmethod
    def measure(cls, curves: WideCurves) -> "FittingWidths":
        """Read the train accuracies; settings come by width."""
        narrowest, seeds = next(iter(curves.items()))
        return cls(narrowest.width, mean(run.final_train for run in seeds), _smallest_fit(curves))

    @property
    def holds(self) -> bool:
        """Large models fit the training data, small ones don't."""
        return self.smallest_fit is not None and self.smallest_fit > self.narrowest

    def __str__(self) -> str:
        if self.smallest_fit is None:
            return "no width fits"
        return f"train accuracy {self.accuracy:.0%} at width {self.narrowest}; all seeds fit from width {self.smallest_fit}"


@dataclass(frozen=True)
class Gain:
    """The gain in held-out accuracy from a width to the next."""

    narrow: int
    wide: int
    size: float


@dataclass(frozen=True)
class HeldOutJump:
    """The final held-out accuracy of every width that fits the training data, in the mean over seeds.

    Attributes:
        widths: (W,) the widths, from the smallest from which all seeds of every width fit.
        accuracies: (W,) the accuracy of each width.
    """

    widths: list[int]
    accuracies: list[float]

    @classmethod
    def measure(cls, curves: WideCurves) -> "HeldOutJump":
        """Read the held-out accuracies; settings come by width."""
        smallest = _smallest_fit(curves)
        fitting = {setting: seeds for setting, seeds in curves.items() if smallest and setting.width >= smallest}
        accuracies = [mean(run.final_held_out for run in seeds) for seeds in fitting.values()]
        return cls([setting.width for setting in fitting], accuracies)

    @property
    def largest_gain(self) -> Gain:
        """The largest gain between neighboring widths; a single width gains nothing."""
        neighbors = pairwise(zip(self.widths, self.accuracies, strict=True))
        gains = [Gain(narrow, wide, after - before) for (narrow, before), (wide, after) in neighbors]
        return max(gains, key=lambda gain: gain.size, default=Gain(self.widths[0], self.widths[0], 0.0))

    @property
    def holds(self) -> bool:
        """Held-out accuracy is low where the training data is just fitted, and jumps with more width."""
        return bool(self.widths) and self.accuracies[0] < LOW and self.largest_gain.size >= JUMP

    def __str__(self) -> str:
        if not self.widths:
            return "no width fits the training data"
        gain = self.largest_gain
        smallest = f"{self.accuracies[0]:.0%} at width {self.widths[0]}, the smallest that fits"
        largest = f"{self.accuracies[-1]:.0%} at width {self.widths[-1]}"
        return f"{smallest}; {largest}; largest gain {gain.size:+.0%} from width {gain.narrow} to {gain.wide}"


# These statements have no test yet; the report lists them as untested.
UNTESTED = (
    Statement(
        "early on 96 held-out answers are right, those to 0/b, and then fewer than by chance", source="Fig. 7", measurement=None
    ),
    Statement("held-out accuracy has a faint double descent as the model grows", source="text", measurement=None),
)


def statements(curves: CurvesBySetting) -> list[Statement]:
    """Every statement of the paper, tested at each weight decay that ran."""
    claims = [claim for decay in _decays(curves) for claim in _claims(curves, decay)]
    return [*(claim.check(curves) for claim in claims), *UNTESTED]


def _claims(curves: CurvesBySetting, decay: float) -> tuple[Claim[Wide], ...]:
    by_width = _by_width(curves, decay)
    return (
        Claim(
            f"small models don't fit the training data, large ones do (weight decay {decay:g})",
            source="Fig. 5",
            runs=by_width,
            test=FittingWidths.measure,
        ),
        Claim(
            "held-out accuracy stays low where the training data is just fitted, and jumps for larger models "
            f"(weight decay {decay:g})",
            source="Fig. 5",
            runs=by_width,
            test=HeldOutJump.measure,
        ),
    )


COLUMNS: Columns[Wide] = {
    "weight decay": lambda setting, seeds: f"{setting.decay:g}",
    "width": lambda setting, seeds: str(setting.width),
    "parameters": lambda setting, seeds: f"{seeds[0].record.cost.parameters:,}",
    "train at the end": lambda setting, seeds: percent([run.final_train for run in seeds]),
    "memorized at": lambda setting, seeds: spread([run.steps_to_memorize for run in seeds]),
    "held out at the end": lambda setting, seeds: percent([run.final_held_out for run in seeds]),
    "held out 99 % at": lambda setting, seeds: spread([run.first_step_at(PROTOCOL.memorized) for run in seeds]),
}


def tables(curves: CurvesBySetting) -> list[str]:
    """The accuracies of every width at the end."""
    ordered = [setting for decay in _decays(curves) for setting in _by_width(curves, decay)]
    return [settings_table(COLUMNS, {setting: curves[setting] for setting in ordered})]


def figures(curves: CurvesBySetting) -> dict[str, Figure]:
    """For each weight decay, held-out accuracy over steps and width, and both accuracies at the last step over width."""
    decays = _decays(curves)
    figure = Figure(figsize=(9, 3.4 * len(decays)), layout="constrained")
    axes = figure.subplots(len(decays), 2, squeeze=False)
    for (heat_map, section), decay in zip(axes, decays, strict=True):
        by_width = {setting: curves[setting] for setting in _by_width(curves, decay)}
        _draw_heat_map(heat_map, by_width, title=f"held-out accuracy, weight decay {decay:g}")
        _draw_section(section, by_width)
    axes[0][1].legend(frameon=False, fontsize=8)
    return {"model-wise.png": figure}


def _draw_heat_map(axes: Axes, curves: WideCurves, *, title: str) -> None:
    """Held-out accuracy as color over log-steps and width, in the mean over seeds."""
    widths = [setting.width for setting in curves]
    steps = np.geomspace(PROTOCOL.smallest_gap, _last_step(curves), HEAT_MAP_STEPS)
    accuracy = np.stack([_mean_held_out(seeds, steps) for seeds in curves.values()])  # (W, T): widths, steps
    mesh = axes.pcolormesh(steps, np.arange(len(widths)), accuracy, vmin=0, vmax=1, cmap="viridis", shading="nearest")
    axes.set_xscale("log")
    axes.set_yticks(range(len(widths)), [str(width) for width in widths])
    axes.set_xlabel("step")
    axes.set_ylabel("width")
    axes.set_title(title, fontsize=9)
    axes.figure.colorbar(mesh, ax=axes)


def _draw_section(axes: Axes, curves: WideCurves) -> None:
    """Both accuracies at the last step over width: mean and range of seeds."""
    widths = [setting.width for setting in curves]
    train = [[run.final_train for run in seeds] for seeds in curves.values()]
    held_out = [[run.final_held_out for run in seeds] for seeds in curves.values()]
    for label, color, accuracies in (("train", ORANGE, train), ("held out", BLUE, held_out)):
        lowest, highest = [min(seeds) for seeds in accuracies], [max(seeds) for seeds in accuracies]
        axes.plot(widths, [mean(seeds) for seeds in accuracies], "o-", color=color, label=label, markersize=4)
        axes.fill_between(widths, lowest, highest, color=color, alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("width")
    axes.set_title(f"at step {_last_step(curves):,.0f}, mean and range of seeds", fontsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _decays(curves: CurvesBySetting) -> list[float]:
    """The weight decays that ran, from the least."""
    return sorted({setting.decay for setting in where(curves, Wide)})


def _by_width(curves: CurvesBySetting, decay: float) -> list[Wide]:
    """The settings with this weight decay, from the narrowest."""
    return sorted(where(curves, Wide, decay=decay), key=lambda setting: setting.width)


def _last_step(curves: WideCurves) -> float:
    """The last step that all runs reached."""
    return float(min(run.steps[-1] for seeds in curves.values() for run in seeds))


def _mean_held_out(seeds: Sequence[Curves], steps: FloatArray) -> FloatArray:
    """Held-out accuracy at `steps`, (T,), interpolated over log-steps, in the mean over seeds."""
    accuracies = [np.interp(np.log(steps), np.log(run.steps), run.held_out) for run in seeds]
    return np.asarray(np.mean(accuracies, axis=0))


def _smallest_fit(curves: WideCurves) -> int | None:
    """The least width from which all seeds of every width fit the training data, None if no width fits."""
    smallest = None
    for setting, seeds in reversed(list(curves.items())):
        if any(run.final_train < PROTOCOL.memorized for run in seeds):
            break
        smallest = setting.width
    return smallest
