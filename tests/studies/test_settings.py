"""Settings give tasks and recipes; grids name each of them once."""

from dataclasses import replace
from typing import Any

import pytest

from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.transformer import Transformer
from baselines.training.agent import NetworkAgent
from grokbench.errors import RecipeError
from grokbench.studies import deep_grokking
from grokbench.studies.settings import Baseline, Deep, Scale, Setting, Wide, where
from grokbench.studies.study import STUDIES, find_study


def test_a_deep_mlp_is_followed_to_its_steps() -> None:
    """The task's id has the budget, the recipe's tables have the setting."""
    experiment = Deep("mnist5k-n60", 3, alpha=8.0, decay=0.05, width=12, steps=40, dtype="float64").experiment
    assert (experiment.task.budget, experiment.task.followed) == (40, True)
    tables = experiment.recipe.hyperparameters
    assert (tables["network"]["depth"], tables["network"]["width"], tables["network"]["init_scale"]) == (3, 12, 8.0)
    assert (tables["optimizer"]["weight_decay"], tables["training"]["dtype"]) == (0.05, "float64")


@pytest.mark.parametrize(("layers", "agent", "batch_size"), [(1, "transformer", 0), (2, "decoder", 512)])
def test_a_single_layer_trains_on_the_full_batch(layers: int, agent: str, batch_size: int) -> None:
    """Its network is the one-layer transformer; more layers make a decoder that trains on minibatches."""
    recipe = Wide("div_mod47-0.7", 8, layers, decay=1.0, steps=100).experiment.recipe
    assert recipe.target == f"baselines.agents:{agent}"
    assert recipe.hyperparameters["training"]["batch_size"] == batch_size


def test_settings_decide_about_the_network() -> None:
    """Width, depth and α of the deep MLP; a single head and hidden units four times the width in the one-layer transformer."""
    deep = Deep("mnist5k-n60", 3, alpha=2.5, decay=0.05, width=12).experiment.recipe.make()
    single, double = (Wide("div_mod47-0.7", 8, layers, decay=1.0, steps=100).experiment.recipe.make() for layers in (1, 2))
    assert isinstance(deep, NetworkAgent)
    assert isinstance(single, NetworkAgent)
    assert isinstance(double, NetworkAgent)
    assert deep.method.network == DeepMLP(inputs=784, depth=3, width=12, init_scale=2.5)
    assert single.method.network == Transformer(width=8, heads=1, mlp_width=32)
    assert double.method.network == Decoder(width=8, heads=1, layers=2)


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", STUDIES)
def test_recipes_of_a_grid_have_names_of_their_own(name: str, scale: Scale) -> None:
    """A folder of runs is named after its recipe, so recipes with the same name have the same hyperparameters."""
    recipes = [setting.experiment.recipe for setting in find_study(name).settings(scale)]
    assert len({recipe.name for recipe in recipes}) == len({recipe.hash for recipe in recipes})


def test_precision_is_part_of_a_recipes_name() -> None:
    """So are width, α and weight decay: each of them changes the name."""
    base = Deep("mnist5k-n60", 3, alpha=8.0, decay=0.05)
    changes: list[dict[str, Any]] = [{"dtype": "float64"}, {"width": 12}, {"alpha": 1.0}, {"decay": 0.1}, {"depth": 4}]
    names = {replace(base, **change).experiment.recipe.name for change in changes}
    assert len(names | {base.experiment.recipe.name}) == 6


def test_all_studies_have_one_learning_rate() -> None:
    """The recipe `transformer` had 1e-3 when the reports were made, and has another one now."""
    settings: list[Setting] = [Deep("mnist5k-n60", 3, 8.0, 0.1), Wide("div_mod47-0.7", 8, 1, decay=0.1, steps=100)]
    settings += [Baseline("add_mod47-0.7", recipe) for recipe in ("mlp", "transformer")]
    assert {setting.experiment.recipe.plain_hyperparameters["optimizer"]["lr"] for setting in settings} == {1e-3}


def test_a_baseline_needs_a_recipe() -> None:
    """The error comes when the experiment is made."""
    assert Baseline("add_mod47-0.7", "mlp").experiment.recipe.name == "mlp"
    with pytest.raises(RecipeError):
        _ = Baseline("add_mod47-0.7", "no-such-recipe").experiment


def test_where_selects_by_fields_in_order() -> None:
    """A field may be compared with a value or with several. Settings of another class are left out."""
    grid: list[Setting] = [Deep("mnist5k-n60", depth, alpha, 0.1) for depth in (6, 3) for alpha in (1.0, 8.0)]
    grid.append(Wide("div_mod47-0.7", 8, 1, decay=0.1, steps=100))
    assert [(setting.depth, setting.alpha) for setting in where(grid, Deep, alpha=8)] == [(6, 8), (3, 8)]
    assert where(grid, Deep, depth=(3, 6)) == tuple(grid[:4])
    assert where(grid, Deep, depth=3, alpha=2) == ()
    assert where(grid, Wide, decay=0.1) == tuple(grid[4:])


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_grid_can_be_trained(name: str, scale: Scale) -> None:
    """Every setting is there once, with an agent that can be made."""
    experiments = [setting.experiment for setting in find_study(name).settings(scale)]
    assert len({(experiment.task.id, experiment.recipe.hash) for experiment in experiments}) == len(experiments)
    assert all(experiment.recipe.make().batched for experiment in experiments)


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", STUDIES)
def test_statements_are_tested_on_three_seeds_or_more(name: str, scale: Scale) -> None:
    """Only the run in double precision, which decides no statement, has a single seed."""
    fewer_seeds = [setting for setting, seeds in find_study(name).settings(scale).items() if len(seeds) < 3]
    assert fewer_seeds == ([deep_grokking.DOUBLE_PRECISION] if (name, scale) == ("deep-grokking", "small") else [])
