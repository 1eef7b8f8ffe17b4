"""Functions that run side by side on threads."""

import numpy as np
import pytest
import torch

from baselines.training.threads import side_by_side
from tests.support.baselines import started


def test_shards_side_by_side_learn_what_they_learn_in_turn() -> None:
    """Two shards with a thread each end bit for bit where they end one after the other on one thread."""
    losses = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            agent = started("transformer", [0, 1], task="add_mod31-0.9")
            losses.append(agent.learn(60)["loss"])
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    np.testing.assert_array_equal(*losses)


def test_a_failure_side_by_side_is_raised() -> None:
    """An exception in a thread reaches the caller, and the number of threads is restored."""
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            side_by_side(lambda x: 1 // x, [1, 0, 1])
        assert torch.get_num_threads() == 2
        assert side_by_side(lambda x: -x, [3, 1, 2]) == [-3, -1, -2]
    finally:
        torch.set_num_threads(1)
