"""The process of an agent: it makes one agent and answers calls on its standard streams until they end.

A message of `imports` asks which modules are `missing` here. One with the recipe's `target` and `hyperparameters` makes the
agent, and the answer describes it. Every further message has a `method` and its `arguments`; the answer has the `result`, or
the `error`.
"""

import contextlib
import ctypes
import importlib
import os
import resource
import signal
from io import RawIOBase
from typing import Any

from grokbench.agents.agent import Agent, Spec
from grokbench.agents.recipes import Recipe
from grokbench.board.verification.description import Description
from grokbench.board.verification.environment import MEMORY_VARIABLE
from grokbench.board.verification.wire import receive, send
from grokbench.runs.cores import THREAD_VARIABLES, computing_threads
from grokbench.runs.surroundings import known_surroundings, seed_generators

MODULE = "grokbench.board.verification.serve"
PR_SET_PDEATHSIG = 1  # of prctl(2)
MOST_PROCESSES = 4_096  # and threads, together with all others of the same user


def serve(source: RawIOBase, target: RawIOBase) -> None:
    """Answer the messages of `source` on `target` until `source` ends."""
    agent: Agent | None = None
    while (message := receive(source)) is not None:
        try:
            if "imports" in message:
                answer = {"missing": [name for name in message["imports"] if not _is_importable(name)]}
            elif agent is None:
                agent = Recipe("entry", message["target"], message["hyperparameters"]).make()
                answer = Description.of(agent).message()
            else:
                answer = {"result": _call(agent, message["method"], message["arguments"])}
            send(target, answer)
        except Exception as error:
            send(target, {"error": f"{type(error).__name__}: {error}"})


def _is_importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except Exception:
        return False
    return True


def _call(agent: Agent, method: str, arguments: list[Any]) -> Any:
    if method == "reset":
        observation, content = arguments
        spec = _spec(content)
        seed_generators(spec.seed)  # as the run loop does
        return agent.reset(observation, spec)
    return getattr(agent, method)(*arguments)


def _spec(content: dict[str, Any]) -> Spec:
    """The spec, whose tuples have become lists on their way."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return Spec(**values)


def _limit_resources() -> None:
    memory = int(os.environ.pop(MEMORY_VARIABLE, "0"))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, allowed = resource.getrlimit(resource.RLIMIT_NPROC)
    processes = MOST_PROCESSES if allowed == resource.RLIM_INFINITY else min(MOST_PROCESSES, allowed)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _die_with_parent() -> None:
    """Have the system kill this process when its parent is killed, in the middle of a step too. Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve on the standard streams. The agent reads nothing from them, and what it prints goes to standard error."""
    _die_with_parent()
    _limit_resources()
    source, target = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threads = int(os.environ.get(THREAD_VARIABLES[0], "1"))
    with computing_threads(threads), known_surroundings():  # as in the process that writes the records
        serve(source, target)


if __name__ == "__main__":
    main()
