"""What a report says and how it is laid out."""

from dataclasses import replace

import pytest

from grokbench.studies.report import describe_runs, percent, report, settings_table, spread, statements_table
from grokbench.studies.settings import Deep
from grokbench.studies.statements import Statement
from tests.studies.test_statements import NumRuns
from tests.support.curves import AT_ONCE, make_curves
from tests.support.tables import table_rows

SETTING = Deep("mnist5k-n60", 3, 1.0, 0.1, steps=100)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 3.0], "2 (1–3)"),
        ([1.0, None, 3.0], "2 (1–3, 1 never)"),
        ([None], "never"),
        ([], "never"),
        ([1500, 2500], "2,000 (1,500–2,500)"),
        ([4.0, None, 1.0, None, 1.0], "2 (1–4, 2 never)"),
    ],
)
def test_spread(values: list[float | None], text: str) -> None:
    """The mean, the range, and how many never came."""
    assert spread(values) == text


def test_percent() -> None:
    """Shares in percent, with one decimal."""
    assert percent([0.5, 0.75]) == "62.5 (50.0–75.0) %"


def test_statements_table() -> None:
    """An untested statement has an empty measurement."""
    statements = [Statement("a", "Fig. 1", NumRuns(2)), Statement("b", "text", None)]
    _, *rows = table_rows(statements_table(statements))
    assert rows == [["a", "Fig. 1", "2 runs", "**reproduced**"], ["b", "text", "", "**not tested at this scale**"]]


def test_settings_table() -> None:
    """A column is a header with a function that writes the cell."""
    columns = {"depth": lambda setting, seeds: str(setting.depth), "seeds": lambda setting, seeds: str(len(seeds))}
    curves = {replace(SETTING, depth=depth): [make_curves(SETTING, AT_ONCE)] * depth for depth in (2, 3)}
    assert table_rows(settings_table(columns, curves)) == [["depth", "seeds"], ["2", "2"], ["3", "3"]]


def test_a_report_has_all_parts_in_order() -> None:
    """Title, summary, notes, statements, figures, tables."""
    text = report(
        title="Title",
        summary="1 reproduced.",
        notes=["A note."],
        statements=[Statement("a", "Fig. 1", NumRuns(2))],
        figures=["depth-3.png"],
        tables=["A table."],
    )
    title, summary, note, statements, figure, table = text.strip().split("\n\n")
    assert (title, summary, note, table) == ("# Title", "1 reproduced.", "A note.", "A table.")
    assert figure == "![depth-3](depth-3.png)"
    assert len(table_rows(statements)) == 2


def test_describe_runs() -> None:
    """Runs that differ by seed have the same setting. Every run took a minute."""
    other = replace(SETTING, decay=0.2)
    runs = [make_curves(SETTING, AT_ONCE), make_curves(SETTING, AT_ONCE, seed=1), make_curves(other, AT_ONCE)]
    text = describe_runs([run.record for run in runs])
    assert text.startswith("3 runs of 2 settings, 3 minutes of training and exams (")
    assert text.count("torch") == 1


def test_every_machine_is_described_once() -> None:
    """In a fixed order, with device, threads and the version of torch, a question mark where the record doesn't say."""
    run = make_curves(SETTING, AT_ONCE).record
    elsewhere = run.provenance.model_copy(update={"device": "Tiny GPU", "threads": 3, "versions": {"numpy": "2"}})
    runs = [run.model_copy(update={"provenance": elsewhere}), run, run]
    text = describe_runs(runs)
    assert text.count(run.provenance.device) == 1
    assert "Tiny GPU, 3 threads, torch ?" in text
    assert text == describe_runs(runs[::-1])
