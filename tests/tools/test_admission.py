"""Which tables may be in a scored suite: the rules, on made-up runs and on real instances."""

from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.results.frames import RunResult
from tests.support.entries import MEMORIZED_AT, make_run
from tests.support.records import write_records
from tools.admission import HEADERS, admission_row, main, mirror_share


def runs(task: str, times: list[float]) -> list[RunResult]:
    """Runs that memorize at step 100 and generalize at these steps."""
    recipe = find_recipe("transformer")
    return [RunResult(make_run(task, seed=i, steps_to_generalize=time, recipe=recipe)) for i, time in enumerate(times)]


@pytest.mark.parametrize(
    ("task", "times", "broken"),
    [
        ("sub_mod31-0.6", [1_200.0] * 10, ""),
        ("sub_mod31-0.6", [1_200.0] * 7 + [1e9] * 3, ""),
        ("sub_mod31-0.6", [1_200.0] * 6 + [1e9] * 4, "solved"),
        ("sub_mod31-0.6", [1e9] * 10, "T, delay, solved"),
        ("sub_mod31-0.6", [300.0] * 10, "T, delay"),
        ("sub_mod31-0.6", [2_500.0] * 10, "T"),
        ("sub_mod23-0.7", [1_200.0] * 10, "size"),
        ("sub_mod31-0.6", [50.0] * 10, "T, delay, memorized"),
    ],
)
def test_rules(task: str, times: list[float], broken: str) -> None:
    """Each is named when a table breaks it."""
    assert admission_row(runs(task, times))[-1] == broken


def test_the_cells() -> None:
    """Medians over the runs."""
    cells = dict(zip(HEADERS, admission_row(runs("add_mod47-0.35", [1_100.0, 1_200.0, 1_300.0])), strict=True))
    assert cells["train questions"] == "773"
    assert cells["generalized"] == "3/3"
    assert 1_200 <= int(cells["median T"].replace(",", "")) <= 1_200 * 1.02 + 5
    assert float(cells["T over steps to memorize"]) == pytest.approx(1_210 / MEMORIZED_AT, rel=0.05)
    assert "% of the mirror images are shown" in cells["held out right when memorized"]


def test_mirror_images() -> None:
    """Of a symmetric operation about as many are shown as questions are in training, of another none."""
    assert mirror_share("add_mod47-0.35", seed=0, salt="s") == pytest.approx(0.35, abs=0.04)
    assert mirror_share("mul_mod31-0.5", seed=0, salt="") == pytest.approx(0.5, abs=0.06)
    assert mirror_share("sub_mod31-0.6", seed=0, salt="") == 0
    assert mirror_share("div_mod31-0.6", seed=0, salt="") == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row a table."""
    records = [run.record for task in ("sub_mod31-0.6", "add_mod47-0.35") for run in runs(task, [1_200.0] * 2)]
    write_records(tmp_path / "runs", records)
    main([str(tmp_path / "runs")])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 4
    assert "| `sub_mod31-0.6` " in printed
