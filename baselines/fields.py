"""Hyperparameters as frozen pydantic dataclasses. An error says what was expected."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from grokbench.errors import RecipeError

Hyperparameters = TypeVar("Hyperparameters")

# A description completes the sentence "lr must be …, got 'fast'".
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number above 0")]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0 up")]
Fraction = Annotated[float, Field(ge=0, lt=1, description="a number in [0, 1)")]
Count = Annotated[int, Field(ge=0, description="a whole number from 0 up")]
PositiveCount = Annotated[int, Field(ge=1, description="a whole number from 1 up")]


def one_of(names: Iterable[str]) -> FieldInfo:
    """The field metadata of a string that is one of `names`."""
    field: FieldInfo = Field(pattern=f"^({'|'.join(names)})$", description=f"one of {', '.join(names)}")
    return field


@dataclass_transform(frozen_default=True, kw_only_default=True)
def hyperparameters(cls: type[Hyperparameters]) -> type[Hyperparameters]:
    """Class decorator: a frozen dataclass with keyword arguments alone, whose types are checked and never converted."""
    checked: Any = dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))(cls)
    return checked  # type: ignore[no-any-return]


def check(condition: bool, message: str) -> None:
    """Raise RecipeError with `message` unless the condition holds."""
    if not condition:
        raise RecipeError(message)


def check_table(table: Any, where: str) -> None:
    """Raise RecipeError unless the recipe's `where` is a table."""
    check(isinstance(table, Mapping), f"[{where}] must be a table of hyperparameters, got {where} = {table!r}")


def from_table(kind: type[Hyperparameters], table: Mapping[str, Any], where: str) -> Hyperparameters:
    """The hyperparameters of class `kind` from the recipe's table `[where]`, in which lists are tuples.

    Raises:
        RecipeError: it isn't a table, lacks a hyperparameter, has an unknown name, or has a wrong value.
    """
    check_table(table, where)
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})
    except ValidationError as error:
        raise RecipeError(_message(kind, table, where, error)) from None


def fields_of(kind: Any) -> dict[str, FieldInfo]:
    """The hyperparameters that a class of hyperparameters has, by name."""
    fields: dict[str, FieldInfo] = kind.__pydantic_fields__
    return fields


def _message(kind: Any, table: Mapping[str, Any], where: str, error: ValidationError) -> str:
    """The names that are missing or unknown; without such names, the first wrong value."""
    expected = fields_of(kind)
    required = {name for name, field in expected.items() if field.is_required()}
    names = {"lacks": sorted(required - set(table)), "doesn't know": sorted(set(table) - set(expected))}
    problems = [f"{words} {', '.join(given)}" for words, given in names.items() if given]
    if problems:
        return f"[{where}] {' and '.join(problems)}: its hyperparameters are {', '.join(sorted(expected))}"
    problem = error.errors()[0]
    if not problem["loc"]:  # raised by `check` in __post_init__
        return str(problem["ctx"]["error"])
    name = str(problem["loc"][0])
    return f"{name} must be {expected[name].description}, got {table[name]!r}"
