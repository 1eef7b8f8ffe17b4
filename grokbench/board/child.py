"""An agent in a process of its own: observations go in over a pipe, answers and features come out. Never a pickle.

`python -m grokbench.board.child` serves one agent on its standard streams; `RemoteAgent` is that agent to the runner.
"""

import contextlib
import os
import select
import struct
import subprocess
import time
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Any

from typing_extensions import override

from grokbench.agents import Agent, Recipe, Spec
from grokbench.exams import checked_feature_dims
from grokbench.runs import checkpoints
from grokbench.runs.records import MOST_TOGETHER

LARGEST_MESSAGE = 1 << 30  # bytes
MOST_PROCESSES = 4_096  # and threads, all of the user's that count together
TOO_LONG = "it took longer than it may"
ATTRIBUTES = ("feature_dims", "batched", "dtype", "seeds_together")
METHODS = ("reset", "learn", "act", "keep", "cost", "state_dict", "load_state_dict")


class RemoteError(RuntimeError):
    """The child's agent failed, took too long, or sent nonsense."""


def send(stream: RawIOBase, tree: dict[str, Any], deadline: float | None = None) -> None:
    """Write a tree of arrays and JSON scalars, its length before it.

    Raises:
        RemoteError: nobody has read it by the deadline (`time.monotonic`); `stream` mustn't block then.
    """
    data = checkpoints.pack(tree)
    rest = memoryview(struct.pack("<Q", len(data)) + data)
    while rest:
        if deadline is not None and not select.select([], [stream], [], max(0.0, deadline - time.monotonic()))[1]:
            raise RemoteError(TOO_LONG)
        rest = rest[os.write(stream.fileno(), rest) :]


def receive(stream: RawIOBase, deadline: float | None = None) -> dict[str, Any] | None:
    """The next tree, or None at the stream's end.

    Raises:
        RemoteError: it isn't one, or isn't there by the deadline (`time.monotonic`).
    """
    head = _read(stream, 8, deadline)
    if not head:
        return None
    (length,) = struct.unpack("<Q", head)
    if length > LARGEST_MESSAGE:
        raise RemoteError(f"a message of {length:,} bytes, more than {LARGEST_MESSAGE:,}")
    try:
        return checkpoints.unpack(_read(stream, length, deadline))
    except ValueError as error:
        raise RemoteError(f"a message that can't be read ({error})") from None


def _read(stream: RawIOBase, count: int, deadline: float | None) -> bytes:
    """Exactly `count` bytes, or none at the stream's end."""
    data = bytearray()
    while len(data) < count:
        if deadline is not None and not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise RemoteError(TOO_LONG)
        chunk = os.read(stream.fileno(), min(count - len(data), 1 << 20))
        if not chunk:
            if data:
                raise RemoteError("it ended in the middle of a message")
            return b""
        data += chunk
    return bytes(data)


@dataclass(frozen=True)
class RemoteRecipe(Recipe):
    """A recipe whose agent runs in a child process.

    Attributes:
        command: what starts the child.
        folder: where it starts, with `agent.py` if the entry has one.
        limits: seconds that all of it may take, and bytes of memory.
        widths: the layer widths that it may show, each as its claimed runs showed it; empty: any.
    """

    command: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path)
    limits: tuple[float, int] = (3_600.0, 64 << 30)
    widths: frozenset[tuple[int, ...]] = frozenset()

    @override
    def make(self) -> Agent:
        return RemoteAgent(self)


def _environment(memory: int) -> dict[str, str]:
    """All that the child is told: nothing secret, and the threads that the record will name."""
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "GROKBENCH_MEMORY": str(memory)}


class RemoteAgent(Agent):
    """The agent at the other end of a pipe."""

    def __init__(self, recipe: RemoteRecipe) -> None:
        seconds, memory = recipe.limits
        self._deadline = time.monotonic() + seconds
        self._process = subprocess.Popen(
            recipe.command,
            cwd=recipe.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(memory),
            start_new_session=True,
            bufsize=0,
        )
        # A child that never reads is waited for no longer than one that never answers.
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        found = self._ask({"target": recipe.target, "hyperparameters": recipe.hyperparameters})
        try:
            self.feature_dims = checked_feature_dims(found.get("feature_dims", (128,)))
            self.seeds_together = int(found.get("seeds_together", 10))
            self._methods = list(found["methods"])
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(f"it says of itself what can't be ({str(error)[:200]})") from None
        if not 1 <= self.seeds_together <= MOST_TOGETHER:
            raise RemoteError(f"it takes {self.seeds_together} seeds together, which must be from 1 to {MOST_TOGETHER:,}")
        if recipe.widths and self.feature_dims not in recipe.widths:
            raise RemoteError(f"it shows layers of widths {str(self.feature_dims)[:200]}, other ones than in its claimed runs")
        self.batched = bool(found.get("batched", False))
        self.dtype = str(found["dtype"])[:20] if found.get("dtype") else None

    def __getattr__(self, name: str) -> Any:
        """`keep` and `cost`, where the agent has them."""
        if name in ("keep", "cost") and name in self.__dict__.get("_methods", ()):
            return lambda *arguments: self._call(name, *arguments)
        raise AttributeError(name)

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self._call("reset", observation, {**spec.__dict__})

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        return dict(self._call("learn", steps) or {})

    @override
    def act(self) -> dict[str, Any]:
        return dict(self._call("act"))

    @override
    def state_dict(self) -> dict[str, Any]:
        return dict(self._call("state_dict"))

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._call("load_state_dict", state)

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._ask({"method": name, "arguments": list(arguments)})["result"]

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            send(self._process.stdin, message, self._deadline)  # type: ignore[arg-type]
            answer = receive(self._process.stdout, self._deadline)  # type: ignore[arg-type]
        except BrokenPipeError:
            answer = None
        except RemoteError:
            self.close()
            raise
        if answer is None:
            self.close()
            raise RemoteError("the agent's process ended")
        if "error" in answer:
            raise RemoteError("".join(c if c.isprintable() else " " for c in str(answer["error"])[:300]))
        return answer

    def close(self) -> None:
        """End the child and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()


def serve(source: RawIOBase, target: RawIOBase) -> None:
    """Answer calls until the stream ends."""
    agent: Any = None
    answer: dict[str, Any]
    while (message := receive(source)) is not None:
        try:
            if agent is None:
                agent = Recipe("entry", message["target"], message["hyperparameters"]).make()
                answer = {name: getattr(agent, name) for name in ATTRIBUTES if hasattr(agent, name)}
                answer["methods"] = [name for name in METHODS if hasattr(agent, name)]
            else:
                arguments = message["arguments"]
                if message["method"] == "reset":
                    arguments[1] = _spec(arguments[1])
                answer = {"result": getattr(agent, message["method"])(*arguments)}
            send(target, answer)
        except Exception as error:
            send(target, {"error": f"{type(error).__name__}: {error}"})


def _spec(content: dict[str, Any]) -> Spec:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return Spec(**values)


def _limit() -> None:
    import resource

    memory = int(os.environ.pop("GROKBENCH_MEMORY", "0"))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES if most < 0 else min(MOST_PROCESSES, most),) * 2)


def main() -> None:
    """Serve on the standard streams; what the agent prints goes to standard error."""
    _limit()
    source, target = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(source, target)


if __name__ == "__main__":
    main()
