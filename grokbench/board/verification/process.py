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

from grokbench.board.verification.serve import MEMORY_VARIABLE
from grokbench.board.verification.wire import receive, send
from grokbench.errors import RemoteError
from grokbench.runs.cores import THREAD_VARIABLES

LONGEST_ERROR = 300  # characters of the agent's own words in a message


@dataclass(frozen=True)
class Limits:
    """The limits of an agent's process.

    Attributes:
        seconds: the wall-clock time that all of its work may take.
        memory: bytes of address space. torch reserves much more than it uses.
        threads: the threads that it computes on.
    """

    seconds: float = 3_600.0
    memory: int = 64 << 30
    threads: int = 1


class AgentProcess:
    """A process that runs `serve`, and the pipe to it.

    Args:
        command: the command that starts it.
        folder: where it starts, with the entry's `agent.py` if there is one.
        limits: its time, from now on, and memory.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, limits: Limits) -> None:
        self._deadline = time.monotonic() + limits.seconds
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(limits),
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


def _environment(limits: Limits) -> dict[str, str]:
    """The environment of the process, without anything secret."""
    path = {"PATH": os.environ["PATH"]} if "PATH" in os.environ else {}
    threads = dict.fromkeys(THREAD_VARIABLES, str(limits.threads))
    return {**path, **threads, "HOME": "/nonexistent", MEMORY_VARIABLE: str(limits.memory)}
