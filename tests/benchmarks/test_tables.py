"""The tables of measured speeds."""

import json
from pathlib import Path

import pytest

from benchmarks.speed import PARTS
from benchmarks.tables import TABLES, factor, mebibytes, median_share, rate, spread_of, tables

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_page_shows_the_committed_results() -> None:
    """README.md has just the tables that speed.json gives."""
    results = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = page.partition("<!-- speed -->")[2].partition("<!-- /speed -->")[0]
    assert section.strip() == tables(results)


def test_every_part_has_a_table() -> None:
    """What is measured is shown, in the order of measuring or another."""
    assert set(TABLES) == set(PARTS)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (spread_of(rate)([1234.56, 1000.0, 2000.04]), "1,234.6 [1,000.0–2,000.0]"),
        (spread_of(factor)([2.698, 2.616, 2.783]), "×2.70 [2.62–2.78]"),
        (median_share([0.7988, 0.75, 0.84]), "80%"),
        (median_share(None), ""),
        (mebibytes(151_265_280), "144 MiB"),
    ],
)
def test_a_number_is_written(written: str, expected: str) -> None:
    """Median first, least and most in brackets, without the sign there."""
    assert written == expected
