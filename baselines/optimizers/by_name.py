"""Optimizers by name, from torch.optim and pytorch-optimizer, and their arguments."""

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from baselines.fields import check
from grokbench.agents.targets import normalized
from grokbench.errors import RecipeError, install

BASE_OPTIMIZER = "base_optimizer"  # the argument of SAM and its kin that is itself a class


def find_class(name: str, *, others: Iterable[str] = ()) -> type[Any]:
    """The optimizer's class: torch's, or pytorch-optimizer's where torch has none of this name.

    Args:
        name: the name; case, "_" and "-" don't count.
        others: names that the caller knows besides, for the hint at close names.

    Raises:
        RecipeError: there is none.
    """
    known = _classes(torch.optim)
    has_extra = find_spec("pytorch_optimizer") is not None
    if normalized(name) not in known and has_extra:
        import pytorch_optimizer

        known = _classes(pytorch_optimizer) | known
    if normalized(name) in known:
        return known[normalized(name)]
    near = get_close_matches(normalized(name), [*known, *others], n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    if has_extra:
        raise RecipeError(f"neither torch.optim nor pytorch-optimizer has an optimizer {name!r}{hint}")
    raise RecipeError(f"torch.optim has no optimizer {name!r}{hint}: {install('optimizers')} adds those of pytorch-optimizer")


def _classes(module: ModuleType) -> dict[str, type[Any]]:
    classes = {normalized(name): value for name, value in vars(module).items() if isinstance(value, type)}
    return {name: kind for name, kind in classes.items() if issubclass(kind, torch.optim.Optimizer) and name != "optimizer"}


def checked_arguments(kind: type[Any], table: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """The keyword arguments that the class gets from a recipe's table, in which lists are tuples.

    Args:
        kind: the optimizer's class.
        table: the hyperparameters; `base_optimizer` is the name of a class.
        shown: what messages call the optimizer.

    Raises:
        RecipeError: the class doesn't take one of them, or needs one that the table lacks.
    """
    arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    accepted = arguments_of(kind)
    if BASE_OPTIMIZER in accepted and isinstance(arguments.get(BASE_OPTIMIZER), str):
        arguments[BASE_OPTIMIZER] = find_class(arguments[BASE_OPTIMIZER])
        accepted = arguments_of(arguments[BASE_OPTIMIZER]) | accepted
    unknown = [] if _takes_any(kind) else sorted(set(arguments) - set(accepted))
    missing = [name for name, parameter in accepted.items() if parameter.default is parameter.empty and name not in arguments]
    problems = [f"{words} {', '.join(names)}" for words, names in (("lacks", missing), ("doesn't know", unknown)) if names]
    check(not problems, f"[optimizer] {shown} {' and '.join(problems)}: its hyperparameters are {', '.join(sorted(accepted))}")
    return arguments


def arguments_of(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """The parameters of the constructor that a recipe may set: all but the first, the network's parameters."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(kind).parameters.items())
    return {name: parameter for name, parameter in parameters[1:] if parameter.kind in named}


def _takes_any(kind: type[Any]) -> bool:
    """Whether the class has a use for any keyword. Those of pytorch-optimizer ignore keywords that they don't know."""
    kinds = [parameter.kind for parameter in inspect.signature(kind).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds and not kind.__module__.startswith("pytorch_optimizer")
