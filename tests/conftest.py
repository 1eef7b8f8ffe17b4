"""Two test workers on two cores: each computes on one thread, and starts no process unless a test asks for it."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokbench.runs.engine.available_cores", lambda: 1)
