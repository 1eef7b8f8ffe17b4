"""The choice of isolation, and its trial before an entry's agent runs."""

from pathlib import Path

import pytest

from grokbench.board.verification.isolation import SERVE, Isolation
from grokbench.errors import VerificationError

SANDBOX = "grokbench.board.verification.isolation.sandboxed_command"


def test_a_container_goes_before_a_sandbox(tmp_path: Path) -> None:
    """It computes with versions of its own, so nothing must repeat to the bit."""
    isolation = Isolation.choose(tmp_path, image="image", seconds=60)
    assert isolation.command[0] == "docker"
    assert isolation.sandboxed
    assert not isolation.same_machine


def test_a_sandbox_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default."""
    monkeypatch.setattr(SANDBOX, lambda command, home: ["box", *command])
    assert Isolation.choose(tmp_path) == Isolation(("box", *SERVE), sandboxed=True, same_machine=True)


def test_no_sandbox_only_if_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none is an error with a remedy."""
    monkeypatch.setattr(SANDBOX, lambda command, home: None)
    with pytest.raises(VerificationError, match="install bubblewrap, or allow user namespaces, or pass --no-sandbox"):
        Isolation.choose(tmp_path)
    assert Isolation.choose(tmp_path, sandboxed=False) == Isolation(SERVE, sandboxed=False, same_machine=True)


def test_the_trial_makes_a_baseline(tmp_path: Path) -> None:
    """A process that can't serve one isn't the entry's fault."""
    Isolation.choose(tmp_path, sandboxed=False).try_baseline(tmp_path)
    broken = Isolation(("false",), sandboxed=True, same_machine=True)
    with pytest.raises(VerificationError, match="false … can't serve a baseline here"):
        broken.try_baseline(tmp_path)
