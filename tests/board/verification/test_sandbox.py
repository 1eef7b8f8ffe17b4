"""The sandbox: a process in it reaches nothing that the parent can reach, and can't exhaust the machine."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from grokbench.board.verification.isolation import SERVE
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import container_command, sandboxed_command
from grokbench.errors import RemoteError, VerificationError
from tests.support.hostile import write_hostile_agents

WHICH = "grokbench.board.verification.sandbox.shutil.which"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that the agent may see."""
    (tmp_path / "agent").mkdir()
    return tmp_path / "agent"


def spy(command: tuple[str, ...], folder: Path) -> RemoteRecipe:
    """An agent that tries what it must not be able to do."""
    return RemoteRecipe(name="entry", target="agent:Spy", command=command, folder=folder)


@pytest.mark.parametrize("tool", ["bwrap", "unshare"])
def test_an_agent_reaches_nothing_of_the_parents(home: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, file, process, secret or privilege, whichever tool makes the sandbox. Without it, it does."""
    find = shutil.which
    monkeypatch.setattr(WHICH, lambda name: find(name) if name == tool else None)
    command = sandboxed_command(SERVE, home)
    if command is None:
        pytest.skip(f"{tool} makes no sandbox here")
    (home.parent / "secret").write_text("")
    monkeypatch.setenv("TOKEN", "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        write_hostile_agents(home, PORT=port, SECRET=home.parent / "secret", FOLDER=home.parent, PARENT=os.getpid())
        with pytest.raises(RemoteError, match="the network is there"):
            spy(SERVE, home).make().learn(1)
        assert spy(tuple(command), home).make().learn(1) == {}


def test_processes_are_limited(home: Path) -> None:
    """Root's too, which the kernel itself doesn't count."""
    limit = "import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (5, 5))"
    command = sandboxed_command([sys.executable, "-c", f"{limit}; [os.fork() or os._exit(0) for _ in range(30)]"], home)
    if command is None or command[0] != "bwrap":
        pytest.skip("no bubblewrap here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Resource temporarily unavailable" in done.stderr


def test_without_a_working_tool_there_is_no_sandbox(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides; nothing runs unprotected by accident."""
    monkeypatch.setattr(WHICH, lambda name: None)
    assert sandboxed_command(SERVE, home) is None


def test_a_container_has_no_network_and_ends_in_time(home: Path) -> None:
    """The options and the image are in docker's order, and the agent's folder is read-only."""
    command = container_command("image", home, seconds=90.0)
    assert command[:2] == ["docker", "run"]
    image = command.index("image")
    assert command[command.index("--network") :][:2] == ["--network", "none"]
    assert f"--volume={home}:/agent:ro" in command[:image]
    assert command[image + 1 :][:3] == ["timeout", "90", "python"]


@pytest.mark.parametrize("image", ["--privileged", "-v/:/host", "a b", "", "$(id)"])
def test_an_image_is_never_an_option(home: Path, image: str) -> None:
    """Docker would take a name that starts with a hyphen for one."""
    with pytest.raises(VerificationError, match="a container image has letters"):
        container_command(image, home, seconds=90.0)
