"""The space of a tuning: ranges, values and points."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from grokbench.agents.recipes import Recipe, find_recipe, flattened, recipe
from grokbench.errors import SweepError, TuningError
from grokbench.sweeps.space import (
    COUPLED_DECAY,
    LEARNING_RATES,
    OFF_SHARE,
    WEIGHT_DECAY,
    Dimension,
    Space,
    search_points,
    sobol,
    zoom_points,
)

PLACES = st.floats(0, 1, exclude_max=True)
DIMENSIONS = (
    Dimension("optimizer.lr", 3e-4, 3e-2),
    Dimension("optimizer.weight_decay", 0.1, 10.0, off=True),
    Dimension("schedule.warmup", 1, 300, whole=True),
    Dimension("optimizer.betas", 0.9, 0.999, "memory", index=1),
    Dimension("gradient.decay", 0.0, 0.999, "memory"),
)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
@given(place=PLACES)
def test_a_value_lies_in_its_range_and_has_its_place(dimension: Dimension, place: float) -> None:
    """A value's place is the place that it came from, up to rounding; below an eighth, weight decay is off."""
    value = dimension.value(place)
    if dimension.off and place < OFF_SHARE:
        assert (value, dimension.place(value)) == (0.0, 0.0)
        return
    assert dimension.low - 1e-9 <= value <= dimension.high + 1e-9
    if not dimension.whole:
        assert dimension.place(value) == pytest.approx(place, abs=1e-3)


def test_ends_and_values_outside() -> None:
    """The lowest place has the lowest value, and the highest the highest. What lies outside has the nearest place."""
    rate, decay, warmup, beta, own = DIMENSIONS
    assert (rate.value(0.0), rate.value(1.0)) == (3e-4, 3e-2)
    assert (decay.value(OFF_SHARE), decay.value(1.0)) == (0.1, 10.0)
    assert (warmup.value(0.0), warmup.value(1.0)) == (1, 300)
    assert (beta.value(0.0), beta.value(1.0)) == (0.9, 0.999)
    assert (own.value(0.0), own.value(1.0)) == (0.0, 0.999)
    assert (rate.place(1.0), rate.place(0.0), decay.place(0.005), beta.place(1.0)) == (1.0, 0.0, OFF_SHARE, 1.0)


def test_the_points_are_those_of_the_protocol() -> None:
    """They never change, or entries from before would be refused; the first ones are known here."""
    assert np.round(sobol(2, 3), 6).tolist() == [[0.710746, 0.328729, 0.273985], [0.210746, 0.828729, 0.773985]]


@pytest.mark.parametrize("dimensions", [1, 4, 7])
def test_points_fill_the_cube_evenly(dimensions: int) -> None:
    """As a Sobol sequence does: half of the points in each half of every axis, and a lower discrepancy than random points."""
    points = sobol(32, dimensions)
    assert ((points < 0.5).sum(axis=0) == 16).all()
    random = np.random.default_rng(0).random((32, dimensions))
    assert qmc.discrepancy(points) < qmc.discrepancy(random)


@given(center=st.tuples(PLACES, PLACES, PLACES))
def test_the_zoom_is_a_box_a_third_as_wide_around_the_best(center: tuple[float, float, float]) -> None:
    """At an edge the box stays inside. Its points come after those of the search."""
    points = np.array(zoom_points(center, before=32, count=8))
    assert points.shape == (8, 3)
    assert ((points >= 0) & (points < 1)).all()
    assert (np.ptp(points, axis=0) <= 1 / 3).all()
    assert (np.abs(points - np.array(center)) <= 1 / 3).all()


@pytest.mark.parametrize(
    ("optimizer", "decay_range"),
    [
        ({"name": "adamw"}, WEIGHT_DECAY),
        ({"name": "Adam"}, COUPLED_DECAY),
        ({"name": "Adam", "decoupled_weight_decay": True}, WEIGHT_DECAY),
        ({"name": "sgd", "momentum": 0.9}, COUPLED_DECAY),
        ({"name": "ADOPT"}, COUPLED_DECAY),
        ({"name": "ADOPT", "weight_decouple": True}, WEIGHT_DECAY),
        ({"name": "lion"}, WEIGHT_DECAY),
        ({"name": "lion", "weight_decouple": False}, COUPLED_DECAY),
    ],
)
def test_a_decay_that_is_added_to_the_gradient_has_a_range_of_its_own(
    optimizer: dict[str, Any], decay_range: tuple[float, float]
) -> None:
    """Adam with a decay of 0.1 in the gradient learns nothing."""
    space = Space.of(recipe("transformer", optimizer={"lr": 1e-3, "weight_decay": 0.005} | optimizer))
    decay = space.dimensions[1]
    assert (decay.name, (decay.low, decay.high), decay.off) == ("optimizer.weight_decay", decay_range, True)


def test_everyone_varies_rate_decay_warmup_and_beta() -> None:
    """The learning rate's range depends on the family."""
    space = Space.of(find_recipe("transformer"))
    assert (space.family, space.dimensions) == ("adam", DIMENSIONS[:4])
    lion = recipe("transformer", optimizer={"name": "Lion", "lr": 1e-4, "weight_decay": 1.0, "betas": [0.9, 0.99]})
    sign = Space.of(lion)
    assert (sign.family, sign.dimensions[0]) == ("sign", Dimension("optimizer.lr", *LEARNING_RATES["sign"]))
    muon = Space.of(find_recipe("transformer_muon"))
    assert [dimension.label for dimension in muon.dimensions][-1] == "optimizer.adamw_betas.1"


def test_what_a_recipe_lacks_is_not_varied() -> None:
    """An agent of one's own needs a learning rate alone, and says which family it belongs to."""
    own = Recipe("own", "tests.support.agents:AddingAgent", {"lr": 0.1, "width": 64})
    space = Space.of(own, family="sgd", own={"width": (16, 256)})
    assert space.dimensions == (Dimension("lr", 1e-2, 10.0), Dimension("width", 16.0, 256.0, whole=True))
    assert space.recipe(3, (0.0, 1.0)).plain_hyperparameters == {"lr": 0.01, "width": 256}


def test_a_name_may_end_in_a_number() -> None:
    """It isn't taken for a place in a list."""
    space = Space.of(
        Recipe("own", "tests.support.agents:AddingAgent", {"lr": 0.1, "a": {"5": 0.5}}), family="sgd", own={"a.5": (0, 1)}
    )
    assert space.recipe(1, (0.0, 0.0)).plain_hyperparameters["a"] == {"5": 0.0}


def test_a_point_is_a_recipe() -> None:
    """It has the point's values and the rest of the published recipe; the published setting has no point."""
    published = find_recipe("transformer_grokfast")
    space = Space.of(published, own={"amplification": (0.2, 20), "gradient.decay": (0, 1)})
    place = (0.5, 0.0, 0.5, 1.0, 0.5, 0.0)
    made = space.recipe(7, place)
    assert made.name == "transformer_grokfast-point7"
    expected = {"lr": 0.003, "weight_decay": 0.0, "betas": [0.9, 0.999], "name": "adamw"}
    values = made.plain_hyperparameters
    assert values["optimizer"] == expected
    assert (values["schedule"]["warmup"], values["gradient"]["amplification"], values["gradient"]["decay"]) == (17, 2.0, 0.0)
    assert values["network"] == published.plain_hyperparameters["network"]
    assert space.place(made) == pytest.approx(place, abs=1e-2)
    assert space.recipe(0, None) == replace(published, name="transformer_grokfast-point0")


def test_every_point_of_every_baseline_makes_an_agent() -> None:
    """Otherwise a tuning would end in the middle."""
    for name in ("transformer", "mlp", "transformer_muon"):
        space = Space.of(find_recipe(name))
        for number, point in enumerate(search_points(len(space.dimensions), 8), start=1):
            assert space.recipe(number, point).make()


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        ({}, {"family": "sign"}, "adamw belongs to the family adam, got sign"),
        ({"optimizer": {"name": "adagrad", "lr": 1e-2}}, {}, "say to which family adagrad belongs"),
        ({"optimizer": {"name": "adagrad", "lr": 1e-2}}, {"family": "fast"}, "got fast"),
        ({"optimizer": {"name": "schedulefreeadamw"}}, {"family": "adam"}, "states no learning rate"),
        ({}, {"own": {"gradient.decay": (0, 1)}}, "gradient.decay in the recipe must be a number"),
        ({"optimizer": {"lr": "auto"}}, {}, "optimizer.lr in the recipe must be a number to vary it, got 'auto'"),
        ({"optimizer": {"lr": True}}, {}, "optimizer.lr in the recipe must be a number"),
        ({"optimizer": {"weight_decay": 10**400}}, {}, "optimizer.weight_decay in the recipe must be a number"),
        ({"optimizer": {"betas": 0.9}}, {}, "optimizer.betas in the recipe must be a list of numbers"),
        ({"optimizer": {"betas": [0.9]}}, {}, "optimizer.betas in the recipe must be a list of numbers"),
        ({}, {"own": {"seeds_together": (1, float("inf"))}}, "an end of the range of seeds_together must be a number"),
        ({}, {"own": {"seeds_together": (1e-300, 100)}}, "a decade wide and above 0"),
        ({"gradient": {"5": 0.5}}, {"own": {"gradient.5": (1e-300, 1)}}, "a decade wide"),
        ({"gradient": {"filter": "grokfast_ema", "decay": 0.9}}, {"own": {"gradient.decay": (0.5, 0.99)}}, "a decade wide"),
        ({"gradient": {"filter": "grokfast_ema", "amplification": 2.0}}, {"own": {"amplification": (3, 30)}}, "must contain"),
        ({}, {"own": {"lr": (1e-3, 1e-2)}}, "the protocol varies optimizer.lr"),
        ({}, {"own": {"width": (1, 10), "heads": (1, 10), "mlp_width": (1, 10), "loss": (1, 10)}}, "at most 3"),
    ],
)
def test_other_spaces_are_refused(change: dict[str, object], options: dict[str, object], why: str) -> None:
    """The message says what the protocol asks for."""
    with pytest.raises(TuningError, match=why):
        Space.of(recipe("transformer", **change), **options)  # type: ignore[arg-type]


def test_an_unknown_name_is_told() -> None:
    """As it is for an axis of a sweep."""
    with pytest.raises(SweepError, match="nothing is called decya"):
        Space.of(find_recipe("transformer"), own={"decya": (1, 10)})


def test_the_published_recipe_is_not_changed() -> None:
    """Recipes are immutable, and points are new ones."""
    published = find_recipe("transformer")
    before = dict(flattened(published.plain_hyperparameters))
    Space.of(published).recipe(1, (0.1, 0.2, 0.3, 0.4))
    assert dict(flattened(published.plain_hyperparameters)) == before
