"""The baselines that ship: a user's file or folder of the same name is named, and never runs in their place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grokbench.agents.shipped import SHIPPED, baselines_folder

ROOT = Path(__file__).resolve().parents[2]
USES = {
    "a recipe": "grokbench.recipe('mlp')",
    "the names of recipes": "grokbench.agents.recipe_names()",
    "a run": "grokbench.run('mlp', 'add_mod11-0.6', max_steps=5)",
    "a class by its name": "grokbench.find_recipe('baselines.agents:mlp')",
    "an agent": "Recipe('mlp', 'baselines.agents:mlp').make()",
    "the paths of a sandbox": "_visible_paths()",
}
SCRIPT = """
import grokbench, grokbench.agents
from grokbench.agents import Recipe
from grokbench.board.verification.sandbox import _visible_paths
from grokbench.errors import AgentError
{first}
try:
    {use}
except AgentError as error:
    print(error)
"""


def output_of(script: Path, folder: Path) -> str:
    """What the script prints, which runs in `folder` as a user's own script does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("hiding", ["baselines.py", "baselines/__init__.py"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_users_own_baselines_are_named(tmp_path: Path, hiding: str, use: str) -> None:
    """The message has the path of the file that is in the way. The file isn't executed."""
    path = tmp_path / hiding
    path.parent.mkdir(exist_ok=True)
    path.write_text("print('executed')\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT.format(first="", use=use), encoding="utf-8")
    printed = output_of(tmp_path / "script.py", tmp_path)
    assert printed.strip() == f"{path.resolve()} hides grokbench's own package 'baselines': rename or move it"


IMPORTED = ("import baselines", "import sys, types; sys.modules['baselines'] = types.ModuleType('baselines')")


@pytest.mark.parametrize("first", IMPORTED)
def test_a_module_that_was_imported_before_is_named_too(tmp_path: Path, first: str) -> None:
    """A user's script may import its own file before it asks for a recipe."""
    (tmp_path / "baselines.py").touch()
    (tmp_path / "script.py").write_text(SCRIPT.format(first=first, use=USES["a recipe"]), encoding="utf-8")
    assert "hides grokbench's own package" in output_of(tmp_path / "script.py", tmp_path)


def test_what_hides_nothing_is_no_error(tmp_path: Path) -> None:
    """A folder without code in it, or a file that isn't on the path of imports."""
    (tmp_path / "baselines").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "baselines.py").touch()
    (tmp_path / "script.py").write_text(SCRIPT.format(first="", use=USES["an agent"].replace(".make()", "")), encoding="utf-8")
    assert output_of(tmp_path / "script.py", tmp_path) == ""
    assert baselines_folder() == SHIPPED == ROOT / "baselines"


def test_the_current_folder_does_not_reach_the_workers(tmp_path: Path) -> None:
    """A worker finds the modules that its parent finds, even where files of the current folder have their names."""
    for name in ("baselines", "json", "grokbench"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed')\n", encoding="utf-8")
    command = "import sys; from grokbench.cli import main; main()"
    arguments = ["run", "--agents", "mlp", "--tasks", "add_mod11-0.6", "sub_mod11-0.6", "--seeds", "0", "--max-steps", "5"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, *arguments, "--processes", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
