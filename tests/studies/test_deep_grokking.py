"""Deep Grokking's statements on made-up runs, its tables and its figures."""

from typing import Any

import pytest

from grokbench.analysis.curves import Curves
from grokbench.studies import deep_grokking
from grokbench.studies.settings import CurvesBySetting
from tests.support.curves import AT_ONCE, LATE, TWO_STAGES, Shape, make_curves
from tests.support.tables import table_rows

TWO_SURGES = "deep networks generalize in two surges (depth 6)"
RANK_DOUBLE_DESCENT = "the feature rank of deep networks falls, rises and falls again: double descent (depth 6)"


def conclusions(curves: CurvesBySetting) -> dict[str, str]:
    """The conclusion of each statement, by its text."""
    return {statement.text: statement.conclusion for statement in deep_grokking.statements(curves)}


def small_grid(shapes: dict[float, Shape], *, seeds: int = 1) -> dict[Any, list[Curves]]:
    """Runs of the small scale, with a shape for each α."""
    return {
        setting: [make_curves(setting, shapes[setting.alpha], seed=seed) for seed in range(seeds)]
        for setting in deep_grokking.SMALL_GRID
    }


@pytest.fixture(scope="module")
def as_published() -> dict[Any, list[Curves]]:
    """Late at α = 8, at once at α = 1."""
    return small_grid({1.0: AT_ONCE, 8.0: LATE}, seeds=2)


def test_published_curves_reproduce_the_statements(as_published: dict[Any, list[Curves]]) -> None:
    """Grokking comes with α = 8 and a falling rank; equal depths aren't later, and rise once."""
    conclusion_of = conclusions(as_published)
    assert conclusion_of["α = 8: grokking, held-out accuracy rises long after train accuracy"] == "reproduced"
    assert conclusion_of["without the large initialization there is no grokking (α = 1)"] == "reproduced"
    assert conclusion_of["generalizing comes with a falling rank of the features: effective rank"] == "reproduced"
    assert conclusion_of["deeper networks generalize later (α = 8, depths 3 and 6)"] == "not reproduced"
    assert conclusion_of[TWO_SURGES] == conclusion_of[RANK_DOUBLE_DESCENT] == "not reproduced"


def test_two_surges_reproduce_the_two_stages() -> None:
    """With a rank that falls, rises and falls."""
    conclusion_of = conclusions(small_grid({1.0: TWO_STAGES, 8.0: TWO_STAGES}))
    assert conclusion_of[TWO_SURGES] == conclusion_of[RANK_DOUBLE_DESCENT] == "reproduced"


def test_claims_read_the_runs_that_they_name() -> None:
    """Two stages at depth 6 and α = 8 alone decide the statement about them."""
    curves: CurvesBySetting = {
        setting: [make_curves(setting, TWO_STAGES if (setting.depth, setting.alpha) == (6, 8) else AT_ONCE)]
        for setting in deep_grokking.SMALL_GRID
    }
    conclusion_of = conclusions(curves)
    assert conclusion_of[TWO_SURGES] == "reproduced"
    assert conclusion_of["without the large initialization there is no grokking (α = 1)"] == "reproduced"


def test_statements_about_the_papers_settings_need_them(as_published: dict[Any, list[Curves]]) -> None:
    """The small scale has none of them, and a statement without a test has none ever."""
    untested = [text for text, conclusion in conclusions(as_published).items() if conclusion == "not tested at this scale"]
    assert len(untested) == 14
    assert all("N" in text for text in untested)


def test_every_claim_can_be_tested_at_a_scale() -> None:
    """All of its settings run at the small scale, or all of them at the paper's."""
    small, paper = (deep_grokking.settings(scale).keys() for scale in ("small", "paper"))
    for claim in deep_grokking.CLAIMS:
        assert claim.runs
        assert set(claim.runs) <= small or set(claim.runs) <= paper


def test_tables_have_a_row_for_each_setting_and_compare_precisions(as_published: dict[Any, list[Curves]]) -> None:
    """The second table needs the run in float64."""
    table, _ = deep_grokking.tables(as_published)
    header, *rows = table_rows(table)
    assert len(rows) == len(deep_grokking.SMALL_GRID)
    cells = dict(zip(header, rows[0], strict=True))
    assert (cells["depth"], cells["α"], cells["seeds"], cells["delay"]) == ("3", "1", "2", "none")
    assert cells["linear probes, layer by layer"] == "25 %, 75 %"
    double = {deep_grokking.DOUBLE_PRECISION: [make_curves(deep_grokking.DOUBLE_PRECISION, AT_ONCE)]}
    *_, precision = deep_grokking.tables(as_published | double)
    header, first, *_ = table_rows(precision)
    assert header == ["measure", "float32", "float64"]
    assert first == ["effective_rank", "30, 30", "50, 50"]


def test_a_figure_for_each_depth(as_published: dict[Any, list[Curves]]) -> None:
    """A column for each of its settings; the run in float64 is left out."""
    double = {deep_grokking.DOUBLE_PRECISION: [make_curves(deep_grokking.DOUBLE_PRECISION, AT_ONCE)]}
    figures = deep_grokking.figures(as_published | double)
    assert list(figures) == ["depth-3.png", "depth-6.png"]
    titles = [axes.get_title() for axes in figures["depth-6.png"].axes if axes.get_title()]
    assert titles == [f"mnist5k-n1000, α = {alpha}, γ = {decay}" for alpha in (1, 8) for decay in (0.05, 0.2)]


def test_published_settings() -> None:
    """Depth 12 with N = 5000 and γ = .01 belongs to both of the paper's grids, and runs once."""
    setting = deep_grokking.published(deep_grokking.N5000, 12, 0.01)
    assert deep_grokking.settings("paper")[setting] == (0, 1, 2)
    assert (setting.width, setting.steps, setting.dtype) == (400, 100_000, "float64")
