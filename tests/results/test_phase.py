"""Phase tables, power laws, figures and pages, of made-up runs whose outcome is known."""

import json
import re
from html.parser import HTMLParser
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from grokbench.agents.recipes import recipe
from grokbench.errors import ResultError
from grokbench.results.frames import Runs
from grokbench.results.phase import PHASES, phase_table, phase_title, power_law
from grokbench.results.phase_page import phase_page
from grokbench.results.phase_plots import HATCHES, LABELS
from grokbench.runs.records import RunRecord
from grokbench.tasks import parse_id
from tests.support.entries import make_run

RATIOS, DECAYS = (0.3, 0.5, 0.7, 0.9), (0.1, 1.0, 10.0)
NEVER = float("inf")


def run(ratio: float, decay: float, seed: int, steps: float, budget: int = 8_000) -> RunRecord:
    """A run that generalizes at about so many steps."""
    task = parse_id(f"add_mod23-{ratio}", budget, "sparse")
    return make_run(task, seed=seed, steps_to_generalize=steps, recipe=recipe("mlp", optimizer={"weight_decay": decay}))


@pytest.fixture(scope="module")
def runs() -> Runs:
    """T = 600/decay from ratio 0.5 on, and never below; three seeds."""
    settings = product(RATIOS, DECAYS, range(3))
    return Runs(tuple(run(ratio, decay, seed, 600 / decay if ratio > 0.4 else NEVER) for ratio, decay, seed in settings))


def test_a_row_for_every_setting(runs: Runs) -> None:
    """Full names, medians with intervals, and the phase. A setting without T is infinite."""
    table = runs.phase_table("ratio", "weight_decay")
    assert table.columns[:2].tolist() == ["ratio", "optimizer.weight_decay"]
    assert len(table) == 12
    assert (table["runs"] == 3).all()
    grokked = table["ratio"] > 0.4
    assert (table.loc[~grokked, "phase"] == "memorized").all()
    assert np.isinf(table.loc[~grokked, "median_T"]).all()
    slow = table[grokked & (table["optimizer.weight_decay"] == 1.0)]
    assert slow["median_T"].between(600, 660).all()
    assert (slow["low"] <= slow["median_T"]).all()
    assert (table.loc[grokked, "solved"] == 3).all()


def test_the_phase_is_that_of_most_runs() -> None:
    """A setting grokked if more than half of its runs did: then there is a median T to draw."""
    first = run(0.5, 1.0, 0, 600).model_dump(by_alias=True)
    frame = Runs((run(0.5, 1.0, 0, 600), run(0.5, 1.0, 1, NEVER))).runs
    assert phase_table(frame, "weight_decay")["phase"].tolist() == ["memorized"]
    more = Runs((run(0.5, 1.0, 0, 600), run(0.5, 1.0, 1, NEVER), run(0.5, 1.0, 2, 700))).runs
    assert phase_table(more, "weight_decay")["phase"].tolist() == ["grokked"]
    lost = frame.assign(steps_to_generalize=pd.array([None, None], "Int64"), first_crossing=pd.array([500, None], "Int64"))
    assert phase_table(lost, "weight_decay")["phase"].tolist() == ["collapsed"]
    unfit = lost.assign(first_crossing=pd.array([None, None], "Int64"), steps_to_memorize=pd.array([None, None], "Int64"))
    assert phase_table(unfit, "weight_decay")["phase"].tolist() == ["unfit"]
    assert first["exam_grid"] == "sparse"


def test_runs_that_differ_in_more_are_refused(runs: Runs) -> None:
    """The error names what else varies and how to choose, and a choice helps."""
    with pytest.raises(
        ResultError, match=r"differ in optimizer\.weight_decay too: choose with where, for example optimizer\.w"
    ):
        runs.phase_table("ratio")
    assert runs.phase_table("ratio", where={"weight_decay": "1"})["ratio"].tolist() == list(RATIOS)
    with pytest.raises(ResultError, match=r"no complete run has ratio=0\.4; it is one of 0\.3, 0\.5"):
        runs.phase_table("weight_decay", where={"ratio": 0.4})
    with pytest.raises(ResultError, match=r"these runs have no decay; what varies is ratio, optimizer\.weight_decay"):
        runs.phase_table("decay")
    with pytest.raises(ResultError, match=r"name can be optimizer\.name or schedule\.name"):
        runs.phase_table("name")
    with pytest.raises(ResultError, match="x and y are both"):
        runs.phase_table("weight_decay", "optimizer.weight_decay")


def test_other_budgets_and_exams_are_not_mixed(runs: Runs) -> None:
    """A budget is no setting of the sweep."""
    mixed = Runs((*runs.records, run(0.5, 1.0, 3, 600, budget=16_000)))
    with pytest.raises(ResultError, match="differ in budget too"):
        mixed.phase_table("ratio", "weight_decay")


@pytest.mark.parametrize(
    ("change", "column"),
    [({"salt": "fresh"}, "salt"), ({"name": "other"}, "agent"), ({"source": "ab" * 32}, "code"), ({"target": "m:B"}, "code")],
)
def test_runs_of_one_setting_are_of_one_agent_and_salt(runs: Runs, change: dict[str, str], column: str) -> None:
    """Runs of another agent, of other code or on other instances are never pooled. They can be chosen."""
    (other,) = runs[:1].records
    update = change if "salt" in change else {"agent": other.agent.model_copy(update=change)}
    mixed = Runs((*runs.records, other.model_copy(update=update)))
    with pytest.raises(ResultError, match=f"differ in {column} too"):
        mixed.phase_table("ratio", "weight_decay")
    frame = mixed.runs
    chosen = mixed.phase_table("ratio", "weight_decay", where={column: frame[column].iloc[-1]})
    assert chosen["runs"].tolist() == [1]


def test_a_run_without_a_value_is_no_row() -> None:
    """An axis that some runs lack, such as a noise that one recipe alone has."""
    noise = recipe("mlp", noise={"scale": 0.1, "on": "gradient"})
    plain, noisy = (make_run("add_mod23-0.5", seed=0, steps_to_generalize=600, recipe=each) for each in (recipe("mlp"), noise))
    with pytest.raises(ResultError, match=r"1 of the 2 runs have no noise\.scale"):
        Runs((plain, noisy)).phase_table("noise.scale")


def test_a_fit_is_over_one_number(runs: Runs) -> None:
    """Not over two things, and not over names."""
    with pytest.raises(ResultError, match="over one thing that varies"):
        runs.phase("ratio", "weight_decay", fit=True)
    with pytest.raises(ResultError, match=r"a power law is over numbers, and optimizer\.name is adamw"):
        power_law(runs.runs, "optimizer.name", where={"ratio": 0.7, "weight_decay": 1.0})


def test_a_power_law_is_found(runs: Runs) -> None:
    """T = 600/decay has the exponent −1, up to the exams' grid. Its interval has it too."""
    law = power_law(runs.runs, "weight_decay", where={"ratio": 0.7})
    assert law.exponent == pytest.approx(-1, abs=0.05)
    assert law.factor == pytest.approx(600, rel=0.1)
    assert law.low <= law.exponent <= law.high
    assert law.points == 3
    with pytest.raises(ResultError, match="needs three values of weight_decay above 0"):
        power_law(runs.runs, "weight_decay", where={"ratio": 0.3})


def hatches(axes: Axes) -> list[str]:
    """The hatches of the settings."""
    return [patch.get_hatch() or "" for patch in axes.patches if isinstance(patch, Rectangle)]


def test_the_diagram_shows_times_shares_and_phases(runs: Runs) -> None:
    """Colors are read back from the meshes; log axes are for values with equal ratios."""
    figure = runs.phase("ratio", "weight_decay")
    times, shares = figure.axes[0], figure.axes[1]
    values: NDArray[np.float64] = np.ma.asarray(times.collections[0].get_array()).filled(np.nan).reshape(3, 4)
    table = runs.phase_table("ratio", "weight_decay")
    expected = table.pivot(index="optimizer.weight_decay", columns="ratio", values="median_T").replace(np.inf, np.nan)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.asarray(shares.collections[0].get_array()).reshape(3, 4)[:, 0], [0, 0, 0])
    assert hatches(times) == [HATCHES["memorized"]] * 3
    assert (times.get_xscale(), times.get_yscale()) == ("linear", "log")
    assert any(isinstance(drawn, QuadContourSet) for drawn in times.collections)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [LABELS["memorized"]]
    assert times.get_ylabel() == "weight decay"


def test_a_curve_has_its_interval_and_its_fit(runs: Runs) -> None:
    """One axis: medians with their interval, and the share of solved runs."""
    figure = runs.phase("weight_decay", where={"ratio": 0.7}, fit=True)
    upper, lower = figure.axes
    assert [line.get_label() for line in upper.get_lines()][:2] == ["generalizes", "memorizes"]
    assert str(upper.get_lines()[2].get_label()).startswith("T ∝ x^-1.0")
    np.testing.assert_array_equal(lower.get_lines()[0].get_ydata(), [1, 1, 1])
    assert (upper.get_xscale(), upper.get_yscale()) == ("log", "log")


def test_a_diagram_wants_numbers(runs: Runs) -> None:
    """Words have no order."""
    task, decaying = parse_id("sub_mod23-0.5", 8_000, "sparse"), recipe("mlp", optimizer={"weight_decay": 1.0})
    other = make_run(task, seed=0, steps_to_generalize=600, recipe=decaying)
    mixed = Runs((run(0.5, 1.0, 0, 600), other))
    with pytest.raises(ResultError, match="operation must be numbers to draw it, got add, sub"):
        mixed.phase("operation")


class Scripts(HTMLParser):
    """Collects the scripts of a page, and the addresses that it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.loaded: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notice scripts and addresses."""
        self._inside = tag == "script"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        """A script's text has ended."""
        self._inside = False

    def handle_data(self, data: str) -> None:
        """Keep a script's text."""
        if self._inside:
            self.scripts.append(data)


def test_the_page_has_every_curve_and_loads_nothing(runs: Runs) -> None:
    """Its data are the table and the exams."""
    table = runs.phase_table("ratio", "weight_decay")
    page = phase_page(runs.runs, [each.exams for each in runs], table, "ratio", "weight_decay", {})
    parser = Scripts()
    parser.feed(page)
    assert parser.loaded == []
    content = json.loads(parser.scripts[0])
    assert len(content["settings"]) == 12
    assert all(len(setting["curves"]) == 3 for setting in content["settings"])
    setting = next(s for s in content["settings"] if s["name"] == "ratio 0.3, optimizer.weight_decay 0.1")
    assert (setting["phase"], setting["median_T"], setting["color"]) == ("memorized", None, None)
    grokked = next(s for s in content["settings"] if s["name"] == "ratio 0.9, optimizer.weight_decay 10")
    assert re.fullmatch("#[0-9a-f]{6}", grokked["color"])
    assert grokked["curves"][0]["held_out"][-1] == 1.0
    assert grokked["curves"][0]["steps"] == runs[-3].exams["step"].tolist()
    assert set(content["phases"]) == {"memorized"}
    assert set(PHASES) == {*HATCHES, "grokked"}


def test_a_title_says_what_the_runs_are_of() -> None:
    """Agents, tasks and budgets, the first and the last of many."""
    runs = pd.DataFrame(
        {
            "incomplete": [None] * 4,
            "agent": ["mlp", "mlp", "mlp", "other"],
            "task": ["a", "b", "c", "c"],
            "budget": [1_500, 1_500, 1_500, 3_000],
            "lr": [1.0, 1.0, 1.0, 2.0],
        }
    )
    assert phase_title(runs[:2]) == "mlp on a, b, budget 1,500, 2 runs"
    assert phase_title(runs, where={"lr": 1.0}) == "mlp on a … c (3), budget 1,500, 3 runs"
    assert phase_title(runs[2:]) == "mlp, other on c, budget 1,500 to 3,000, 2 runs"


def test_without_runs_there_is_no_table() -> None:
    """A folder in which nothing has run yet, and one whose runs are all incomplete."""
    run = make_run("add_mod31-0.5", seed=0, steps_to_generalize=100, recipe=recipe("mlp"))
    for records in ((), (run.model_copy(update={"incomplete": "stopped"}),)):
        with pytest.raises(ResultError, match="no complete runs: make some"):
            Runs(records).phase_table("ratio")
