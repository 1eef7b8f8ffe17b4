"""What statements about deep MLPs are decided by.

Each class is a measurement on the runs of some settings. `measure` takes the numbers, `holds` says whether they agree with the
statement, and `str` puts them into words for the report. Settings come in the order of depth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import mean, median
from typing import TypeVar

from grokbench.analysis.curves import EFFECTIVE_RANK, GENERALIZED, NUMERICAL_RANK, Curves, RankChange
from grokbench.analysis.stages import Stretch
from grokbench.studies.report import percent, spread
from grokbench.studies.settings import Deep
from grokbench.studies.statements import Share, all_runs

FALLEN = 0.9  # a rank below this share of its earlier value has fallen
DeepCurves = Mapping[Deep, list[Curves]]
Value = TypeVar("Value")


@dataclass(frozen=True)
class LateRuns:
    """Runs that generalize late. `ratios` are steps to generalize over steps to memorize, of the late runs."""

    share: Share
    ratios: list[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "LateRuns":
        """Find the late runs."""
        runs = all_runs(curves)
        share = Share.among(runs, lambda run: run.delay is not None)
        return cls(share, ratios=[run.delay.ratio for run in runs if run.delay])

    @property
    def holds(self) -> bool:
        """Most runs are late."""
        return self.share.is_majority

    def __str__(self) -> str:
        if not self.ratios:
            return f"{self.share} late"
        return f"{self.share} late; {spread(self.ratios, 1)} times the steps to memorize"


@dataclass(frozen=True)
class RunsAtOnce:
    """Runs that generalize without delay, and the final held-out accuracy of all runs."""

    share: Share
    final_accuracies: list[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "RunsAtOnce":
        """Find the runs without delay."""
        runs = all_runs(curves)
        share = Share.among(runs, lambda run: run.generalizes_at_once)
        return cls(share, final_accuracies=[run.final_held_out for run in runs])

    @property
    def holds(self) -> bool:
        """Most runs generalize without delay."""
        return self.share.is_majority

    def __str__(self) -> str:
        return f"{self.share} generalize without delay; held out {percent(self.final_accuracies)} at the end"


@dataclass(frozen=True)
class FailedRuns:
    """The final held-out accuracy of all runs."""

    final_accuracies: list[float]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "FailedRuns":
        """Take the final accuracies."""
        return cls([run.final_held_out for run in all_runs(curves)])

    @property
    def holds(self) -> bool:
        """No run generalizes."""
        return 100 * max(self.final_accuracies) < 100 * GENERALIZED

    def __str__(self) -> str:
        return f"held out {percent(self.final_accuracies)} at the end"


@dataclass(frozen=True)
class LateRunsByDepth:
    """Which runs of each depth are late."""

    late: dict[int, list[bool]]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "LateRunsByDepth":
        """Find the late runs of each depth."""
        return cls(_by_depth(curves, lambda run: run.delay is not None))

    @property
    def holds(self) -> bool:
        """Deeper networks are late more often."""
        return _grows([mean(late) for late in self.late.values()])

    def __str__(self) -> str:
        return "; ".join(f"depth {depth}: {sum(late)} of {len(late)} runs late" for depth, late in self.late.items())


@dataclass(frozen=True)
class StepsByDepth:
    """The step at which an event comes in the runs of each depth, None where it never comes."""

    event: str
    steps: dict[int, list[float | None]]

    @classmethod
    def to_generalize(cls, curves: DeepCurves) -> "StepsByDepth":
        """The steps with held-out accuracy halfway."""
        return cls("held-out accuracy halfway", _by_depth(curves, lambda run: run.halfway_step))

    @classmethod
    def to_memorize(cls, curves: DeepCurves) -> "StepsByDepth":
        """The steps with the training data memorized."""
        return cls("the training data memorized", _by_depth(curves, lambda run: run.steps_to_memorize))

    @property
    def holds(self) -> bool:
        """The median over runs grows with depth."""
        return _grows([median(inf if step is None else step for step in steps) for steps in self.steps.values()])

    def __str__(self) -> str:
        by_depth = "; ".join(f"{spread(steps)} at depth {depth}" for depth, steps in self.steps.items())
        return f"step with {self.event}: {by_depth}"


@dataclass(frozen=True)
class AllLateAndLaterWithDepth:
    """Runs that generalize late, and the steps that they take by depth."""

    share: Share
    steps: StepsByDepth

    @classmethod
    def measure(cls, curves: DeepCurves) -> "AllLateAndLaterWithDepth":
        """Find the late runs and their steps."""
        return cls(LateRuns.measure(curves).share, StepsByDepth.to_generalize(curves))

    @property
    def holds(self) -> bool:
        """All runs are late, and deeper networks take longer."""
        return self.share.count == self.share.total and self.steps.holds

    def __str__(self) -> str:
        return f"{self.share} late; {self.steps}"


@dataclass(frozen=True)
class SettledRank:
    """The last layer's rank in the runs of a setting whose held-out accuracy has stopped rising.

    Attributes:
        name: The setting.
        changes: Each run's rank where held-out accuracy begins to rise, and at the end.
        lags: How many times the halfway step half of the fall takes, for each run with a fall.
    """

    name: str
    changes: list[RankChange]
    lags: list[float | None]

    @classmethod
    def measure(cls, setting: Deep, seeds: Sequence[Curves], measure: str) -> "SettledRank":
        """Take the rank `measure` of the settled runs."""
        settled = [run for run in seeds if run.settled]
        changes = [run.rank_change_since_surge(measure) for run in settled]
        lags = [run.rank_lag(measure) for run, change in zip(settled, changes, strict=True) if _has_fallen(change)]
        return cls(_name(setting), changes, lags)

    def __str__(self) -> str:
        if not self.changes:
            return f"{self.name}: still rising"
        text = f"{self.name}: {len(self.lags)} of {len(self.changes)}, last layer {_describe_change(self.changes)}"
        return f"{text}, half of it at ×{spread(self.lags, 1)}" if self.lags else text


@dataclass(frozen=True)
class RankFalls:
    """The last layer's rank in the runs whose held-out accuracy has stopped rising, setting by setting."""

    settings: list[SettledRank]

    @classmethod
    def effective(cls, curves: DeepCurves) -> "RankFalls":
        """Take the effective rank."""
        return cls([SettledRank.measure(setting, seeds, EFFECTIVE_RANK) for setting, seeds in curves.items()])

    @classmethod
    def numerical(cls, curves: DeepCurves) -> "RankFalls":
        """Take the paper's numerical rank."""
        return cls([SettledRank.measure(setting, seeds, NUMERICAL_RANK) for setting, seeds in curves.items()])

    @property
    def share(self) -> Share:
        """The share of settled runs with a fall."""
        fallen = sum(len(setting.lags) for setting in self.settings)
        return Share(fallen, sum(len(setting.changes) for setting in self.settings))

    @property
    def holds(self) -> bool:
        """It falls in most of these runs."""
        return self.share.is_majority

    def __str__(self) -> str:
        settings = "; ".join(str(setting) for setting in self.settings)
        return f"{self.share} ({settings}; × the step with held-out accuracy halfway)"


@dataclass(frozen=True)
class RankStays:
    """The last layer's effective rank at memorization and at the end."""

    changes: dict[Deep, list[RankChange]]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "RankStays":
        """Take the ranks of all runs."""
        return cls({setting: [run.rank_change_since_memorizing() for run in seeds] for setting, seeds in curves.items()})

    @property
    def share(self) -> Share:
        """The share of runs whose rank stays."""
        stays = [not _has_fallen(change) for changes in self.changes.values() for change in changes]
        return Share(sum(stays), len(stays))

    @property
    def holds(self) -> bool:
        """It stays in most runs."""
        return self.share.is_majority

    def __str__(self) -> str:
        settings = "; ".join(f"{_name(setting)}: {_describe_change(changes)}" for setting, changes in self.changes.items())
        return f"stays in {self.share} (effective rank of the last layer, {settings})"


@dataclass(frozen=True)
class TwoStages:
    """Runs that generalize in two or more surges."""

    share: Share

    @classmethod
    def measure(cls, curves: DeepCurves) -> "TwoStages":
        """Count the surges of all runs."""
        return cls(Share.among(all_runs(curves), lambda run: len(run.surges) > 1))

    @property
    def holds(self) -> bool:
        """Most runs have two surges or more."""
        return self.share.is_majority

    def __str__(self) -> str:
        return str(self.share)


@dataclass(frozen=True)
class FirstStages:
    """The first surge of every run with two or more, for each depth."""

    surges: dict[int, list[Stretch]]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "FirstStages":
        """Find the first surges."""
        surges = _by_depth(curves, lambda run: run.surges)
        return cls({depth: [run[0] for run in runs if len(run) > 1] for depth, runs in surges.items()})

    @property
    def holds(self) -> bool:
        """The first surge comes later in deeper networks and reaches a lower accuracy, by the median over runs."""
        if not all(self.surges.values()):
            return False
        steps = [median(surge.start for surge in surges) for surges in self.surges.values()]
        accuracies = [median(surge.after for surge in surges) for surges in self.surges.values()]
        return _grows(steps) and _grows(accuracies[::-1])

    def __str__(self) -> str:
        text = "; ".join(
            f"depth {depth}: at step {spread([s.start for s in surges])}, to {percent([s.after for s in surges])}"
            for depth, surges in self.surges.items()
        )
        return text if all(self.surges.values()) else f"{text} (not every depth has two surges)"


@dataclass(frozen=True)
class RankDoubleDescent:
    """Runs in which a rank of the last layer falls, rises and falls again."""

    numerical: Share
    effective: Share

    @classmethod
    def measure(cls, curves: DeepCurves) -> "RankDoubleDescent":
        """Count the falls of both ranks."""
        runs = all_runs(curves)
        return cls(
            numerical=Share.among(runs, lambda run: run.num_rank_falls(NUMERICAL_RANK) > 1),
            effective=Share.among(runs, lambda run: run.num_rank_falls() > 1),
        )

    @property
    def holds(self) -> bool:
        """The numerical rank does so in most runs."""
        return self.numerical.is_majority

    def __str__(self) -> str:
        effective = f"{self.effective.count} of {self.effective.total}"
        return f"numerical rank of the last layer: {self.numerical}; effective rank: {effective}"


@dataclass(frozen=True)
class TunnelsByDepth:
    """The number of tunnel layers in the runs of each depth."""

    lengths: dict[int, list[int]]

    @classmethod
    def measure(cls, curves: DeepCurves) -> "TunnelsByDepth":
        """Count the tunnel layers."""
        lengths: dict[int, list[int]] = {}
        for setting, seeds in curves.items():
            lengths.setdefault(setting.depth, []).extend(run.tunnel(setting.width) for run in seeds)
        return cls(lengths)

    @property
    def holds(self) -> bool:
        """The median over runs grows with depth: a single odd run makes no tunnel."""
        return _grows([median(lengths) for lengths in self.lengths.values()])

    def __str__(self) -> str:
        return "; ".join(f"depth {depth}: {spread(lengths, 1)} layers" for depth, lengths in self.lengths.items())


@dataclass(frozen=True)
class TunnelLengths:
    """The number of tunnel layers in each setting's runs, and the published number of each setting."""

    published: Sequence[int]
    lengths: list[list[int]]

    @classmethod
    def compared_to(cls, *published: int) -> Callable[[DeepCurves], "TunnelLengths"]:
        """A test against the published length of each setting."""

        def measure(curves: DeepCurves) -> "TunnelLengths":
            lengths = [[run.tunnel(setting.width) for run in seeds] for setting, seeds in curves.items()]
            return cls(published, lengths)

        return measure

    @property
    def holds(self) -> bool:
        """The means over runs, rounded, are the published numbers."""
        means = [round(mean(lengths)) for lengths in self.lengths]
        return means == list(self.published)

    def __str__(self) -> str:
        return "; ".join(", ".join(map(str, lengths)) for lengths in self.lengths)


def _by_depth(curves: DeepCurves, number: Callable[[Curves], Value]) -> dict[int, list[Value]]:
    """A number of every run, by the depth of its network."""
    by_depth: dict[int, list[Value]] = {}
    for setting, seeds in curves.items():
        by_depth.setdefault(setting.depth, []).extend(number(run) for run in seeds)
    return by_depth


def _grows(values: Sequence[float]) -> bool:
    """Whether the values never fall, and rise at least once."""
    return list(values) == sorted(values) and len(set(values)) > 1


def _has_fallen(change: RankChange) -> bool:
    return change.end < FALLEN * change.start


def _name(setting: Deep) -> str:
    return f"depth {setting.depth}, γ = {setting.decay:g}"


def _describe_change(changes: Sequence[RankChange]) -> str:
    return f"{mean(change.start for change in changes):.0f} → {mean(change.end for change in changes):.0f}"
