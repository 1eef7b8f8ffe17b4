"""A study's report: each published statement beside what was measured, with a verdict, as Markdown."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal, get_args

import numpy as np
from tabulate import tabulate

Verdict = Literal["reproduced", "not reproduced", "not tested at this scale"]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Finding:
    """What was measured about a statement, in words and numbers, and whether it bears the statement out."""

    measured: str
    holds: bool


@dataclass(frozen=True)
class Statement:
    """A published statement and where it stands."""

    text: str
    source: str
    finding: Finding | None

    @property
    def verdict(self) -> Verdict:
        """What follows."""
        if self.finding is None:
            return "not tested at this scale"
        return "reproduced" if self.finding.holds else "not reproduced"


def statements_table(statements: Sequence[Statement]) -> str:
    """One row per statement."""
    rows = [(one.text, one.source, one.finding.measured if one.finding else "", f"**{one.verdict}**") for one in statements]
    return table(("statement", "where", "measured here", "verdict"), rows)


def verdicts(statements: Sequence[Statement]) -> str:
    """How many statements there are of each verdict."""
    counts = Counter(one.verdict for one in statements)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text."""
    return tabulate(list(rows), headers, tablefmt="github", disable_numparse=True)


def spread(values: Sequence[float | None], digits: int = 0) -> str:
    """The mean with the lowest and the highest; None is what never came."""
    known = [value for value in values if value is not None]
    missing = f", {len(values) - len(known)} never" if len(known) < len(values) else ""
    if not known:
        return "never"
    return f"{mean(known):,.{digits}f} ({min(known):,.{digits}f}–{max(known):,.{digits}f}{missing})"


def bootstrap(statistic: Callable[[np.random.Generator], float]) -> tuple[float, float]:
    """The middle 95 % of a statistic of resampled runs."""
    random = np.random.Generator(np.random.Philox(5))
    low, high = np.quantile([statistic(random) for _ in range(RESAMPLES)], [0.025, 0.975])
    return float(low), float(high)
