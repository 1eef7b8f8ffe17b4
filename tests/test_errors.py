"""The tree of errors: what its documentation draws is what the classes are."""

import builtins
import pickle
import re

import pytest

from grokbench import errors
from grokbench.errors import GrokbenchError

CLASSES = {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
LINE = re.compile(r"^ *[x*+] (?P<name>\w+)(?P<about>.*)$", re.MULTILINE)
DRAWN = {match["name"]: match["about"] for match in LINE.finditer(errors.__doc__ or "")}


def test_the_drawing_has_every_error() -> None:
    """And nothing that isn't there."""
    assert list(DRAWN) != []
    assert set(DRAWN) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_what_the_drawing_says(name: str) -> None:
    """The root catches all. Code that knows Python's errors alone catches each as the one in parentheses."""
    error = CLASSES[name]
    assert issubclass(error, GrokbenchError)
    assert error.__doc__
    if stated := re.search(r"\(an? (\w+)\)", DRAWN[name]):
        assert issubclass(error, getattr(builtins, stated[1]))
    else:
        assert name in ("GrokbenchError", "RecipeError", "FaultyAgentError")


def test_a_recipe_error_is_an_agent_error() -> None:
    """It is drawn below it."""
    assert issubclass(errors.RecipeError, errors.AgentError)


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_keeps_its_message_on_the_way_to_another_process(name: str) -> None:
    """OSError would take a second argument for a file's name."""
    error = CLASSES[name]("what was wrong: what to do")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is CLASSES[name]
    assert str(copy) == str(error) == "what was wrong: what to do"
