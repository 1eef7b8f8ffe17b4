"""A run is known by all that made it: what changed is named, and nothing is mixed."""

import re
from pathlib import Path

import pytest

from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.errors import RecordError
from grokbench.runs import engine, provenance
from grokbench.runs.plan import plan
from grokbench.runs.store import Store
from tests.support.callbacks import Silent

TASK = "random_mod5-0.5-to20"
AGENT = "from tests.support.agents import AddingAgent\nfrom my_optim import LR\nclass Mine(AddingAgent):\n    pass\n"


def run(out: Path, chosen: Recipe) -> Silent:
    """Make seed 0; returns the callback."""
    callback = Silent()
    engine.run(plan([TASK], [chosen], seeds=[0]), Store(out), callbacks=[callback], device="cpu")
    return callback


def test_a_changed_helper_makes_another_run_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper's name is told once. The old record stays, and bringing the helper back finds it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_agent.py").write_text(AGENT)
    out = tmp_path / "runs"
    (tmp_path / "my_optim.py").write_text("LR = 3e-3\n")
    assert run(out, find_recipe("my_agent:Mine")).messages == []
    (tmp_path / "my_optim.py").write_text("LR = 9e-2\n")
    changed = run(out, find_recipe("my_agent:Mine"))
    (message,) = changed.messages
    assert re.fullmatch(
        r"Mine: differs from the earlier runs in Mine-\w{8} by the code of my_optim; its runs are made anew, .*", message
    )
    assert changed.ends == ["censored"]
    assert len(list(out.rglob("seed-0.json"))) == 2
    assert run(out, find_recipe("my_agent:Mine")).messages == []
    (tmp_path / "my_optim.py").write_text("LR = 3e-3\n")
    assert run(out, find_recipe("my_agent:Mine")).ends == []


def test_changed_hyperparameters_are_named_with_both_values(tmp_path: Path) -> None:
    """Recipes of one name, as a file that was edited makes them."""
    run(tmp_path, recipe("mlp", name="mine", optimizer={"lr": 1e-3}))
    (message,) = run(tmp_path, recipe("mlp", name="mine", optimizer={"lr": 1e-2, "weight_decay": 1.0})).messages
    assert "by optimizer.lr 0.001 → 0.01, optimizer.weight_decay 0.3 → 1.0; its runs" in message


def test_another_version_of_an_optimizers_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that is there isn't this one, and both would lie in one folder."""
    lion = recipe("mlp", optimizer={"name": "lion", "lr": 1e-3})
    run(tmp_path, lion)
    monkeypatch.setattr(provenance, "version", lambda package: "99.0" if package == "pytorch-optimizer" else "1.0")
    with pytest.raises(RecordError, match=r"was made with pytorch-optimizer .*, and 99\.0 is installed: choose another --out"):
        run(tmp_path, lion)
    assert run(tmp_path, find_recipe("mlp")).ends == ["censored"]


def test_a_command_that_has_nothing_to_do_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a word would look like new runs."""
    from grokbench.runs.progress import Progress

    run(tmp_path, find_recipe("mlp"))
    with Progress() as progress:
        engine.run(plan([TASK], [find_recipe("mlp")], seeds=[0]), Store(tmp_path), callbacks=[progress], device="cpu")
    assert "nothing to do: all 1 runs were finished before" in capsys.readouterr().err
