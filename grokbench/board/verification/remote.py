"""An agent in a process of its own: observations go in over a pipe, answers and features come out. Never a pickle.

`serve.py` serves one agent on its standard streams; `RemoteAgent` is that agent to the runner.
"""

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import override

from grokbench.agents.agent import Agent, Spec, checked_feature_dims
from grokbench.agents.recipes import Recipe
from grokbench.board.verification.wire import receive, send
from grokbench.errors import RemoteError
from grokbench.runs.records import MOST_TOGETHER


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
