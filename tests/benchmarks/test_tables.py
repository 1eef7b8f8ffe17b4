"""The tables of measured speeds."""

import json
from pathlib import Path

import pytest

from benchmarks.speed import PARTS
from benchmarks.tables import TABLES, factor, mebibytes, median_share, rate, seconds, spread_of, tables
from tests.support.tables import table_rows

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_page_shows_the_committed_results() -> None:
    """README.md has just the tables that speed.json gives."""
    results = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = page.partition("<!-- speed -->")[2].partition("<!-- /speed -->")[0]
    assert section.strip() == tables(results)


def test_every_part_has_a_table() -> None:
    """All that is measured is shown."""
    assert set(TABLES) == set(PARTS)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (spread_of(rate)([1234.56, 1000.0, 2000.04]), "1,234.6 [1,000.0–2,000.0]"),
        (spread_of(factor)([2.698, 2.616, 2.783]), "×2.70 [2.62–2.78]"),
        (median_share([0.7988, 0.75, 0.84]), "80%"),
        (median_share(None), ""),
        (mebibytes(151_265_280), "144 MiB"),
        (seconds(12.6), "13 s"),
        (seconds(None), ""),
    ],
)
def test_a_number_is_written(written: str, expected: str) -> None:
    """A median comes first, then the least and the most in brackets, where the sign × is left out."""
    assert written == expected


def test_results_of_a_single_part_are_shown_too() -> None:
    """The other tables have their headers alone; a machine without a GPU says so."""
    results = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))
    machine = results["machine"] | {"gpu": None}
    single = tables({"machine": machine, "task": "add_mod97-0.3", "moduli": results["moduli"]})
    assert "no GPU; Python" in single
    rows = table_rows(single)
    assert len(rows) == len(TABLES) + len(results["moduli"])
    assert rows[-2][0] == str(results["moduli"][-1]["p"])
    assert "H100; Python" in tables({"machine": machine | {"gpu": "H100"}, "task": ""})
