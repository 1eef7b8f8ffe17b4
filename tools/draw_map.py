"""The map of tables, from the runs of its sweep: `python -m tools.draw_map FOLDER` writes docs/map/runs.csv and map.png.

    cd docs/map && grokbench sweep sweep.toml --out FOLDER

A row of the map is a table, and a column a setting of AdamW. Numbers are means over the seeds that generalized.
"""

import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from grokbench.results.frames import RunResult, load_runs
from grokbench.tasks import parse_id
from tools.admission import held_out_when_memorized

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "map"
PANELS = {
    "T": "steps-to-generalize T",
    "delay": "T over steps-to-memorize",
    "decay_times": "T × learning rate × weight decay",
}


def run_row(run: RunResult) -> dict[str, object]:
    """What the map needs of a run. Held-out accuracy is that of the exam at which it had memorized."""
    record, exams = run.record, run.exams
    optimizer = record.agent.hyperparameters["optimizer"]
    return {
        "task": record.task,
        "lr": optimizer["lr"],
        "weight_decay": optimizer["weight_decay"],
        "seed": record.seed,
        "budget": record.budget,
        "steps_to_memorize": run.steps_to_memorize,
        "steps_to_generalize": run.steps_to_generalize,
        "first_crossing": record.outcome.first_crossing,
        "passing_share": record.outcome.passing_share,
        "held_out_when_memorized": held_out_when_memorized(run),
        "best_held_out": float(exams["held_out_accuracy"].max()),
    }


def setting_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for every table and setting: T, delay and T·η·λ, means over solved runs; held-out accuracy when memorized."""
    times = runs["steps_to_generalize"].astype(float)
    runs = runs.assign(T=times, delay=times / runs["steps_to_memorize"])
    groups = runs.groupby(["task", "lr", "weight_decay"], sort=False)
    table = groups[["T", "delay", "held_out_when_memorized", "best_held_out"]].mean()
    table["solved"], table["runs"] = groups["steps_to_generalize"].count(), groups.size()
    table = table.reset_index()
    table["decay_times"] = table["T"] * table["lr"] * table["weight_decay"]
    return table


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each number, with the tables as rows and the settings as columns. Gray: no run generalized."""
    tasks = list(dict.fromkeys(table["task"]))
    settings = list(dict.fromkeys(zip(table["lr"], table["weight_decay"], strict=True)))
    figure = Figure(figsize=(13, 0.27 * len(tasks) + 1.4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS.items(), strict=True):
        values = np.full((len(tasks), len(settings)), np.nan)
        marks = np.full(values.shape, "", dtype=object)
        for row in table.to_dict("records"):
            place = tasks.index(row["task"]), settings.index((row["lr"], row["weight_decay"]))
            values[place] = row[name]
            marks[place] = "" if row["solved"] == row["runs"] else f" ({row['solved']}/{row['runs']})"
        mesh = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap="viridis_r", norm=LogNorm())
        axes.set_facecolor("#dddddd")
        for (y, x), value in np.ndenumerate(values):
            if isfinite(value):
                shown = (f"{value:,.0f}" if value >= 20 else f"{value:.1f}") + marks[y, x]
                dark = mesh.norm(value) > 0.35
                axes.text(x, y, shown, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(settings)), [f"{lr:g}\n{decay:g}" for lr, decay in settings], fontsize=8)
        axes.set_xlabel("learning rate, weight decay", fontsize=8)
        axes.set_yticks(range(len(tasks)), [parse_id(task).name for task in tasks], fontsize=8)
        axes.tick_params(length=0)
    return figure


def main(folders: Sequence[str]) -> None:
    """Write the runs, the picture and the table."""
    runs = pd.DataFrame([run_row(run) for run in load_runs(*folders)])
    runs = runs.sort_values(["task", "lr", "weight_decay", "seed"], kind="stable")
    runs.to_csv(FOLDER / "runs.csv", index=False, lineterminator="\n")
    table = setting_rows(runs)
    draw(table).savefig(FOLDER / "map.png", dpi=130)
    print(table.to_string())


if __name__ == "__main__":
    main(sys.argv[1:])
