"""Axes: the values that a text spans, names of hyperparameters, and the recipes and tasks that follow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.errors import SweepError
from grokbench.sweeps.axes import axis_values, changed, filled, hyperparameter, parse_values, placeholders
from tests.support.agents import AddingAgent

MLP = find_recipe("mlp")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1", (0.1,)),
        ("1,10, 100", (1, 10, 100)),
        ("0.2:0.9:15", (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)),
        ("0.01:10:4:log", (0.01, 0.1, 1.0, 10.0)),
        ("0.1:3:4:log", (0.1, 0.311, 0.965, 3.0)),
        ("8:512:7:log", (8, 16, 32, 64, 128, 256, 512)),
        ("3:1:3", (3, 2, 1)),
        ("1:2:3", (1.0, 1.5, 2.0)),
        ("1e-3,1e-2", (0.001, 0.01)),
        ("add,sub", ("add", "sub")),
        ("true,false", (True, False)),
    ],
)
def test_values_are_listed_or_spaced(text: str, values: tuple[object, ...]) -> None:
    """Whole ends with whole values give whole numbers. Computed values have few digits."""
    assert parse_values(text) == values
    assert [type(value) for value in parse_values(text)] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a list"),
        ("1,,2", "expected a list"),
        ("1:2", "expected a list"),
        ("1:2:3:log:4", "expected a list"),
        ("nan", "expected"),
        ("a:2:3", "^'a' isn't a number in the range 'a:2:3'"),
        ("1:b:3", "^'b' isn't a number in"),
        ("1:2:1", "^'1' isn't a number of values, a whole number of at least 2, in"),
        ("1:2:2.5", "^'2.5' isn't a number of values"),
        ("1:2:3:lin", "^'lin' isn't a scale, which is log or left out, in"),
        ("0:1:3:log", "^an end isn't above 0, as log needs it, in the range '0:1:3:log'"),
    ],
)
def test_other_texts_are_refused(text: str, problem: str) -> None:
    """The error quotes what was written, and says which part of a range is wrong."""
    with pytest.raises(SweepError, match=problem):
        parse_values(text)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 40))
def test_a_spaced_axis_begins_and_ends_where_it_says(first: float, last: float, count: int) -> None:
    """Up to the digits that are kept, with equal differences or ratios."""
    for scale, digits in (("", 1e-5), (":log", 5e-3)):
        values = parse_values(f"{first}:{last}:{count}{scale}")
        np.testing.assert_allclose([values[0], values[-1]], [first, last], rtol=digits)
        assert len(values) <= count


@pytest.mark.parametrize("values", [[0.1, 1.0], (0.1, 1.0), np.array([0.1, 1.0]), "0.1,1.0", [np.float64(0.1), 1.0]])
def test_an_axis_takes_any_kind_of_values(values: object) -> None:
    """Numpy's numbers become plain ones."""
    assert axis_values("lr", values) == (0.1, 1.0)
    assert all(type(value) is float for value in axis_values("lr", values))


@pytest.mark.parametrize("values", [[], np.array([]), [float("inf")], [1.0, float("nan")]])
def test_an_axis_needs_finite_values(values: object) -> None:
    """The error names the axis."""
    with pytest.raises(SweepError, match="the axis lr needs"):
        axis_values("lr", values)


def test_a_name_means_the_hyperparameter_that_ends_in_it() -> None:
    """A full name means itself, also one that the recipe leaves at its default."""
    assert hyperparameter(MLP, "weight_decay") == "optimizer.weight_decay"
    assert hyperparameter(MLP, "optimizer.lr") == "optimizer.lr"
    assert hyperparameter(MLP, "optimizer.eps") == "optimizer.eps"
    with pytest.raises(SweepError, match=r"mlp has optimizer\.name and schedule\.name: write one of them for name"):
        hyperparameter(MLP, "name")
    with pytest.raises(SweepError, match=r"nothing is called decay: .* mlp has network\.hidden"):
        hyperparameter(MLP, "decay")
    with pytest.raises(SweepError, match=r"; did you mean weight_decay\?"):
        hyperparameter(MLP, "weigth_decay")


def test_values_take_the_form_of_the_bases() -> None:
    """So that the same setting has the same hash, however it was written."""
    for value in (1, 1.0):
        made = changed(MLP, {"optimizer.weight_decay": value, "network.hidden": 64})
        assert made.hash == recipe("mlp", optimizer={"weight_decay": 1.0}, network={"hidden": [64]}).hash


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"optimizer.lr": -1}, "lr must be a number above 0, got -1.0"),
        ({"training.weight_decay": 0.1}, "did you mean optimizer.weight_decay for training.weight_decay?"),
        ({"optimizer.weight_decai": 0.1}, "did you mean optimizer.weight_decay for optimizer.weight_decai?"),
        ({"network.activation": "tanh"}, "activation must be"),
    ],
)
def test_an_impossible_value_is_told(values: dict[str, object], why: str) -> None:
    """With the agent's own words, and what may be meant."""
    with pytest.raises(SweepError) as caught:
        changed(MLP, values)
    assert why in str(caught.value)


def test_the_argument_of_a_class_is_an_axis() -> None:
    """One that it has a default for, so that no recipe states it."""
    assert hyperparameter(recipe(Guessing), "lr") == "lr"
    with pytest.raises(SweepError, match="and Guessing has lr; did you mean lr"):
        hyperparameter(recipe(Guessing), "lrr")


class Guessing(AddingAgent):
    """Has an argument."""

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr


def test_names_in_braces_are_filled() -> None:
    """Numbers as an id has them."""
    task = "{operation}_mod{p}-{ratio}"
    assert placeholders(task) == ["operation", "p", "ratio"]
    assert filled(task, {"operation": "add", "p": 31, "ratio": 0.30000000000000004}) == "add_mod31-0.3"
    assert placeholders("add_mod47-0.5") == []


@pytest.mark.parametrize(
    "task", ["add_mod{-0.5", "add_mod}-0.5", "add_{}-0.5", "add_{0}-0.5", "add_{p:x}", "add_{a.b}", "add_{p!r}"]
)
def test_other_braces_are_refused(task: str) -> None:
    """The error shows how they are meant."""
    with pytest.raises(SweepError, match="add_mod47-"):
        placeholders(task)
