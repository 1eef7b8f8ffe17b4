"""An agent in a process of its own: observations go in over a pipe, answers and features come out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import override

from grokbench.agents.agent import Agent, Spec
from grokbench.agents.recipes import Recipe
from grokbench.board.verification.description import LONGEST_QUOTE, Description
from grokbench.board.verification.process import AgentProcess, Limits
from grokbench.errors import RemoteError
from grokbench.runs.schema import COUNTS_END

COSTS = {"parameters", "flops_per_step", "examples_per_step"}


@dataclass(frozen=True, kw_only=True)
class RemoteRecipe(Recipe):
    """A recipe whose agent runs in a process of its own.

    Attributes:
        command: the command that starts the process.
        folder: where it starts, with the entry's `agent.py` if there is one.
        limits: its time and memory.
        allowed_widths: the layer widths that the agent may show, each as a run of the entry has them. Empty: any.
    """

    command: tuple[str, ...]
    folder: Path
    limits: Limits = field(default_factory=Limits)
    allowed_widths: frozenset[tuple[int, ...]] = frozenset()

    @override
    def make(self) -> Agent:
        return RemoteAgent(self)


class RemoteAgent(Agent):
    """The agent at the other end of a pipe.

    Raises:
        RemoteError: here and in every method, when the process ended, took too long, sent nonsense or reported an error.
    """

    def __init__(self, recipe: RemoteRecipe) -> None:
        self._process = AgentProcess(recipe.command, recipe.folder, limits=recipe.limits)
        message = {"target": recipe.target, "hyperparameters": recipe.plain_hyperparameters}
        description = Description.parse(self._process.ask(message))
        self.feature_dims = description.feature_dims
        self.batched = description.batched
        self.seeds_together = description.seeds_together
        self.dtype = description.dtype
        if recipe.allowed_widths and self.feature_dims not in recipe.allowed_widths:
            shown = str(self.feature_dims)[:LONGEST_QUOTE]
            raise RemoteError(f"the agent shows layers of widths {shown}, which no run of the entry has")

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self._call("reset", observation, asdict(spec))

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        return dict(self._call("learn", steps) or {})

    @override
    def act(self) -> dict[str, Any]:
        return dict(self._call("act"))

    @override
    def keep(self, indices: Sequence[int]) -> None:
        self._call("keep", list(indices))

    @override
    def cost(self) -> dict[str, int]:
        cost = dict(self._call("cost"))
        if not all(name in COSTS and _is_count(value) for name, value in cost.items()):
            raise RemoteError(f"the agent reports costs that it can't have: {str(cost)[:LONGEST_QUOTE]}")
        return cost

    @override
    def state_dict(self) -> dict[str, Any]:
        return dict(self._call("state_dict"))

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._call("load_state_dict", state)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        answer = self._process.ask({"method": method, "arguments": list(arguments)})
        if "result" not in answer:
            raise RemoteError(f"the agent's process answered {method} without a result")
        return answer["result"]


def _is_count(value: Any) -> bool:
    """Whether a record can hold the number."""
    return type(value) is int and 0 <= value < COUNTS_END
