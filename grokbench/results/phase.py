"""Phase tables: what became of the runs of every setting, by one or two things that were varied.

A setting grokked if more than half of its runs did. Else it has the phase of most of the others:

| phase | its runs |
|---|---|
| grokked | generalized within the budget |
| collapsed | crossed the threshold, and lost it again |
| memorized | reached 99 % of the training answers, and never crossed the threshold |
| unfit | never reached 99 % of the training answers, or diverged |
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grokbench.errors import ResultError

PHASES = ("grokked", "collapsed", "memorized", "unfit")
UNVARIED = ("budget", "exam_grid")  # columns beside hyperparameters and parts of the task that runs of one table share
MAKERS = ("agent", "code", "salt")  # columns that tell runs of one setting apart
RESAMPLES = 2_000
MOST_NAMES = 2  # of tasks or agents in a title


class PowerLaw(NamedTuple):
    """The fit T = factor · x^exponent.

    Attributes:
        factor: T at x = 1, in steps.
        exponent: the slope of log T over log x.
        low: the lower end of its 95 % interval, from resampled runs.
        high: the upper end.
        points: the number of values of x with a median T.
    """

    factor: float
    exponent: float
    low: float
    high: float
    points: int


def full_column(runs: pd.DataFrame, name: str) -> str:
    """The column that a name means: `optimizer.weight_decay` for `weight_decay`.

    Raises:
        ResultError: no column of the runs is called so, or several are.
    """
    choices = [*MAKERS, *varied_columns(runs, every=True)]
    matching = [column for column in choices if column == name or column.endswith(f".{name}")]
    if name in matching or len(matching) == 1:
        return name if name in matching else matching[0]
    if matching:
        raise ResultError(f"{name} can be {' or '.join(matching)}: write one of them")
    varied = ", ".join(varied_columns(runs)) or "nothing"
    raise ResultError(f"these runs have no {name}; what varies is {varied}, and all of them have {', '.join(choices)}")


def varied_columns(runs: pd.DataFrame, *, every: bool = False) -> list[str]:
    """Parts of tasks and hyperparameters that differ among the runs; with `every`, those that don't, too."""
    start = list(runs.columns).index("budget")
    columns = list(runs.columns)[start:]
    return [column for column in columns if every or runs[column].map(comparable).nunique(dropna=False) > 1]


def chosen(runs: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The complete runs with these values.

    Raises:
        ResultError: a name is no column, or no run is left.
    """
    runs = runs if runs.empty else runs[runs["incomplete"].isna()]
    if runs.empty:
        raise ResultError("no complete runs: make some with `grokbench sweep`")
    for name, value in where.items():
        column = full_column(runs, name)
        matching = runs[runs[column].map(lambda each, value=value: _same(each, value))]
        if matching.empty:
            values = ", ".join(map(str, sorted(set(runs[column].map(comparable)), key=str)))
            raise ResultError(f"no complete run has {name}={value}; it is one of {values}")
        runs = matching
    return runs


def phase_table(runs: pd.DataFrame, x: str, y: str | None = None, *, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A row for every setting, sorted by y and x.

    Args:
        runs: a row per run, as `Runs.runs`.
        x: what varies, such as `ratio` or `optimizer.weight_decay`.
        y: a second thing that varies.
        where: name → value, to choose among runs that differ in more.

    Returns:
        Columns x and y, by their full names; `runs`, `solved`, `median_T` (steps; infinite where half of the runs have none),
        `low` and `high` (its 95 % interval), `median_memorized`, `final_rank`, and `phase`.

    Raises:
        ResultError: no column has such a name, a run has no value of x or y, or the runs differ in more: in something else that
            varies, or those of one setting in their agent, its code or their salt.
    """
    runs = chosen(runs, where or {})
    axes = [full_column(runs, name) for name in (y, x) if name is not None]
    if len(set(axes)) < len(axes):
        raise ResultError(f"x and y are both {axes[0]}: choose two things that vary")
    keyed = runs.assign(**{axis: runs[axis].map(comparable) for axis in axes})
    if missing := [axis for axis in axes if keyed[axis].isna().any()]:
        count = int(keyed[missing[0]].isna().sum())
        raise ResultError(f"{count} of the {len(runs)} runs have no {missing[0]}: choose other runs with where")
    if others := _other_differences(keyed, axes):
        first = others[0]
        values = sorted(set(runs[first].map(comparable)) - {""}, key=str)
        raise ResultError(f"the runs differ in {', '.join(others)} too: choose with where, for example {first}={values[0]}")
    rows = [dict(zip(axes, key, strict=True)) | _row(members) for key, members in keyed.groupby(axes, sort=True)]
    return pd.DataFrame(rows)[[*reversed(axes), *_row(runs)]]


def _other_differences(runs: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """What the runs differ in beside the axes: what varies, and agent, code and salt if they differ in one setting."""
    varied = [column for column in varied_columns(runs) if column not in axes]
    settings = runs.assign(**{column: runs[column].map(comparable) for column in varied}).groupby(
        [*axes, *varied], dropna=False
    )
    makers = [maker for maker in MAKERS if maker not in axes and settings[maker].nunique().max() > 1]
    return [*varied, *makers]


def phase_title(runs: pd.DataFrame, *, where: Mapping[str, Any] | None = None) -> str:
    """What the runs of a phase table are of: agents, tasks, budgets and their number."""
    runs = chosen(runs, where or {})
    agents, tasks, budgets = (list(dict.fromkeys(runs[column])) for column in ("agent", "task", "budget"))
    budget = " to ".join(f"{number:,}" for number in sorted({min(budgets), max(budgets)}))
    return f"{_listed(agents)} on {_listed(tasks)}, budget {budget}, {len(runs):,} runs"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]} … {names[-1]} ({len(names)})"


def power_law(runs: pd.DataFrame, x: str, *, where: Mapping[str, Any] | None = None) -> PowerLaw:
    """The fit T ∝ x^a to the medians of log T, where more than half of the runs generalized. Its interval resamples runs.

    Raises:
        ResultError: x isn't a number above 0, or fewer than three of its values have a median.
    """
    runs = chosen(runs, where or {})
    column = full_column(runs, x)
    if texts := [key for key in runs[column].map(comparable).unique() if not isinstance(key, Real)]:
        raise ResultError(f"a power law is over numbers, and {x} is {texts[0]}: leave out the fit")
    times = {float(key): _times(members) for key, members in runs.groupby(runs[column].map(comparable))}
    solved = {key: values for key, values in times.items() if np.isfinite(np.median(values))}
    if len(solved) < 3 or min(solved) <= 0:
        raise ResultError(f"a power law needs three values of {x} above 0 at which most runs generalize, got {len(solved)}")
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(RESAMPLES):
        medians = {key: float(np.median(rng.choice(values, len(values)))) for key, values in solved.items()}
        finite = {key: median for key, median in medians.items() if np.isfinite(median)}
        if len(finite) > 1:
            slopes.append(_fitted(finite)[0])
    low, high = np.quantile(slopes, [0.025, 0.975])
    exponent, factor = _fitted({key: float(np.median(values)) for key, values in solved.items()})
    return PowerLaw(factor, exponent, float(low), float(high), len(solved))


def _fitted(medians: Mapping[float, float]) -> tuple[float, float]:
    """Exponent and factor of the line through the logarithms."""
    slope, intercept = np.polyfit(np.log(list(medians)), np.log(list(medians.values())), 1)
    return float(slope), float(np.exp(intercept))


def _row(runs: pd.DataFrame) -> dict[str, Any]:
    times = _times(runs)
    low, high = _median_interval(times)
    ranks = runs.loc[np.isfinite(times), "final_rank"].dropna() if "final_rank" in runs else pd.Series(dtype=float)
    phases = [_phase(run) for _, run in runs.iterrows()]
    return {
        "runs": len(runs),
        "solved": int(np.isfinite(times).sum()),
        "median_T": float(np.median(times)),
        "low": low,
        "high": high,
        "median_memorized": float(np.median(runs["steps_to_memorize"].astype(float).fillna(np.inf))),
        "final_rank": float(ranks.median()) if len(ranks) else None,
        "phase": PHASES[0] if np.isfinite(np.median(times)) else max(PHASES[1:], key=phases.count),
    }


def _times(runs: pd.DataFrame) -> NDArray[np.float64]:
    """T of every run, infinite where it is censored."""
    return np.array(runs["steps_to_generalize"].astype(float).fillna(np.inf), dtype=np.float64)


def _median_interval(times: NDArray[np.float64]) -> tuple[float, float]:
    """A 95 % interval of the median, from resampled runs. It takes sorted values, so infinite times are no obstacle."""
    drawn = np.random.default_rng(0).choice(times, (RESAMPLES, len(times)))
    medians = np.sort(np.sort(drawn, axis=1)[:, (len(times) - 1) // 2])
    return float(medians[int(0.025 * RESAMPLES)]), float(medians[int(0.975 * RESAMPLES)])


def _phase(run: "pd.Series[Any]") -> str:
    if pd.notna(run["steps_to_generalize"]):
        return "grokked"
    if run["end"] == "diverged" or pd.isna(run["steps_to_memorize"]):
        return "collapsed" if pd.notna(run["first_crossing"]) else "unfit"
    return "collapsed" if pd.notna(run["first_crossing"]) else "memorized"


def comparable(value: Any) -> Any:
    """A value that can be a key: a list with one number is the number, any other its text."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value[0] if len(value) == 1 else str(list(value))
    return None if isinstance(value, float) and np.isnan(value) else value


def _same(value: Any, wanted: Any) -> bool:
    value = comparable(value)
    try:
        return bool(np.isclose(float(value), float(wanted), rtol=1e-9))
    except (TypeError, ValueError):
        return str(value) == str(wanted)
