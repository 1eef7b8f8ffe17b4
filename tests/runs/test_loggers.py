"""Weights & Biases: what a run shows there. One test has the real package, offline."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import grokbench
from grokbench.errors import CallbackError, MissingExtraError
from tests.support.agents import AddingAgent, RaisingAgent

TASK = "add_mod5-0.5-to50"


class FakeRun:
    """Keeps what is logged."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def define_metric(self, name: str, step_metric: str) -> None:
        """All numbers stand over the same steps."""
        assert (name, step_metric) == ("*", "step")

    def log(self, row: dict[str, Any]) -> None:
        """Keep the row."""
        self.rows.append(row)

    def finish(self, exit_code: int) -> None:
        """Keep how it ended."""
        self.exit_code = exit_code


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """Every run that a made-up wandb was asked to show."""
    runs: list[FakeRun] = []

    def init(
        *, project: str, mode: str, id: str, name: str, config: Any, resume: str, reinit: str, settings: Any, tags: Any = None
    ) -> FakeRun:
        runs.append(FakeRun(dict(locals())))
        return runs[-1]

    module = SimpleNamespace(init=init, login=lambda verify: True, Settings=dict, Error=Exception)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return runs


def test_a_run_shows_its_exams_and_its_outcome(shown: list[FakeRun]) -> None:
    """Over steps, with the hyperparameters as its config. What an exam doesn't have is left out."""
    logger = grokbench.WandbLogger("grokking", tags=["a"])
    result = grokbench.run("mlp", TASK, seed=3, callbacks=[logger])
    (run,) = shown
    assert run.options["name"] == "add_mod5-0.5-to50-v1 mlp seed 3"
    assert (run.options["project"], run.options["tags"], run.options["mode"]) == ("grokking", ["a"], "online")
    assert run.options["config"]["seed"] == 3
    assert run.options["config"]["optimizer"]["weight_decay"] == 0.3
    rows = result.exams.to_dict("records")
    assert [row["step"] for row in run.rows] == [row["step"] for row in rows]
    assert [row["held_out_accuracy"] for row in run.rows] == [row["held_out_accuracy"] for row in rows]
    assert "effective_rank" in run.rows[0]
    assert "effective_rank" not in run.rows[1]
    assert run.summary["end"] == "censored"
    assert run.exit_code == 0


def test_a_paused_run_goes_on_where_it_is_shown(shown: list[FakeRun], tmp_path: Path) -> None:
    """Under the same id, from where it was paused. A finished run isn't shown again, and another seed has another id."""
    for max_steps in (20, None, None):
        options: dict[str, Any] = {"out": tmp_path, "max_steps": max_steps, "callbacks": [grokbench.WandbLogger("grokking")]}
        grokbench.run(AddingAgent, TASK, seed=0, **options)
    grokbench.run(AddingAgent, TASK, seed=1, **options)
    first, second, other = shown
    assert first.options["id"] == second.options["id"] != other.options["id"]
    assert [row["step"] for row in first.rows + second.rows] == list(range(5, 55, 5))
    assert (first.exit_code, second.exit_code) == (0, 0)


def test_a_failed_run_is_shown_as_failed(shown: list[FakeRun]) -> None:
    """With the exams that it took."""
    with pytest.raises(grokbench.GrokbenchError, match="it broke"):
        grokbench.run(RaisingAgent, "add_mod5-0.5-to100", seed=0, callbacks=[grokbench.WandbLogger("grokking")])
    assert [run.exit_code for run in shown] == [1]


def test_runs_of_a_cohort_are_shown_side_by_side(shown: list[FakeRun]) -> None:
    """Each with its own exams."""
    grokbench.sweep("mlp", TASK, seeds="0-2", processes=1, callbacks=[grokbench.WandbLogger("grokking")])
    assert [run.options["config"]["seed"] for run in shown] == [0, 1, 2]
    assert all(len(run.rows) == 10 and run.options["reinit"] == "create_new" for run in shown)


def test_ones_own_config_stands_beside_the_hyperparameters(shown: list[FakeRun]) -> None:
    """Those of the run go before it."""
    grokbench.run("mlp", TASK, seed=3, callbacks=[grokbench.WandbLogger("grokking", config={"about": "x", "seed": 9})])
    assert (shown[0].options["config"]["about"], shown[0].options["config"]["seed"]) == ("x", 3)


@pytest.mark.parametrize(
    ("project", "options", "message"),
    [
        ("a/b", {}, "has a name without /"),
        ("", {}, "has a name without /"),
        (None, {}, "has a name without /"),
        ("a", {"mode": "ofline"}, "mode must be one of online, offline"),
        ("a", {"mode": "offline", "config": [1]}, r"config must be a dict, such as vars\(arguments\), got \[1\]"),
        ("a", {"name": "mine", "id": "x"}, "id, name of wandb.init can't be chosen"),
        ("a", {"modee": "offline"}, "wandb.init has no option modee"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(
    shown: list[FakeRun], project: Any, options: dict[str, Any], message: str
) -> None:
    """W&B would refuse them at the first exam."""
    with pytest.raises(CallbackError, match=message):
        grokbench.WandbLogger(project, **options)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"Weights & Biases needs wandb: .*\.\[wandb\]"):
        grokbench.WandbLogger("grokking")


def test_without_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing has run, and the message says what to do."""
    wandb = pytest.importorskip("wandb")

    def refuse(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", refuse)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(CallbackError, match=r"Use `wandb login` to log in\. Or keep its files .* with WANDB_MODE=offline"):
        grokbench.WandbLogger("grokking")


def test_the_real_package_takes_it_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline, two runs at once: each has a folder with what was logged."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    grokbench.sweep("mlp", TASK, seeds="0-1", processes=1, callbacks=[grokbench.WandbLogger("grokking")])
    files = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert all(b"held_out_accuracy" in path.read_bytes() for path in files)
