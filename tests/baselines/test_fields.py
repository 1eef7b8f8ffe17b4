"""Hyperparameters: which values each kind of field takes, and what the error says about others."""

from dataclasses import FrozenInstanceError
from math import inf, nan
from typing import Annotated, Any

import pytest
from pydantic import Field

from baselines.fields import Count, Fraction, NonNegative, Positive, PositiveCount, check, from_table, hyperparameters, one_of
from grokbench.agents.recipes import recipe
from grokbench.errors import RecipeError


@hyperparameters
class Example:
    """A field of every kind."""

    rate: Positive
    decay: NonNegative
    share: Fraction
    warmup: Count
    width: PositiveCount
    kind: Annotated[str, one_of(["relu", "quadratic"])]
    hidden: Annotated[tuple[PositiveCount, ...], Field(min_length=1, description="a list of whole numbers from 1 up")]

    def __post_init__(self) -> None:
        check(self.warmup <= self.width, f"warmup must be at most width, got {self.warmup} and {self.width}")


TABLE = {"rate": 0.5, "decay": 0.0, "share": 0.0, "warmup": 0, "width": 1, "kind": "relu", "hidden": [4, 1]}


def example(**changes: Any) -> Example:
    """The example with some values changed."""
    return from_table(Example, TABLE | changes, "example")


@pytest.mark.parametrize("changes", [{"rate": 1e-300}, {"rate": 2}, {"share": 0.999}, {"kind": "quadratic"}, {"decay": 5.0}])
def test_values_up_to_the_bounds_are_taken(changes: dict[str, Any]) -> None:
    """Each value arrives as it is; the other fields already lie at their bounds."""
    made = example(**changes)
    assert all(getattr(made, name) == value for name, value in changes.items())


@pytest.mark.parametrize("name", ["network", "training", "optimizer", "schedule", "gradient", "noise"])
def test_a_recipe_is_made_of_tables(name: str) -> None:
    """A value in place of a table is told, and no run fails by it."""
    with pytest.raises(RecipeError, match=rf"\[{name}\] must be a table of hyperparameters, got {name} = 'cosine'"):
        recipe("mlp", **{name: "cosine"}).make()


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("rate", [0, -1.0, inf, nan, "1", True, None], "a number above 0"),
        ("decay", [-1e-9, inf, nan, "fast"], "a number from 0 up"),
        ("share", [1, 1.0, -0.1, nan, "0.5"], r"a number in \[0, 1\)"),
        ("warmup", [-1, 1.0, True, "0"], "a whole number from 0 up"),
        ("width", [0, 2.5, "ö"], "a whole number from 1 up"),
        ("kind", ["", "gelu", "relux", "xrelu", "xquadratic", "relu\n", "relu|quadratic", 1], "one of relu, quadratic"),
        ("hidden", [[], [4, 0], [4, 1.5], 4, "44"], "a list of whole numbers from 1 up"),
    ],
)
def test_other_values_are_refused(name: str, values: list[Any], expected: str) -> None:
    """The error names the hyperparameter and what it must be."""
    for value in values:
        with pytest.raises(RecipeError, match=f"^{name} must be {expected}, got "):
            example(**{name: value})


def test_the_error_shows_the_value_as_python_writes_it() -> None:
    """So the string "1" can be told from the number 1."""
    with pytest.raises(RecipeError, match=r"got '1'$"):
        example(rate="1")


def test_the_first_wrong_value_is_named() -> None:
    """In the order of the fields, whatever the order of the table."""
    with pytest.raises(RecipeError, match=r"^decay must be"):
        from_table(Example, dict(reversed((TABLE | {"decay": -1.0, "width": 0}).items())), "example")


def test_missing_and_unknown_names_come_before_wrong_values() -> None:
    """Both are listed in alphabetical order, and all hyperparameters after them."""
    table = {"width": 1, "kind": "gelu", "hidden": [1], "rate": 1.0, "zeta": 1, "Ärger": 2}
    accepted = "decay, hidden, kind, rate, share, warmup, width"
    words = rf"^\[example\] lacks decay, share, warmup and doesn't know zeta, Ärger: its hyperparameters are {accepted}$"
    with pytest.raises(RecipeError, match=words):
        from_table(Example, table, "example")
    with pytest.raises(RecipeError, match=r"^\[example\] doesn't know depth: "):
        example(depth=1)
    with pytest.raises(RecipeError, match=r"^\[example\] lacks decay, hidden, kind, rate, share, warmup, width: "):
        from_table(Example, {}, "example")


def test_a_rule_about_two_values_is_told_in_its_own_words() -> None:
    """`check` in `__post_init__` writes the whole message."""
    with pytest.raises(RecipeError, match=r"^warmup must be at most width, got 2 and 1$"):
        example(warmup=2)


def test_hyperparameters_never_change() -> None:
    """Lists have become tuples, and fields can't be set, so hyperparameters can be shared and hashed."""
    made = example()
    assert made.hidden == (4, 1)
    assert len({made, example()}) == 1
    with pytest.raises(FrozenInstanceError):
        made.width = 2  # type: ignore[misc]


def test_values_are_given_by_name() -> None:
    """Two numbers in the wrong order can't be mixed up."""

    @hyperparameters
    class Pair:
        first: Positive
        second: Positive

    with pytest.raises(Exception, match="positional"):
        Pair(1.0, 2.0)  # type: ignore[call-arg]
