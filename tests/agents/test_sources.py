"""The code that makes an agent: whatever part of it changes, its recipe is another one, and the part has a name."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import find_recipe, recipe
from grokbench.agents.sources import Sources
from tests.support.agents import AddingAgent

AGENT = """
from tests.support.agents import AddingAgent
{imports}


class Mine(AddingAgent):
    def learn(self, steps):
        {inside}
        return super().learn(steps)
"""
MINE = "class Mine(AddingAgent):\n    "  # and a line of its body


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sources]]:
    """Writes files into the current folder, and returns the sources of `my_agent:Mine` there."""
    monkeypatch.chdir(tmp_path)

    def written(files: dict[str, str], imports: str = "", inside: str = "pass") -> Sources:
        for name, text in (files | {"my_agent.py": AGENT.format(imports=imports, inside=inside)}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        forget()
        return find_recipe("my_agent:Mine").sources

    def forget() -> None:
        """Make the next import read the files, in the next test too."""
        for name in [name for name in sys.modules if name.partition(".")[0] in ("my_agent", "my_optim", "my_kit")]:
            del sys.modules[name]

    yield written
    forget()


@pytest.mark.parametrize(
    ("imports", "inside", "file", "module"),
    [
        pytest.param("from my_optim import LR", "pass", "my_optim.py", "my_optim", id="a name of a module"),
        pytest.param("import my_optim as o", "pass", "my_optim.py", "my_optim", id="a module"),
        pytest.param("", "import my_optim", "my_optim.py", "my_optim", id="within a function"),
        pytest.param("import importlib", "importlib.import_module('my_optim')", "my_optim.py", "my_optim", id="by a call"),
        pytest.param("import my_kit.rates", "pass", "my_kit/rates.py", "my_kit.rates", id="a module of a folder"),
        pytest.param("from my_kit import rates", "pass", "my_kit/rates.py", "my_kit.rates", id="a module by its name"),
        pytest.param("import my_kit", "pass", "my_kit/__init__.py", "my_kit", id="a package"),
        pytest.param("from my_kit.a import x", "pass", "my_kit/b.py", "my_kit.b", id="relative, two steps away"),
    ],
)
def test_a_changed_helper_is_another_agent(
    write: Callable[..., Sources], imports: str, inside: str, file: str, module: str
) -> None:
    """Only the helper's hash differs, and so do the recipe's source and hash."""
    files = {"my_kit/__init__.py": "# a kit\n", "my_kit/a.py": "from . import b\nx = 1\n", "my_kit/b.py": "y = 1\n"}
    before = write(files | {file: "LR = 3e-3\n"}, imports, inside)
    after = write(files | {file: "LR = 9e-2\n"}, imports, inside)
    assert {name for name in after.modules if after.modules[name] != before.modules.get(name)} == {module}
    assert before.hash != after.hash
    assert write(files | {file: "LR = 3e-3\n"}, imports, inside).hash == before.hash


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import my_optim", id="for type checkers"),
        pytest.param("try:\n    from ...... import my_optim\nexcept ImportError:\n    pass", id="out of every package"),
    ],
)
def test_what_never_comes_in_is_no_source(write: Callable[..., Sources], imports: str) -> None:
    """The helper may change as it likes."""
    assert set(write({"my_optim.py": "LR = 3e-3\n"}, imports).modules) == {"my_agent", "tests.support.agents"}


def test_a_changed_base_class_is_another_agent(write: Callable[..., Sources]) -> None:
    """Also one that its module found in a way that no import statement tells."""
    imports = "import importlib\nAddingAgent = importlib.import_module('my_optim').Base"
    base = "from tests.support.agents import AddingAgent\nclass Base(AddingAgent):\n    rate = {}\n"
    hashes = [write({"my_optim.py": base.format(rate)}, imports).modules["my_optim"] for rate in (1, 2)]
    assert hashes[0] != hashes[1]


def test_an_agent_of_one_file_has_the_hash_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an entry of the leaderboard states it. Python's modules and those of packages aren't part of it."""
    monkeypatch.chdir(tmp_path)
    code = "import json\nimport numpy\nimport scipy.stats\nfrom grokbench.agents import Agent\nclass One(Agent):\n    pass\n"
    (tmp_path / "my_single.py").write_text(code, encoding="utf-8")
    found = find_recipe("my_single:One")
    assert found.source == hashlib.sha256(code.encode()).hexdigest()
    assert set(found.packages) == {"numpy", "scipy"}


def test_an_optimizer_of_ones_own_has_sources_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper of its file changes the recipe."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_step.py").write_text("import torch\nfrom my_rate import LR\nclass Step(torch.optim.SGD):\n    pass\n")
    (tmp_path / "my_rate.py").write_text("LR = 1\n")
    first = recipe("mlp", optimizer={"target": "my_step:Step", "lr": 0.1})
    assert set(first.sources.modules) == {"my_rate", "my_step"}
    (tmp_path / "my_rate.py").write_text("LR = 2\n")
    assert recipe("mlp", optimizer={"target": "my_step:Step", "lr": 0.1}).hash != first.hash


@pytest.mark.parametrize(
    ("cells", "part"),
    [
        pytest.param("LR = {}\nclass Mine(AddingAgent):\n    act = lambda self: LR", "LR", id="a constant"),
        pytest.param("def f():\n    return {}\nclass Mine(AddingAgent):\n    act = lambda self: f()", "f", id="a function"),
        pytest.param(
            "LR = {}\ndef f():\n    return LR\nclass Mine(AddingAgent):\n    act = lambda self: f()", "LR", id="its own"
        ),
        pytest.param("class B(AddingAgent):\n    rate = {}\nclass Mine(B):\n    pass", "B", id="a base"),
        pytest.param("C = {{'lr': [{}]}}\nclass Mine(AddingAgent):\n    act = lambda self: C['lr']", "C", id="a dict"),
        pytest.param("R = {}\nclass Mine(AddingAgent):\n    rate = R", "Mine", id="a name that an attribute reads"),
        pytest.param(
            "def f(x):\n    class Mine(AddingAgent):\n        act = lambda self: x\n    return Mine\nMine = f({})",
            "f.<locals>.Mine.x",
            id="a variable around it",
        ),
    ],
)
def test_what_a_class_of_a_notebook_refers_to(notebook: Callable[[str], type[Agent]], cells: str, part: str) -> None:
    """Constants, functions and classes of other cells belong to the agent."""
    before, after = (recipe(notebook(cells.format(value))).sources for value in (1, 2))
    assert {name for name in after.modules if after.modules[name] != before.modules[name]} == {part}
    assert before.hash != after.hash


@pytest.mark.parametrize(
    ("body", "other"),
    [
        pytest.param("learn = lambda self, steps: {'loss': 1.5}", "learn = lambda self, steps: {'loss': 2.5}", id="constant"),
        pytest.param("learn = lambda self, steps: min(steps, 9)", "learn = lambda self, steps: max(steps, 9)", id="name"),
        pytest.param("act = lambda self: [i + 1 for i in [1]]", "act = lambda self: [i + 2 for i in [1]]", id="inner function"),
        pytest.param("act = lambda self: (lambda: 1)", "act = lambda self: (lambda: 2)", id="returned function"),
        pytest.param("rate = 1e-3", "rate = 1e-2", id="attribute"),
        pytest.param("feature_dims = (64,)", "feature_dims = (32,)", id="widths"),
        pytest.param("learn = lambda self, steps=1: steps", "learn = lambda self, steps=2: steps", id="default"),
        pytest.param("f = staticmethod(lambda: 1)", "f = staticmethod(lambda: 2)", id="static method"),
        pytest.param("f = classmethod(lambda c: 1)", "f = classmethod(lambda c: 2)", id="class method"),
    ],
)
def test_code_without_a_file_has_a_hash(notebook: Callable[[str], type[Agent]], body: str, other: str) -> None:
    """Equal code has equal hashes wherever it is defined, and any other code has another."""
    assert recipe(notebook(MINE + body)).source == recipe(notebook(f"\n\n{MINE}{body}")).source
    assert recipe(notebook(MINE + body)).source != recipe(notebook(MINE + other)).source


def made_by_a_function(rate: float) -> type[Agent]:
    """A class of this module, which its file doesn't tell from others."""

    class Made(AddingAgent):
        @override
        def learn(self, steps: int) -> dict[str, Any]:
            return {"loss": rate}

    return Made


def test_what_a_function_of_a_module_makes_has_its_variables() -> None:
    """Otherwise the second of two agents would get the results of the first."""
    first, again, other = (recipe(made_by_a_function(rate)).hash for rate in (0.1, 0.1, 0.5))
    assert first == again != other


def test_packages_of_another_environment_are_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.pth` file, or a parent environment, can bring them in. They aren't the agent's own code."""
    folder = tmp_path / "elsewhere" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "borrowed_package.py").write_text("LR = 1\n")
    (tmp_path / "my_borrower.py").write_text(
        "import borrowed_package\nfrom grokbench import Agent\nclass One(Agent):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    assert set(find_recipe("my_borrower:One").sources.modules) == {"my_borrower"}
