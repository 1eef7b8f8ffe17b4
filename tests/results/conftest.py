"""Fixture: a made-up reference in place of the shipped one."""

import pytest

from grokbench.results import scoring
from grokbench.results.scoring import Reference
from tests.support.reference import made_up_reference


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Reference:
    """The made-up reference, which scores compare with during the test."""
    pinned = made_up_reference()
    monkeypatch.setattr(scoring, "reference", lambda: pinned)
    return pinned
