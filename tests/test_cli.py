"""The command line as a person meets it: help, lists, mistakes."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from grokbench.cli import COMMANDS
from grokbench.cli.runs import parse_seeds

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
        (("run", "--agents", "nowhere:Agent", "--suite", "mini"), "can't load the agent"),
        (("run", "--agents", "none.toml", "--suite", "mini"), "can't read the recipe"),
        (("run", "--agents", "mlp", "--suite", "miny"), "expected one of mini"),
        (("run", "--agents", "mlp", "--tasks", "add_mod24-0.5"), "nearest prime is 23"),
        (("run", "--agents", "mlp"), "nothing to run"),
        (("score", "/nowhere/at/all"), "there is no folder"),
        (("plot", "tests"), "no runs to draw"),
        (("run", "--agents", "mlp", "--suite", "mini", "--seeds", "9-0"), "whole numbers or ranges, such as 0-9"),
        (("check", "transformr"), "did you mean"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: tuple[str, ...], why: str) -> None:
    """Status 2, what was wrong and what was expected, no traceback."""
    result = grokbench(*arguments)
    assert result.returncode == 2, result.stderr
    assert why in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "other", "why"),
    [
        ("learning_rate = 1e-3", 'learning_rate = "fast"', "learning_rate must be a number above 0, got 'fast'"),
        ("learning_rate = 1e-3", "learning_rate = -1.0", "learning_rate must be a number above 0"),
        ("batch_size = 0", "batch_size = 0.5", "batch_size must be a whole number"),
        ("[training]", "[optimizer]", "it takes network, training, gradient, muon"),
        ("[training]", "[gradient]\nkind = 1\n[training]", "[gradient] needs filter"),
    ],
)
def test_what_a_recipe_gets_wrong_is_told_before_anything_runs(tmp_path: Path, line: str, other: str, why: str) -> None:
    """What was expected, once; square brackets are shown."""
    text = (ROOT / "baselines" / "recipes" / "transformer.toml").read_text(encoding="utf-8")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text.replace(line, other), encoding="utf-8")
    result = grokbench("run", "--agents", str(recipe), "--suite", "mini", "--out", str(tmp_path / "runs"))
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(why) == 1
    assert not (tmp_path / "runs").exists()


def test_an_agent_that_python_cannot_read(tmp_path: Path) -> None:
    """File and line, no traceback."""
    (tmp_path / "broken.py").write_text("class Agent(:\n", encoding="utf-8")
    command = [sys.executable, "-m", "grokbench", "run", "--agents", "broken:Agent", "--suite", "mini"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert "(broken.py, line 1)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_said(tmp_path: Path) -> None:
    """One line."""
    result = grokbench("run", "--agents", "mlp", "--suite", "mini", "--device", "cuda", "--out", str(tmp_path))
    assert result.returncode == 2
    assert "no CUDA device" in result.stderr
    assert "Traceback" not in result.stderr


def test_import_is_light() -> None:
    """Importing grokbench imports no heavy package."""
    code = (
        "import sys, grokbench; print([m for m in ('torch', 'scipy', 'matplotlib', 'pydantic', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "seeds"), [(("0-3",), (0, 1, 2, 3)), (("5", "0-1", "1"), (5, 0, 1)), (("7",), (7,)), (("3-3",), (3,))]
)
def test_seeds_are_numbers_or_ranges(words: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    """Each seed once, in the order in which they are named."""
    assert parse_seeds(words) == seeds


def test_a_run_that_pauses_where_it_was_told_succeeds(tmp_path: Path) -> None:
    """`--max-steps` isn't a failure: status 0, and two paused records."""
    arguments = ("--agents", "mlp", "--tasks", "add_mod5-0.5", "--seeds", "0-1", "--max-steps", "50", "--out", str(tmp_path))
    result = grokbench("run", *arguments)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.rglob("seed-*.json"))) == 2


def test_version() -> None:
    """The package's own."""
    assert grokbench("--version").stdout.strip() == f"grokbench {version('grokbench')}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_has_an_example(command: str) -> None:
    """An example of the command itself."""
    assert f"Example: grokbench {command}" in (COMMANDS[command].__doc__ or "")
