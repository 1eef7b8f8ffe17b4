"""The axes of a sweep: values as people write them, and the hyperparameters and task ids that follow from them.

| text | values |
|---|---|
| `0.01,0.1,1` | these three |
| `0.2:0.9:15` | 15 evenly spaced values from 0.2 to 0.9, both included |
| `0.01:10:7:log` | 7 values with equal ratios |
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from string import Formatter
from typing import Any

import numpy as np

from grokbench.agents.recipes import Recipe, changed_recipe, flattened
from grokbench.errors import AgentError, SweepError

DIGITS = 6  # significant digits of an evenly spaced value, so that 0.30000000000000004 is 0.3
LOG_DIGITS = 3  # of a value with equal ratios
RANGE = "a list such as 0.1,1,10, or a range such as 0.2:0.9:15 or 0.01:10:7:log"
Axes = Mapping[str, tuple[Any, ...]]  # name → its values


def parse_values(text: str) -> tuple[Any, ...]:
    """The values that a text lists or spans: numbers, `true` and `false`, or words.

    Raises:
        SweepError: it does neither.
    """
    if ":" not in text:
        values = [_value(word.strip()) for word in text.split(",")]
        if "" in values:
            raise SweepError(f"expected {RANGE}, got {text!r}")
        return tuple(values)
    if text.count(":") not in (2, 3):
        raise SweepError(f"expected {RANGE}, got {text!r}")
    first, last, count, *scale = text.split(":")
    start, stop, number = _value(first), _value(last), _value(count)
    if problem := _range_problem(start, stop, number, scale):
        raise SweepError(f"{problem} in the range {text!r}: write {RANGE}")
    space, digits = (np.geomspace, LOG_DIGITS) if scale else (np.linspace, DIGITS)
    rounded = [float(f"{value:.{digits}g}") for value in space(float(start), float(stop), number)]
    whole = isinstance(start, int) and isinstance(stop, int) and all(value.is_integer() for value in rounded)
    return tuple(dict.fromkeys(int(value) if whole else value for value in rounded))


def _range_problem(start: Any, stop: Any, number: Any, scale: Sequence[str]) -> str:
    """What is wrong with the parts of a range; empty if nothing is."""
    for end in (start, stop):
        if not _is_number(end):
            return f"{str(end)!r} isn't a number"
    if not isinstance(number, int) or number < 2:
        return f"{str(number)!r} isn't a number of values, a whole number of at least 2,"
    if scale not in ([], ["log"]):
        return f"{scale[0]!r} isn't a scale, which is log or left out,"
    return "an end isn't above 0, as log needs it," if scale and min(start, stop) <= 0 else ""


def axis_values(name: str, values: Any) -> tuple[Any, ...]:
    """The values of an axis, given as a text, as a list, as an array, or as a single value.

    Raises:
        SweepError: there are none, or one of them isn't a finite number, a text, or a list.
    """
    if isinstance(values, str):
        return parse_values(values)
    if isinstance(values, np.ndarray):
        values = values.tolist()
    found = tuple(values) if isinstance(values, Iterable) else (values,)
    plain = tuple(value.item() if isinstance(value, np.generic) else value for value in found)
    if not plain or any(isinstance(value, float) and not isfinite(value) for value in plain):
        raise SweepError(f"the axis {name} needs at least one value, and finite numbers, got {plain!r}")
    return plain


def placeholders(task: str) -> list[str]:
    """The names in braces of a task such as `add_mod{p}-{ratio}`.

    Raises:
        SweepError: the braces don't match, or hold something else than a name.
    """
    try:
        fields = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(task) if name is not None]
    except ValueError as error:
        raise SweepError(f"the task {task!r} isn't an id with names in braces, such as add_mod47-{{ratio}}: {error}") from None
    if not all(name.isidentifier() and not form and not conversion for name, form, conversion in fields):
        raise SweepError(f"the braces in the task {task!r} must hold names, as in add_mod47-{{ratio}}")
    return [name for name, _, _ in fields]


def filled(task: str, values: Mapping[str, Any]) -> str:
    """The task's id with values in place of the names in braces."""
    return task.format_map({name: _number_text(value) for name, value in values.items()})


def hyperparameter(base: Recipe, name: str) -> str:
    """The full name of a hyperparameter, `optimizer.weight_decay` for `weight_decay`.

    What the recipe doesn't set is returned as it is, if its class takes it or the name has a point: the agent may take it.

    Raises:
        SweepError: the recipe has no such hyperparameter, or several that end in this name.
    """
    known = [key for key, _ in flattened(base.plain_hyperparameters)]
    ending = [key for key in known if key == name or key.endswith(f".{name}")]
    if len(ending) == 1 or name in known:
        return name if name in known else ending[0]
    if not ending and ("." in name or name in base.arguments):
        return name
    raise SweepError(_unknown(base, name, ending))


def with_values(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these hyperparameters, by their full names. No code of an agent runs."""
    changes: dict[str, Any] = {}
    now = dict(flattened(base.plain_hyperparameters))
    for name, value in values.items():
        *tables, key = name.split(".")
        table = changes
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = _like(now.get(name), value)
    return changed_recipe(base, changes) if changes else base


def changed(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these hyperparameters, whose agent can be made.

    Raises:
        SweepError: the agent doesn't take one of them.
    """
    if not values:
        return base
    made = with_values(base, values)
    try:
        made.make()
    except AgentError as error:
        hints = _hints(dict(flattened(base.plain_hyperparameters)), values)
        raise SweepError(f"{base.name} can't be made with {_shown(values)}: {error}{hints}") from None
    return made


def _like(base: Any, value: Any) -> Any:
    """The value in the form of the base's: [64] for 64 where the base has [256]."""
    return [value] * len(base) if isinstance(base, list) and not isinstance(value, Sequence) and base else value


def _value(word: str) -> Any:
    """A whole number, a number, a truth value, or the word itself."""
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            number = kind(word)
        except ValueError:
            continue
        if not isfinite(number):
            raise SweepError(f"expected finite numbers, got {word!r}")
        return number
    return word


def _number_text(value: Any) -> str:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unknown(base: Recipe, name: str, ending: Sequence[str]) -> str:
    if ending:
        return f"{base.name} has {' and '.join(ending)}: write one of them for {name}"
    known = [key for key, _ in flattened(base.plain_hyperparameters)] or list(base.arguments)
    accepted = ", ".join(known) or "no hyperparameters"
    near = get_close_matches(name, [key.rpartition(".")[2] for key in known], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"nothing is called {name}: no task has {{{name}}}, and {base.name} has {accepted}{hint}"


def _hints(now: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Names that may be meant by those that the recipe doesn't have."""
    words = []
    for name in values:
        last = name.rpartition(".")[2]
        same = [key for key in now if key.rpartition(".")[2] == last]
        near = [] if name in now else same or get_close_matches(name, now, n=1)
        words += [f"; did you mean {near[0]} for {name}?"] if near else []
    return "".join(words)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
