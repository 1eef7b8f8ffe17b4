"""Checkpoints: what goes in comes back, of whatever library and type; what is damaged is said to be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grokbench.agents import trees
from grokbench.errors import AgentError, CheckpointError
from grokbench.runs.store import read_checkpoint


def test_what_goes_in_comes_back() -> None:
    """Tensors as tensors, bfloat16 too, arrays as arrays, keys that aren't text, scalars; tuples as lists."""
    tree: dict[str, Any] = {
        "low": torch.arange(6, dtype=torch.bfloat16).view(2, 3).T,
        "state": {0: {"mean": torch.zeros(2)}, 1: np.arange(3)},
        "more": (None, True, 1, 0.5, "text", np.float32(2)),
    }
    found = trees.unpack(trees.pack(tree))
    assert found["low"].dtype == torch.bfloat16
    assert torch.equal(found["low"], tree["low"])
    assert torch.equal(found["state"][0]["mean"], torch.zeros(2))
    np.testing.assert_array_equal(found["state"][1], np.arange(3))
    assert found["more"] == [None, True, 1, 0.5, "text", 2.0]


def test_what_can_not_be_kept_is_named(tmp_path: Path) -> None:
    """With its place in the tree; a file that is no checkpoint is named too."""
    with pytest.raises(AgentError, match="holds a object at /a/1"):
        trees.pack({"a": [1, object()]})
    (tmp_path / "file").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="not a usable checkpoint"):
        read_checkpoint(tmp_path / "file")
