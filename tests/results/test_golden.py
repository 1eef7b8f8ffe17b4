"""The numbers of the leaderboard's entries, which no change of the code may move.

`python -m tests.results.golden` writes them. Look at the difference before you commit it: an old entry's numbers stay.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries.checks import check_entry
from grokbench.board.publishing.standings import standings
from tests.results import golden
from tests.support.committed import ONE_WORKER, committed
from tests.support.entries import write_good_entry

pytestmark = ONE_WORKER
GOLDEN: dict[str, Any] = json.loads(golden.TARGET.read_text(encoding="utf-8"))


def approximately(expected: dict[str, Any]) -> dict[str, Any]:
    """The numbers up to rounding. A rank that an entry lacks is None on both sides."""
    return {name: pytest.approx(value, rel=1e-12) for name, value in expected.items()}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_an_entry_keeps_its_numbers(name: str) -> None:
    """Score, restricted means and final ranks."""
    (standing,) = standings([checked for checked in committed() if checked.name == name])
    assert golden.numbers(standing) == approximately(GOLDEN[name])


def test_golden_entries_stay_on_the_leaderboard() -> None:
    """Newer entries needn't have golden numbers, so that a pull request of an entry changes its folder alone."""
    assert set(GOLDEN) <= {checked.name for checked in committed()}


@pytest.mark.usefixtures("reference")
def test_the_numbers_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every accepted entry: three tasks of `mini`, each with a mean over seeds and the rank of seed 0."""
    checked = check_entry(write_good_entry(tmp_path / "good"))
    monkeypatch.setattr(golden, "committed", lambda: [checked])
    golden.write(tmp_path / "golden.json")
    (standing,) = standings([checked])
    written = json.loads((tmp_path / "golden.json").read_text(encoding="utf-8"))
    assert written == {"good": golden.numbers(standing)}
    assert [len(values) for values in (written["good"]["rmst"], written["good"]["ranks"])] == [3, 3]
