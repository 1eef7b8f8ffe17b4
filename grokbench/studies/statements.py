"""Published statements and the measurements that decide whether they hold here."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Generic, Literal, Protocol, get_args

from grokbench.analysis.curves import Curves
from grokbench.studies.settings import CurvesBySetting, SettingType

Conclusion = Literal["reproduced", "not reproduced", "not tested at this scale"]


class Measurement(Protocol):
    """Numbers that were measured on runs to decide about a statement. Its `str` puts them into words for the report."""

    @property
    def holds(self) -> bool:
        """Whether the numbers agree with the statement."""


@dataclass(frozen=True)
class Statement:
    """A published statement with what was measured about it.

    Attributes:
        text: The statement.
        source: Its place in the paper, or "this project".
        measurement: None if no runs were made for it, or if it has no test yet.
    """

    text: str
    source: str
    measurement: Measurement | None

    @property
    def conclusion(self) -> Conclusion:
        """Whether the statement was reproduced."""
        if self.measurement is None:
            return "not tested at this scale"
        return "reproduced" if self.measurement.holds else "not reproduced"


@dataclass(frozen=True)
class Claim(Generic[SettingType]):
    """A statement that can be tested.

    Attributes:
        text: The statement.
        source: Its place in the paper, or "this project".
        runs: The settings whose runs decide.
        test: Measures these runs; returns None if they can't decide.
    """

    text: str
    _: KW_ONLY
    source: str
    runs: Sequence[SettingType]
    test: Callable[[Mapping[SettingType, list[Curves]]], Measurement | None]

    def check(self, curves: CurvesBySetting) -> Statement:
        """The statement with its measurement; it stays untested if any of its settings has no runs."""
        tested = bool(self.runs) and all(setting in curves for setting in self.runs)
        measurement = self.test({setting: curves[setting] for setting in self.runs}) if tested else None
        return Statement(self.text, self.source, measurement)


@dataclass(frozen=True)
class Share:
    """How many of several runs show something."""

    count: int
    total: int

    @classmethod
    def among(cls, runs: Iterable[Curves], shows: Callable[[Curves], bool]) -> "Share":
        """The share of `runs` for which `shows` is true."""
        answers = [shows(run) for run in runs]
        return cls(sum(answers), len(answers))

    @property
    def is_majority(self) -> bool:
        """Whether more than half of the runs show it."""
        return self.count > self.total / 2

    def __str__(self) -> str:
        return f"{self.count} of {self.total} runs"


def all_runs(curves: Mapping[SettingType, list[Curves]]) -> list[Curves]:
    """The runs of all settings, setting by setting."""
    return [run for seeds in curves.values() for run in seeds]


def count_conclusions(statements: Sequence[Statement]) -> str:
    """The number of statements with each conclusion, as text: "2 reproduced, 1 not reproduced"."""
    counts = Counter(statement.conclusion for statement in statements)
    return ", ".join(f"{counts[conclusion]} {conclusion}" for conclusion in get_args(Conclusion) if counts[conclusion])
