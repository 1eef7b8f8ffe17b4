"""The process of an agent: what it inherits, what its end leaves, and what its words may be."""

import os
import sys
import time
from pathlib import Path

import pytest

from grokbench.board.verification.environment import ARITHMETIC_VARIABLES
from grokbench.board.verification.process import LONGEST_ERROR, AgentProcess, Limits
from grokbench.errors import RemoteError

COMPLAIN = """
import os
from grokbench.board.verification.wire import send
with os.fdopen(1, "wb", buffering=0) as target:
    send(target, {"error": "\\x1b[31m\\n::error::" + "x" * 10_000})
"""


def started(folder: Path, *command: str, seconds: float = 60.0, memory: int = 64 << 30) -> AgentProcess:
    """A process in the folder."""
    return AgentProcess(command, folder, limits=Limits(seconds=seconds, memory=memory))


def test_the_environment_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the path, what changes arithmetic, the limits of threads and memory, and a home that doesn't exist."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    process = started(tmp_path, "sh", "-c", "env > environment", memory=12345)
    with pytest.raises(RemoteError, match="the agent's process ended"):
        process.ask({})
    lines = (tmp_path / "environment").read_text().splitlines()
    variables = dict(line.partition("=")[::2] for line in lines)
    assert {name: variables.get(name) for name in ("HOME", "OMP_NUM_THREADS", "GROKBENCH_MEMORY", "PATH")} == {
        "HOME": "/nonexistent", "OMP_NUM_THREADS": "1", "GROKBENCH_MEMORY": "12345", "PATH": os.environ["PATH"],
    }  # fmt: skip
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    shell = {"PWD", "SHLVL", "_", "OLDPWD"}
    assert set(variables) <= {*threads, *ARITHMETIC_VARIABLES, *shell, "HOME", "GROKBENCH_MEMORY", "PATH"}


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and waits for its parent doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_closing_kills_what_the_process_started(tmp_path: Path) -> None:
    """A child in the background would go on otherwise. A second time closes nothing and raises nothing."""
    process = started(tmp_path, "sh", "-c", "sleep 100 & echo $! > child.new; mv child.new child; cat > /dev/null")
    deadline = time.monotonic() + 30
    while not (tmp_path / "child").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    process.close()
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)
    process.close()


@pytest.mark.parametrize("command", [("true",), ("sh", "-c", "exec <&-; sleep 0.2")], ids=["ends", "closes its input"])
def test_a_process_that_stops_reading_has_ended(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A pipe without a reader is no other error, however large the message is."""
    process = started(tmp_path, *command)
    time.sleep(0.1)
    with pytest.raises(RemoteError, match="the agent's process ended"):
        process.ask({"text": "x" * 1_000_000})


def test_words_of_an_agent_are_short_and_printable(tmp_path: Path) -> None:
    """They go into a record and a terminal."""
    process = started(tmp_path, sys.executable, "-c", COMPLAIN)
    with pytest.raises(RemoteError) as error:
        process.ask({})
    process.close()
    assert str(error.value).isprintable()
    assert str(error.value).startswith(" [31m ::error::x")
    assert len(str(error.value)) == LONGEST_ERROR
