"""Davies, Langosco, Krueger 2023, section 3 (arXiv 2303.06173): grokking as the model grows, at a fixed number of steps."""

from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from grokbench.analysis.curves import Curves
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.studies.figures import BLUE, ORANGE, save
from grokbench.studies.settings import JointSettings, Measured, Scale, Wide
from grokbench.studies.study import Evidence, Statement, spread, table

TITLE = "Model-wise grokking (Davies, Langosco, Krueger 2023)"
SMALL_SCALE = (
    "The paper trains two layers of one head on division mod 97 with weight decay 10⁻⁵ for 4·10⁵ steps. The small scale "
    "trains one layer of one head on division mod 47 (70 % seen) for 6,000 full-batch steps, with weight decays at which "
    "as few steps can be enough."
)
DECAYS = (0.3, 1.0)
WIDTHS = (2, 4, 8, 12, 16, 24, 32, 64)
JUMP = 0.2  # of held-out accuracy between neighboring widths: a jump, not a slope
POINTS = 60  # log-steps in the heat map


def batches(scale: Scale) -> list[JointSettings]:
    """The runs, every width with three seeds.

    `paper`: division mod 97, two layers, weight decay 10⁻⁵ and 4·10⁵ steps. `small` has one layer and more decay, with
    which held-out accuracy rises within thousands of steps.
    """
    if scale == "small":
        settings = [Wide("div_mod47-0.7", width, 1, decay, steps=6_000) for decay in DECAYS for width in WIDTHS]
    else:
        settings = [Wide("div_mod97-0.5", width, layers=2, decay=1e-5, steps=400_000) for width in (*WIDTHS, 128, 256)]
    return [JointSettings((one,), (0, 1, 2)) for one in settings]


def statements(measured: Measured) -> list[Statement]:
    """What the paper says, for each weight decay that ran."""
    made = []
    for decay in sorted({s.decay for s in measured if isinstance(s, Wide)}):
        row = _row(measured, decay)
        note = f" (weight decay {decay:g})"
        made += [
            Statement(f"small models don't fit the training data, large ones do{note}", "Fig. 5", _fits(row)),
            Statement(
                f"held-out accuracy stays low where the training data is just fitted, and jumps for larger models{note}",
                "Fig. 5",
                _jumps(row),
            ),
        ]
    # Listed so that they are known to be missing: nothing here measures them yet.
    made.append(
        Statement("early on 96 held-out answers are right, those to 0/b, and then fewer than by chance", "Fig. 7", None)
    )
    made.append(Statement("held-out accuracy has a faint double descent as the model grows", "text", None))
    return made


def tables(measured: Measured) -> list[str]:
    """Every width's accuracies at the end."""
    rows = []
    for setting, seeds in sorted(_wide(measured).items(), key=lambda pair: (pair[0].decay, pair[0].width)):
        train, held_out = (
            [100 * float(curve[-1]) for curve in curves] for curves in ([r.train for r in seeds], [r.held_out for r in seeds])
        )
        rows.append(
            [
                f"{setting.decay:g}",
                str(setting.width),
                f"{seeds[0].record.cost.parameters:,}",
                spread(train, 1) + " %",
                spread([one.memorized for one in seeds]),
                spread(held_out, 1) + " %",
                spread([_first(one, PROTOCOL.memorized) for one in seeds]),
            ]
        )
    headers = (
        "weight decay",
        "width",
        "parameters",
        "train at the end",
        "memorized at",
        "held out at the end",
        "held out 99 % at",
    )
    return [table(headers, rows)]


def figures(measured: Measured, folder: Path) -> list[str]:
    """For each weight decay held-out accuracy over steps and width, and the cross-section at the last step."""
    decays = sorted({s.decay for s in _wide(measured)})
    figure = Figure(figsize=(9, 3.4 * len(decays)), layout="constrained")
    axes = figure.subplots(len(decays), 2, squeeze=False)
    for (heat, section), decay in zip(axes, decays, strict=True):
        row = _row(measured, decay)
        widths, steps, accuracy = _grid(row)
        shown = heat.pcolormesh(steps, np.arange(len(widths)), accuracy, vmin=0, vmax=1, cmap="viridis", shading="nearest")
        heat.set_xscale("log")
        heat.set_yticks(range(len(widths)), [str(width) for width in widths])
        heat.set_xlabel("step")
        heat.set_ylabel("width")
        heat.set_title(f"held-out accuracy, weight decay {decay:g}", fontsize=9)
        figure.colorbar(shown, ax=heat)
        for name, color, final in (("train", ORANGE, "train"), ("held out", BLUE, "held_out")):
            values = [[float(getattr(one, final)[-1]) for one in seeds] for seeds in row.values()]
            section.plot(widths, [mean(v) for v in values], "o-", color=color, label=name, markersize=4)
            section.fill_between(
                widths, [min(v) for v in values], [max(v) for v in values], color=color, alpha=0.2, linewidth=0
            )
        section.set_xscale("log", base=2)
        section.set_xlabel("width")
        section.set_title(f"at step {steps[-1]:,.0f}, mean and range of seeds", fontsize=9)
        section.grid(alpha=0.25)
        section.spines[["top", "right"]].set_visible(False)
    axes[0][1].legend(frameon=False, fontsize=8)
    save(figure, folder / "model-wise.png")
    return ["model-wise.png"]


Row = dict[int, list[Curves]]  # by width, narrow to wide


def _wide(measured: Measured) -> dict[Wide, list[Curves]]:
    return {setting: seeds for setting, seeds in measured.items() if isinstance(setting, Wide)}


def _row(measured: Measured, decay: float) -> Row:
    found = {s.width: seeds for s, seeds in _wide(measured).items() if s.decay == decay}
    return dict(sorted(found.items()))


def _grid(row: Row) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
    """Widths, log-spaced steps (t,), and mean held-out accuracy (widths, t)."""
    last = min(one.steps[-1] for seeds in row.values() for one in seeds)
    steps = np.geomspace(10, last, POINTS)
    curves = [
        np.mean([np.interp(np.log(steps), np.log(one.steps), one.held_out) for one in seeds], axis=0) for seeds in row.values()
    ]
    return list(row), steps, np.stack(curves)


def _first(one: Curves, level: float) -> float | None:
    reached = one.steps[one.held_out >= level]
    return float(reached[0]) if len(reached) else None


def _ends(row: Row, name: str) -> dict[int, float]:
    return {width: mean(float(getattr(one, name)[-1]) for one in seeds) for width, seeds in row.items()}


def _smallest_fit(row: Row) -> int | None:
    """The smallest width from which all seeds of every width fit the training data."""
    fitting = None
    for width, seeds in reversed(row.items()):
        if any(float(one.train[-1]) < PROTOCOL.memorized for one in seeds):
            break
        fitting = width
    return fitting


def _fits(row: Row) -> Evidence:
    ends, smallest = _ends(row, "train"), _smallest_fit(row)
    widths = list(row)
    text = (
        f"train accuracy {ends[widths[0]]:.0%} at width {widths[0]}; all seeds fit from width {smallest}"
        if smallest
        else "no width fits"
    )
    return Evidence(text, smallest is not None and smallest > widths[0])


def _jumps(row: Row) -> Evidence:
    ends, smallest = _ends(row, "held_out"), _smallest_fit(row)
    if smallest is None:
        return Evidence("no width fits the training data", False)
    beyond = [width for width in row if width >= smallest]
    steps = {(a, b): ends[b] - ends[a] for a, b in pairwise(beyond)}
    (a, b), jump = max(steps.items(), key=lambda pair: pair[1], default=((smallest, smallest), 0.0))
    levels = [
        f"{ends[smallest]:.0%} at width {smallest}, the smallest that fits",
        f"{ends[beyond[-1]]:.0%} at width {beyond[-1]}",
    ]
    text = f"{levels[0]}; {levels[1]}; largest step {jump:+.0%} from width {a} to {b}"
    return Evidence(text, ends[smallest] < 0.5 and jump >= JUMP)
