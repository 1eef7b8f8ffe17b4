"""The description of an agent: what comes back from a message, and hostile messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokbench.agents.agent import MOST_TOGETHER
from grokbench.agents.recipes import find_recipe
from grokbench.board.verification.description import LONGEST_DTYPE, LONGEST_QUOTE, Description
from grokbench.errors import RemoteError

GOOD: dict[str, Any] = {"feature_dims": [4, 8], "batched": True, "seeds_together": 3, "dtype": "float32"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def test_a_description_comes_back() -> None:
    """Every attribute that the runner reads is the agent's."""
    agent = find_recipe("mlp").make()
    parsed = Description.parse(Description.of(agent).message())
    for name in ("feature_dims", "batched", "seeds_together", "dtype"):
        assert getattr(parsed, name) == getattr(agent, name)


@pytest.mark.parametrize(("together", "accepted"), [(0, False), (1, True), (MOST_TOGETHER, True), (MOST_TOGETHER + 1, False)])
def test_a_cohort_has_a_size_that_a_record_can_hold(together: int, accepted: bool) -> None:
    """The limits belong to it."""
    message = GOOD | {"seeds_together": together}
    if accepted:
        assert Description.parse(message).seeds_together == together
    else:
        with pytest.raises(RemoteError, match=f"must be 1 to 1,000, got {together}"):
            Description.parse(message)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_attribute_is_named(name: str) -> None:
    """There is no default for it."""
    with pytest.raises(RemoteError, match=f"invalid description of the agent: '{name}'"):
        Description.parse({key: value for key, value in GOOD.items() if key != name})


@given(changes=st.dictionaries(st.sampled_from(sorted(GOOD)), ANYTHING, min_size=1))
def test_hostile_values_are_refused_or_bounded(changes: dict[str, Any]) -> None:
    """No other exception comes out, and neither a record nor a message gets long words of the agent."""
    try:
        description = Description.parse(GOOD | changes)
    except RemoteError as error:
        message = str(error)
    else:
        message = ""
        assert all(type(width) is int and width >= 1 for width in description.feature_dims)
        assert 1 <= description.seeds_together <= MOST_TOGETHER
        assert description.dtype is None or len(description.dtype) <= LONGEST_DTYPE
    assert len(message) <= LONGEST_QUOTE + 100


def test_a_long_word_is_cut() -> None:
    """In the message, where the agent chose it."""
    with pytest.raises(RemoteError) as error:
        Description.parse(GOOD | {"seeds_together": "x" * 10_000})
    assert len(str(error.value)) <= LONGEST_QUOTE + 100
