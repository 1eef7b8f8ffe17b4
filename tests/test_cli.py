"""The command line as a person meets it: help, lists, mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def grokbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command's output and status."""
    return subprocess.run([sys.executable, "-m", "grokbench", *arguments], capture_output=True, text=True, cwd=ROOT)


def test_list_shows_formula_size_budget_and_source() -> None:
    """The standard tasks, and a suite's alone."""
    shown = grokbench("list").stdout
    for words in ("add_mod97-0.3-v1", "a + b mod 97", "2,822 of 9409", "Power et al. 2022, A.1.1", "mini", "control"):
        assert words in shown or words.replace(",", "") in shown
    assert "compose_s5" not in grokbench("list", "--suite", "mini").stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("run", "--agents", "mpl", "--suite", "mini"), "did you mean 'mlp'"),
        (("reproduce", "grokking"), "expected one of deep-grokking"),
        (("run", "--agents", "nowhere:Agent", "--suite", "mini"), "can't find the agent"),
        (("run", "--agents", "none.toml", "--suite", "mini"), "can't read the recipe"),
        (("run", "--agents", "mlp", "--suite", "miny"), "expected one of mini"),
        (("run", "--agents", "mlp", "--tasks", "add_mod24-0.5"), "nearest prime is 23"),
        (("run", "--agents", "mlp"), "nothing to run"),
        (("score", "/nowhere/at/all"), "there is no folder"),
        (("plot", "tests"), "no runs to draw"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: tuple[str, ...], why: str) -> None:
    """Status 2, what was wrong and what was expected, no traceback."""
    result = grokbench(*arguments)
    assert result.returncode == 2, result.stderr
    assert why in result.stderr
    assert "Traceback" not in result.stderr


def test_import_is_light() -> None:
    """Neither torch nor scipy nor matplotlib is imported with grokbench."""
    code = "import sys, grokbench; print([m for m in ('torch', 'scipy', 'matplotlib', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"
