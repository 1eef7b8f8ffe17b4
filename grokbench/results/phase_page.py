"""A page with a phase diagram, which shows the curves of the setting under the pointer. One file; nothing is loaded."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import LogNorm, to_hex

from grokbench.results.phase import chosen, comparable, full_column
from grokbench.results.phase_plots import COLORS, LABELS

MARK = "DATA"
DIGITS = 4  # decimals of an accuracy


def phase_page(
    runs: pd.DataFrame, exams: Sequence[pd.DataFrame], table: pd.DataFrame, x: str, y: str | None, where: Mapping[str, Any]
) -> str:
    """The page as HTML.

    Args:
        runs: a row per run, as `Runs.runs`.
        exams: the exams of every run, in the same order, as `RunResult.exams`.
        table: the phase table of these runs.
        x: what varies along the horizontal axis.
        y: what varies along the vertical axis, if there is one.
        where: name → value of the runs that were chosen.
    """
    shown = chosen(runs, where)
    axes = [full_column(shown, name) for name in (x, y) if name is not None]
    values = [sorted(table[axis].unique(), key=_order) for axis in axes]
    keys = [tuple(comparable(row[axis]) for axis in axes) for _, row in shown.iterrows()]
    curves: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for key, number in zip(keys, shown.index, strict=True):
        curves.setdefault(key, []).append(_curve(exams[number]))
    times = table.loc[np.isfinite(table["median_T"]) & (table["phase"] == "grokked"), "median_T"]
    norm = LogNorm(times.min(), max(times.max(), 1.01 * times.min())) if len(times) else None
    settings = []
    for _, row in table.iterrows():
        key = tuple(row[axis] for axis in axes)
        places = [axis.index(value) for axis, value in zip(values, key, strict=True)]
        settings.append(
            {
                "column": places[0],
                "row": places[1] if y is not None else 0,
                "name": ", ".join(f"{axis} {_text(value)}" for axis, value in zip(axes, key, strict=True)),
                "color": to_hex(colormaps[COLORS](norm(row["median_T"]))) if norm and row["phase"] == "grokked" else None,
                "curves": curves.get(key, []),
                **{name: row[name] for name in ("phase", "runs", "solved")},
                **{name: _finite(row[name]) for name in ("median_T", "low", "high", "median_memorized")},
            }
        )
    content = {
        "title": f"steps-to-generalize over {' and '.join(axes)}",
        "scale": f"Dark is late: {times.min():,.0f} to {times.max():,.0f} steps." if len(times) else "No setting generalized.",
        "x": {"name": axes[0], "values": [_text(value) for value in values[0]]},
        "y": {"name": axes[1] if y else "", "values": [_text(value) for value in values[1]] if y else [""]},
        "settings": settings,
        "phases": {phase: LABELS[phase] for phase in LABELS if (table["phase"] == phase).any()},
    }
    template = files("grokbench.results").joinpath("phase.html").read_text(encoding="utf-8")
    return template.replace(MARK, json.dumps(content, allow_nan=False, default=_plain).replace("<", "\\u003c"), 1)


def _curve(exams: pd.DataFrame) -> dict[str, list[float]]:
    return {
        "steps": exams["step"].tolist(),
        "train": exams["train_accuracy"].round(DIGITS).tolist(),
        "held_out": exams["held_out_accuracy"].round(DIGITS).tolist(),
    }


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _plain(value: Any) -> Any:
    return value.item()


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
