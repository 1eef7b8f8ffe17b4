"""The other end of an agent's process: it is started, asked, and killed."""

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any, cast

from grokbench.board.verification.environment import agent_environment
from grokbench.board.verification.wire import receive, send
from grokbench.errors import RemoteError

LONGEST_ERROR = 300  # characters of the agent's own words in a message
START_SECONDS = 600.0  # more than a slow disk needs for the largest libraries


@dataclass(frozen=True)
class Limits:
    """The limits of an agent's process.

    Attributes:
        seconds: the wall-clock time that all of its work may take, after it has started.
        memory: bytes of address space. torch reserves much more than it uses.
        threads: the threads that it computes on.
        start_seconds: the wall-clock time until its first answer: it starts Python and imports what the agent needs.
    """

    seconds: float = 3_600.0
    memory: int = 64 << 30
    threads: int = 1
    start_seconds: float = START_SECONDS


class AgentProcess:
    """A process that runs `serve`, and the pipe to it.

    Args:
        command: the command that starts it.
        folder: where it starts, with the entry's `agent.py` if there is one.
        limits: its time and memory. The time of its work begins with its first answer, so starting it is no part of that.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, limits: Limits) -> None:
        self._seconds: float | None = limits.seconds  # of its work; None once it has begun
        self._deadline = time.monotonic() + limits.start_seconds
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=agent_environment(threads=limits.threads, memory=limits.memory),
            start_new_session=True,
            bufsize=0,
        )
        self._stdin, self._stdout = cast(RawIOBase, self._process.stdin), cast(RawIOBase, self._process.stdout)
        os.set_blocking(self._stdin.fileno(), False)  # so that a process that never reads runs into the deadline too

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message.

        Raises:
            RemoteError: the process ended, took too long, sent nonsense or reported an error.
        """
        try:
            send(self._stdin, message, deadline=self._deadline)
            answer = receive(self._stdout, deadline=self._deadline)
        except BrokenPipeError:
            answer = None
        except RemoteError:
            self.close()
            raise
        if answer is None:
            self.close()
            raise RemoteError("the agent's process ended")
        if self._seconds is not None:
            self._deadline, self._seconds = time.monotonic() + self._seconds, None
        if "error" in answer:
            raise RemoteError("".join(c if c.isprintable() else " " for c in str(answer["error"])[:LONGEST_ERROR]))
        return answer

    def close(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
