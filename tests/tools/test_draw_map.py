"""The map of tables: its numbers are means over the runs that generalized."""

from math import isnan

import pandas as pd
import pytest

from grokbench.agents.recipes import recipe
from grokbench.results.frames import RunResult
from tests.support.entries import make_run
from tools.draw_map import draw, run_row, setting_rows

TABLES = ("sub_mod31-0.6-v1", "add_mod47-0.35-v1")


@pytest.fixture
def runs() -> pd.DataFrame:
    """Two tables, two settings of AdamW, and two seeds, of which one never generalizes with the second setting."""
    rows = []
    for table in TABLES:
        for decay, times in ((1.0, (500, 700)), (3.0, (300, 1e9))):
            agent = recipe("transformer", optimizer={"weight_decay": decay})
            made = [make_run(table, seed=seed, steps_to_generalize=time, recipe=agent) for seed, time in enumerate(times)]
            rows += [run_row(RunResult(record)) for record in made]
    return pd.DataFrame(rows)


def test_a_row_for_every_table_and_setting(runs: pd.DataFrame) -> None:
    """T, T over steps-to-memorize, and T in decay times; a censored run counts as unsolved, not as fast."""
    table = setting_rows(runs)
    assert table[["task", "weight_decay", "solved", "runs"]].values.tolist() == [
        [task, decay, solved, 2] for task in TABLES for decay, solved in ((1.0, 2), (3.0, 1))
    ]
    first, second = table.iloc[0], table.iloc[1]
    times = runs["steps_to_generalize"]
    assert first["T"] == pytest.approx((times[0] + times[1]) / 2)
    assert second["T"] == times[2]
    assert second["delay"] == pytest.approx(times[2] / runs["steps_to_memorize"][2])
    assert first["decay_times"] == pytest.approx(first["T"] * 1e-2)
    assert 0 <= first["held_out_when_memorized"] < 0.2


def test_the_picture_has_a_panel_for_each_number(runs: pd.DataFrame) -> None:
    """Cells in which some runs failed say how many generalized; without any there is no number."""
    never = runs.assign(steps_to_generalize=runs["steps_to_generalize"].where(runs["task"] == TABLES[0]))
    figure = draw(setting_rows(never))
    left = figure.axes[0]
    assert len(figure.axes) == 3
    assert [text.get_text().endswith("(1/2)") for text in left.texts] == [False, True]
    assert isnan(setting_rows(never)["T"].iloc[-1])
