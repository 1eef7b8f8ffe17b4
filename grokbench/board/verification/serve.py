"""An agent in a process of its own: answers calls on its standard streams until they end."""

import os
from io import RawIOBase
from typing import Any

from grokbench.agents.agent import Spec
from grokbench.agents.recipes import Recipe
from grokbench.board.verification.wire import receive, send

MOST_PROCESSES = 4_096  # and threads, all of the user's that count together


ATTRIBUTES = ("feature_dims", "batched", "dtype", "seeds_together")


METHODS = ("reset", "learn", "act", "keep", "cost", "state_dict", "load_state_dict")


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
