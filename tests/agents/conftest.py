"""What the tests of agents share."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from grokbench.agents.agent import Agent


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[Agent]]:
    """Runs cells in a module without a file, and returns its class `Mine`."""

    def define(cells: str) -> type[Agent]:
        module = ModuleType("a_notebook")
        monkeypatch.setitem(sys.modules, "a_notebook", module)
        exec(f"from tests.support.agents import AddingAgent\n{cells}", module.__dict__)
        made: type[Agent] = module.__dict__["Mine"]
        return made

    return define
