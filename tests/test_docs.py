"""The documents: their Python runs, their commands parse, and their links lead somewhere."""

import re
import shlex
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tyro
from matplotlib.figure import Figure

from grokbench.cli import COMMANDS
from grokbench.results.frames import RunResult
from tests.support.markdown import ROOT, blocks

FOLDERS = ("docs", "benchmarks", "leaderboard")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for name in FOLDERS for page in sorted((ROOT / name).rglob("*.md"))),
]
WITH_PYTHON = [page for page in PAGES if page.name != "CONTRIBUTING.md" and blocks(page, language="python")]
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
CALL = re.compile(r"([A-Z_]+=\S+ )?grokbench [a-z]+( |$)")


def name_of(page: Path) -> str:
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A page's blocks run in order, as in one notebook, in a folder that holds nothing but the leaderboard and its export.

    Every run that a block names has come to its end, every figure has curves, and every `print` shows a line.
    """
    for name in ("leaderboard", "board"):
        (tmp_path / name).symlink_to(ROOT / "leaderboard")
    monkeypatch.chdir(tmp_path)
    if find_spec("datasets"):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    notebook: dict[str, object] = {"__name__": "notebook"}
    lines: list[str] = []
    try:
        for block in blocks(page, language="python"):
            lines += block.code.splitlines()
            block.run(notebook)
            assert len(capsys.readouterr().out.splitlines()) >= len(re.findall(r"^ *print\(", block.code, re.MULTILINE))
        check_runs([value for value in notebook.values() if isinstance(value, RunResult)])
        figures = [value for value in notebook.values() if isinstance(value, Figure)]
        check_figures([*figures, *map(plt.figure, plt.get_fignums())], at_least=sum(".plot(" in line for line in lines))
    finally:
        plt.close("all")


def check_runs(runs: list[RunResult]) -> None:
    """Assert that runs have ended with exams, and have generalized unless they were followed to a step."""
    for run in runs:
        assert run.record.incomplete is None
        assert len(run.exams) > 1
        assert run.record.parsed_task().followed or run.steps_to_generalize is not None


def check_figures(figures: list[Figure], *, at_least: int) -> None:
    """Assert that there are so many figures, and that every panel has a curve of several points."""
    assert len(figures) >= at_least
    for axes in (axes for figure in figures for axes in figure.axes):
        assert any(len(np.asarray(line.get_xdata())) > 1 for line in axes.lines)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the checkout and, after `#`, a heading of it."""
    broken = []
    for match in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / match["file"]).resolve() if match["file"] else page
        if not target.exists() or (match["anchor"] and match["anchor"] not in anchors(target)):
            broken.append(match[0])
    assert not broken


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def full_commands() -> list[str]:
    """The lines of fenced blocks that call `grokbench`, without comments."""
    lines = [
        line.partition("#")[0].strip()
        for page in PAGES
        for block in blocks(page, language="")
        for line in block.code.replace("\\\n", "").splitlines()
    ]
    return [line for line in dict.fromkeys(lines) if CALL.match(line) and "--help" not in line]


def mentioned_commands() -> list[str]:
    """The commands in running text, which may be incomplete."""
    texts = [
        CODE.sub(lambda match: "" if match[0].startswith("```") else match[0], page.read_text(encoding="utf-8"))
        for page in PAGES
    ]
    return [line for text in texts for line in dict.fromkeys(re.findall(r"`([^`\n]+)`", text)) if CALL.match(line)]


@pytest.mark.parametrize("line", full_commands())
def test_a_full_command_parses(line: str) -> None:
    """The command exists, and so do its options, with values of the right types."""
    silenced = {name: silent(command) for name, command in COMMANDS.items()}
    assert tyro.extras.subcommand_cli_from_dict(silenced, args=arguments(line)) == 0


@pytest.mark.parametrize("line", mentioned_commands())
def test_a_mentioned_command_has_these_options(line: str) -> None:
    """The command exists, and so do its options."""
    name, *others = arguments(line)
    assert name in COMMANDS
    assert {word for word in others if word.startswith("--")} <= options_of(name)


def test_the_makefile_s_commands_have_these_options() -> None:
    """Commands and options that make passes to `grokbench` exist."""
    commands = re.findall(r"\$\(BIN\)/grokbench ([a-z]+)(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert commands
    for name, rest in commands:
        assert set(re.findall(r"--[a-z][a-z-]*", rest)) <= options_of(name)


def test_make_targets_exist() -> None:
    """Every `make …` of the documents is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"run", "test", "bench"} <= named <= targets


def options_of(name: str) -> set[str]:
    """The options of a command, `--no-…` included."""
    names = [parameter.replace("_", "-") for parameter in signature(COMMANDS[name]).parameters]
    return {f"--{prefix}{name}" for name in names for prefix in ("", "no-")} | {"--help"}


def arguments(line: str) -> list[str]:
    """The words after `grokbench`."""
    words = shlex.split(line)
    return words[words.index("grokbench") + 1 :]


def silent(command: Callable[..., int]) -> Callable[..., int]:
    """A command with the same options that does nothing."""

    @wraps(command)
    def nothing(*_: Any, **__: Any) -> int:
        return 0

    return nothing
