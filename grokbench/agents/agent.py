"""What an agent is, and what it is told about its run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Action = dict[str, Any]
Observation = dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """What an agent is told about its run beside the observation; neither the task's name nor the instance's seed.

    Attributes:
        num_symbols: the number q of symbols; a target of q is blank.
        num_questions: the number N of questions.
        budget: the steps within which to generalize.
        feature_dims: the layer widths that the exam expects, side by side in `features`.
        device: where to compute, `cpu` or `cuda`.
        seeds: the agent's own random seeds, one for each member of the batch.
    """

    num_symbols: int
    num_questions: int
    budget: int
    feature_dims: tuple[int, ...]
    device: str
    seeds: tuple[int, ...]

    @property
    def seed(self) -> int:
        """The random seed of an agent that isn't batched."""
        return self.seeds[0]


class Agent(Protocol):
    """What learns. It never sees a held-out answer.

    Optional: `feature_dims` (default (128,)), the layer widths that it shows; `batched = True`, which puts a leading axis S on
    all arrays of observation, report and action and asks for `keep(indices)`, after which only those members go on, and
    `seeds_together`, the most members of a batch; `dtype`, which the record states; `cost()`, which gives `parameters`,
    `flops_per_step` and `examples_per_step` per member; `together(agents)`, which makes one agent of a batch whose members
    follow different agents.
    """

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Start anew on this table: `inputs` (N, 2), `targets` (N,) with q for blank, `steps_to_next_exam`."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Take exactly that many steps; may report the training `loss`, and by any name numbers to watch, one per layer."""

    def act(self) -> dict[str, Any]:
        """Fill in the table: `answers` (N,), and show the `features` (N, Σd)."""

    def state_dict(self) -> dict[str, Any]:
        """A tree of arrays and JSON scalars, random state included: a killed run resumes where it was."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, tensors now on the CPU and tuples now lists; called after `reset`."""


def checked_feature_dims(dims: Sequence[int]) -> tuple[int, ...]:
    """`dims` as a tuple of layer widths, the last being the layer that feeds the output.

    Raises:
        ValueError: there is none, or one isn't a positive whole number.
    """
    try:
        widths = tuple(int(d) for d in dims)
    except (TypeError, ValueError):
        widths = ()
    if not widths or any(d < 1 for d in widths) or widths != tuple(dims):
        raise ValueError(f"feature_dims are the widths of the layers shown, such as (128,), got {dims!r}")
    return widths
