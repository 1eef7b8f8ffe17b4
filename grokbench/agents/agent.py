"""The agent interface: what learns, and what it is told about its run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from grokbench.errors import ActionError, AgentError

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

Action = dict[str, Any]
Observation = dict[str, Any]

DEFAULT_FEATURE_DIMS = (128,)
MOST_TOGETHER = 1_000  # runs of one cohort


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What an agent is told beside the observation. It names neither task, seed nor budget, and is the same for any budget.

    Attributes:
        num_symbols: the number q of possible answers; a target of q is blank.
        num_questions: the number N of questions.
        feature_dims: the widths of the layers that the agent shows; they lie side by side in `features`.
        device: where to compute, `cpu` or `cuda`.
        seeds: the agent's own random seeds, one for each member of the cohort.
        batched: whether every array has a leading axis S, one row for each member. Only agents with `batched = True` see this.
        logits: whether `act` should show its logits too, for the losses in the record.
    """

    num_symbols: int
    num_questions: int
    feature_dims: tuple[int, ...]
    device: str
    seeds: tuple[int, ...]
    batched: bool = False
    logits: bool = False

    @property
    def seed(self) -> int:
        """The first member's random seed: the only seed of an agent that isn't batched."""
        return self.seeds[0]

    @staticmethod
    def of(env: "Env[Any, Any] | VectorEnv[Any, Any, Any]", *, device: str = "cpu") -> "Spec":
        """The spec of an environment that was made by `grokbench.make` or `grokbench.make_vec` and has been reset.

        A vector environment gives `batched=True`.

        Raises:
            AgentError: another package made the environment, or grokbench with `vectorization_mode="sync"` or "async".
            gymnasium.error.ResetNeeded: the environment hasn't been reset.
        """
        inner: Any = env.unwrapped
        if not hasattr(type(inner), "observe"):
            raise AgentError(f"expected an environment of grokbench.make or grokbench.make_vec, got {type(inner).__name__}")
        batched = hasattr(inner, "instances")
        instances = inner.instances if batched else [inner.instance]
        return Spec(
            num_symbols=inner.task.num_symbols,
            num_questions=inner.task.num_questions,
            feature_dims=inner.feature_dims,
            device=device,
            seeds=tuple(instance.agent_seed for instance in instances),
            batched=batched,
            logits=inner.logits,
        )


class Agent(ABC):
    """Base class of everything that learns. An agent never sees a held-out answer.

    An agent is written for one instance, and the runner loops over seeds. With `batched = True` it trains S members at once:
    every array of observation, report and action then has a leading axis S.

    Attributes:
        feature_dims: the widths of the layers that it shows, the layer that feeds the output last.
        batched: whether it can train several members at once; it then implements `keep`.
        seeds_together: the most members of a cohort, if it is batched.
        dtype: the number format that it computes in, which the record states.
        captured: whether its steps are replays of a CUDA graph, which the record states; None on a CPU.
    """

    feature_dims: tuple[int, ...] = DEFAULT_FEATURE_DIMS
    batched: bool = False
    seeds_together: int = 10
    dtype: str | None = None
    captured: bool | None = None

    @abstractmethod
    def reset(self, observation: Observation, spec: Spec) -> None:
        """Start anew on this table.

        Args:
            observation: `inputs` (N, 2), pairs of symbols, or (N, 784), images; `targets` (N,), answers, with q for a blank.
            spec: sizes, device and random seeds.
        """

    @abstractmethod
    def learn(self, steps: int) -> dict[str, Any] | None:
        """Take exactly `steps` steps.

        Returns:
            What the record keeps of them, or None: the training `loss`, and other numbers by any name, one per layer.
        """

    @abstractmethod
    def act(self) -> Action:
        """Fill in the table: `answers` (N,) whole numbers below q, and show the `features` (N, Σ feature_dims).

        With `spec.logits`, also show `logits` (N, q), whose largest value of each row is the answer.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, random state included, as a tree of what `grokbench.agents.trees.pack` takes.

        A killed run continues from it. The run fails at its start where the tree holds anything else.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned. Called after `reset`; tensors are on the CPU."""

    def keep(self, indices: Sequence[int]) -> None:
        """Continue with these members alone, because the others have ended. Batched agents override it."""
        raise AgentError(f"{type(self).__name__} is batched, so it needs keep(indices): drop all members but these")

    def cost(self) -> dict[str, int]:
        """What one member costs: any of `parameters`, `flops_per_step`, `examples_per_step`. Called after `reset`."""
        return {}

    @classmethod
    def join(cls, agents: "Sequence[Agent]") -> Self:
        """One agent for a cohort whose members follow `agents`, each with its own hyperparameters.

        Raises:
            AgentError: agents of this class, or with these differences, don't train together.
        """
        raise AgentError(f"agents of {cls.__name__} don't train together: run each recipe by itself")

    def start(self, env: "Env[Any, Any] | VectorEnv[Any, Any, Any]", *, device: str = "cpu") -> None:
        """Reset the agent on an environment of grokbench that has been reset, to drive it by hand.

        Raises:
            AgentError: the agent isn't batched, and the environment is a vector of several. Or the environment was made for
                layers of other widths, or isn't grokbench's.
            gymnasium.error.ResetNeeded: the environment hasn't been reset.
        """
        spec = Spec.of(env, device=device)
        if spec.batched and not self.batched:
            raise AgentError(f"{type(self).__name__} isn't batched: give it an environment of grokbench.make, not of make_vec")
        if tuple(self.feature_dims) != spec.feature_dims:
            shown = f"{type(self).__name__} shows layers of widths {tuple(self.feature_dims)}"
            raise AgentError(f"{shown}, the environment expects {spec.feature_dims}: make it with feature_dims=…")
        inner: Any = env.unwrapped
        self.reset(inner.observe(), spec)


def check_agent(agent: Agent) -> None:
    """Raise AgentError or ActionError unless the attributes of an agent are as `Agent` describes them."""
    checked_feature_dims(agent.feature_dims)
    expected: dict[str, tuple[Any, str]] = {
        "batched": (isinstance(agent.batched, bool), "True or False"),
        "seeds_together": (_is_count(agent.seeds_together), f"a whole number from 1 to {MOST_TOGETHER:,}"),
        "dtype": (agent.dtype is None or isinstance(agent.dtype, str), "text such as 'float32', or None"),
        "captured": (agent.captured is None or isinstance(agent.captured, bool), "True, False or None"),
    }
    for name, (holds, what) in expected.items():
        if not holds:
            raise AgentError(f"{name} of {type(agent).__name__} must be {what}, got {getattr(agent, name)!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_TOGETHER


def checked_feature_dims(dims: Sequence[int]) -> tuple[int, ...]:
    """`dims` as a tuple of layer widths, the layer that feeds the output last.

    Raises:
        ActionError: there is none, or a width isn't a positive whole number.
    """
    try:
        widths = tuple(int(d) for d in dims)
    except (TypeError, ValueError, OverflowError):
        widths = ()
    if not widths or any(d < 1 for d in widths) or widths != tuple(dims):
        raise ActionError(f"feature_dims are the widths of the layers shown, such as (128,), got {dims!r}")
    return widths
