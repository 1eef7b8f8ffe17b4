"""Imports of an entry's code: what is found without running it, and where it is said."""

import sys
import tomllib
from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.imports import LIBRARIES, import_findings, imported_modules, needed_libraries
from grokbench.board.entries.submit import obstacles
from grokbench.board.verification.isolation import SERVE, Isolation
from grokbench.cli import main
from grokbench.errors import EntryError, VerificationError
from tests.support.entries import errors_of, good_runs, write_good_entry

ROOT = Path(__file__).resolve().parents[3]
AGENT = "from tests.support.agents import AddingAgent\n\nclass Mine(AddingAgent):\n    pass\n"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import einops", "line 1 imports 'einops'"),
        ("x = 1\nfrom my_layers import Block", "line 2 imports 'my_layers'"),
        ("def f():\n    import einops.layers", "line 2 imports 'einops.layers'"),
        ("from . import helper", "line 1 imports '.'"),
        ("from .helper import y", "line 1 imports '.helper'"),
        ("try:\n    import tqdm\nexcept ImportError:\n    tqdm = None", "imports 'tqdm'"),
        ("import importlib\nimportlib.import_module('einops')", "line 2 imports 'einops'"),
        ("__import__('einops')", "imports 'einops'"),
        ("import imp", "imports 'imp'"),
        ("if TYPE_CHECKING:\n    import x\nelse:\n    import y", "line 4 imports 'y'"),
        ("import \u0435inops", r"imports '\u0435inops'"),
        ("def f(:", "can't be read as Python"),
        ("x = 1\0", "can't be read as Python"),
        ("(" * 5_000, "can't be read as Python"),
        ("-" * 200_000 + "1", "can't be read as Python"),
    ],
)
def test_what_is_not_there_is_found(code: str, shown: str) -> None:
    """Wherever the code imports it, with the line and what to do. Text that isn't Python raises nothing."""
    (finding,) = import_findings(code.encode())
    assert finding.refused
    assert shown in str(finding)
    assert "the file" in finding.remedy or "one file" in finding.remedy


@pytest.mark.parametrize(
    "code",
    [
        "import torch.nn.functional as F, numpy as np, math, os.path",
        "from grokbench.agents.agent import Agent\nfrom baselines.agents import mlp",
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from einops import x",
        "import typing\nif typing.TYPE_CHECKING:\n    import einops",
        "pattern = '\\d'",
        "import_module(f'torch.optim.{name}')",
        "# import einops\ntext = 'import einops'",
    ],
)
def test_what_is_there_is_no_finding(code: str) -> None:
    """Nor are imports for type checkers alone, comments and strings."""
    assert list(import_findings(code.encode())) == []


def test_the_libraries_of_the_code() -> None:
    """Each once, whatever part of it is imported."""
    code = b"import torch.nn\nfrom scipy import fft\ndef f():\n    import torch\n    import math"
    assert needed_libraries(code) == ["scipy", "torch"]
    assert imported_modules(code)["torch.nn"] == 1


def test_the_container_has_every_library_in_a_pinned_version() -> None:
    """It installs grokbench with the extra `optimizers`, under the constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = " ".join([*project["dependencies"], *project["optional-dependencies"]["optimizers"]])
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for library in LIBRARIES:
        assert f"{library.replace('_', '-')}>=" in declared
        assert f"\n{library.replace('_', '-')}==" in pinned
    dockerfile = (ROOT / ".github" / "verify.Dockerfile").read_text(encoding="utf-8")
    assert "--constraint constraints.txt '.[optimizers]'" in dockerfile


def test_the_check_refuses_such_code(tmp_path: Path) -> None:
    """In CI as at home."""
    own = find_recipe("tests.support.agents:AddingAgent")
    stated = {"name": own.name, "target": own.target, "hyperparameters": {}, "source": own.source, "hash": own.hash}
    runs = [run.model_copy(update={"agent": run.agent.model_copy(update=stated)}) for run in good_runs()]
    folder = write_good_entry(tmp_path / "own", runs, division="open")
    assert "imports" not in errors_of(check_entry(folder))
    (folder / "agent.py").write_text("import einops", encoding="utf-8")
    assert "agent.py: line 1 imports 'einops'" in errors_of(check_entry(folder))


@pytest.mark.parametrize(
    ("code", "target", "problem"),
    [
        (f"{AGENT}def f():\n    import einops\n", "Mine", "imports 'einops'"),
        (f"{AGENT}def f():\n    import mine_too\n", "Mine", "imports 'mine_too'"),
        (f"{AGENT}class Outer:\n    Inner = Mine\n", "Outer.Inner", "isn't a class at the top of its file"),
        (AGENT.replace("Mine", "Grök"), "Grök", "with an ASCII name"),
        (f"{AGENT}#{'x' * 300_000}\n", "Mine", "more than 262,144: shorten it"),
    ],
)
def test_submit_and_run_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, target: str, problem: str
) -> None:
    """`submit` writes nothing. `run` says it before official runs are made, and makes them."""
    name = f"mine_{len(code)}_{len(target)}"
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = find_recipe(f"{name}:{target}")
    found = " ".join(obstacles(own))
    assert problem in found
    stated = {"name": "mine", "target": own.target, "hyperparameters": {}, "source": own.source, "hash": own.hash}
    runs = [run.model_copy(update={"agent": run.agent.model_copy(update=stated)}) for run in good_runs()]
    with pytest.raises(EntryError, match=problem.replace("(", r"\(")):
        write_good_entry(tmp_path / "own", runs, division="open")
    assert not (tmp_path / "own").exists()
    arguments = ["run", "--agents", f"{name}:{target}", "--suite", "mini", "--seeds", "0", "--max-steps", "1"]
    monkeypatch.setattr(sys, "argv", ["grokbench", *arguments, "--processes", "1", "--out", str(tmp_path / "runs")])
    monkeypatch.setattr("grokbench.runs.engine.run", lambda *_, **__: True)
    with pytest.raises(SystemExit):
        main()
    assert problem in capsys.readouterr().err


def test_a_library_that_is_missing_here_is_not_held_against_the_entry(tmp_path: Path) -> None:
    """There is no verdict then."""
    isolation = Isolation(SERVE, sandboxed=False, same_machine=True)
    isolation.try_imports(["numpy", "torch"], tmp_path)
    with pytest.raises(VerificationError, match="the agent imports nowhere_to_be_found: install it"):
        isolation.try_imports(["numpy", "nowhere_to_be_found"], tmp_path)
    with pytest.raises(VerificationError, match="can't import anything here"):
        Isolation(("false",), sandboxed=False, same_machine=True).try_imports(["numpy"], tmp_path)
