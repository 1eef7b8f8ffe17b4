"""Grids: which settings there are, which train together, and the same grid as a file."""

from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.errors import SweepError, TaskError
from grokbench.sweeps.grid import Grid, make_grid, read_grid

DECAYS = (0.1, 1.0)


def settings(grid: Grid) -> list[set[tuple[str, float]]]:
    """For every plan its tasks and weight decays."""
    return [
        {(e.task.id, e.recipe.plain_hyperparameters["optimizer"]["weight_decay"]) for e in plan.experiments}
        for plan in grid.plans()
    ]


def test_every_combination_is_there_once_and_decays_train_together() -> None:
    """A plan for each task has all weight decays."""
    grid = make_grid("mlp", "add_mod5-{ratio}", vary={"ratio": [0.4, 0.5, 0.40], "weight_decay": DECAYS}, seeds=[3, 4])
    expected = [{(f"add_mod5-{ratio}-v1", decay) for decay in DECAYS} for ratio in ("0.4", "0.5")]
    assert settings(grid) == expected
    assert all(plan.seeds == (3, 4) for plan in grid.plans())


def test_what_cannot_train_together_has_plans_of_its_own() -> None:
    """Widths differ in shape; other agents are other agents."""
    grid = make_grid(["mlp", "transformer"], "add_mod5-0.5", vary={"seeds_together": [2, 3], "lr": "1e-3:1e-2:2:log"})
    assert [len(plan.experiments) for plan in grid.plans()] == [2, 2, 2, 2]
    wide = make_grid("mlp", "add_mod5-0.5", vary={"hidden": [16, 32], "init_scale": [0.5, 1]})
    assert [len(plan.experiments) for plan in wide.plans()] == [2, 2]


def test_an_own_agent_trains_alone() -> None:
    """It isn't batched, and its hyperparameters are its arguments."""
    grid = make_grid("tests.support.agents:ReportingAgent", "add_mod5-0.5", vary={"network.x": [1]})
    with pytest.raises(SweepError, match="ReportingAgent can't be made with"):
        grid.plans()
    alone = make_grid("tests.support.agents:AddingAgent", ["add_mod5-0.5", "mul_mod5-0.5"])
    assert [len(plan.experiments) for plan in alone.plans()] == [1, 1]


def test_budget_and_exams_belong_to_every_task() -> None:
    """So do seeds and salt."""
    grid = make_grid("mlp", "add_mod5-0.5", seeds="0:2", budget=50, exams="sparse", salt="s")
    (plan,) = grid.plans()
    assert (plan.seeds, plan.experiments[0].salt) == ((0, 1), "s")
    assert (plan.experiments[0].task.budget, plan.experiments[0].task.exam_grid) == (50, "sparse")


def test_a_file_says_the_same(tmp_path: Path) -> None:
    """Axes as lists or texts, with or without quotes around a full name."""
    path = tmp_path / "sweep.toml"
    path.write_text(
        'agents = ["mlp"]\ntasks = "add_mod5-{ratio}"\nseeds = "0:2"\nbudget = 50\nexams = "sparse"\n'
        '[vary]\nratio = "0.4:0.5:2"\noptimizer.weight_decay = [0.1, 1.0]\n',
        encoding="utf-8",
    )
    vary = {"ratio": [0.4, 0.5], "optimizer.weight_decay": DECAYS}
    assert read_grid(path) == make_grid("mlp", ["add_mod5-{ratio}"], vary=vary, seeds="0-1", budget=50, exams="sparse")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("agent = 'mlp'", "has agent: expected agents, tasks"),
        ("vary = 3", "vary is a table of axes, got 3"),
        ("agents = [", "can't read the sweep"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """Before anything runs."""
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SweepError, match=why):
        read_grid(tmp_path / "sweep.toml")


def test_wrong_axes_are_refused() -> None:
    """A value that makes no task, two names of one hyperparameter, nothing at all."""
    with pytest.raises(TaskError, match=r"add_mod5-1\.5"):
        make_grid("mlp", "add_mod5-{ratio}", vary={"ratio": [0.5, 1.5]}).plans()
    with pytest.raises(SweepError, match="two axes vary the same hyperparameter"):
        make_grid("mlp", "add_mod5-0.5", vary={"lr": [0.1], "optimizer.lr": [0.2]}).plans()
    with pytest.raises(SweepError, match="nothing to sweep"):
        Grid(agents=(find_recipe("mlp"),), tasks=()).plans()
    with pytest.raises(TaskError, match="exams are full or sparse"):
        make_grid("mlp", "add_mod5-0.5", exams="few").plans()


def test_tasks_with_different_budgets_want_a_common_one() -> None:
    """A task of a suite has the suite's budget. Its runs and those of other tasks make no common diagram."""
    with pytest.raises(SweepError, match="the tasks have budgets of 5000 and 10000 steps: choose one with --budget"):
        make_grid("mlp", "sub_mod31-{ratio}", vary={"ratio": [0.5, 0.65]}).plans()
    assert make_grid("mlp", "sub_mod31-{ratio}", vary={"ratio": [0.5, 0.65]}, budget=100).plans()
