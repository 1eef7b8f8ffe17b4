"""The description of an agent: the attributes that its process sends first, in one place for both ends of the pipe."""

from dataclasses import asdict, dataclass
from typing import Any

from grokbench.agents.agent import MOST_TOGETHER, Agent, checked_feature_dims
from grokbench.errors import RemoteError

LONGEST_DTYPE = 20  # characters
LONGEST_QUOTE = 200  # characters of the agent's own words in a message


@dataclass(frozen=True, kw_only=True)
class Description:
    """The attributes of an agent that the runner reads, as `Agent` documents them."""

    feature_dims: tuple[int, ...]
    batched: bool
    seeds_together: int
    dtype: str | None

    @classmethod
    def of(cls, agent: Agent) -> "Description":
        """The description of an agent in this process."""
        return cls(
            feature_dims=tuple(agent.feature_dims),
            batched=agent.batched,
            seeds_together=agent.seeds_together,
            dtype=agent.dtype,
        )

    def message(self) -> dict[str, Any]:
        """The description as a message."""
        return asdict(self)

    @classmethod
    def parse(cls, message: dict[str, Any]) -> "Description":
        """The description in a message from an agent's process, which is hostile data.

        Raises:
            RemoteError: an attribute is missing or has a value that no agent can have.
        """
        try:
            description = cls(
                feature_dims=checked_feature_dims(message["feature_dims"]),
                batched=bool(message["batched"]),
                seeds_together=int(message["seeds_together"]),
                dtype=None if message["dtype"] is None else str(message["dtype"])[:LONGEST_DTYPE],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RemoteError(f"invalid description of the agent: {str(error)[:LONGEST_QUOTE]}") from None
        if not 1 <= description.seeds_together <= MOST_TOGETHER:
            together = description.seeds_together
            raise RemoteError(
                f"invalid description of the agent: seeds_together must be 1 to {MOST_TOGETHER:,}, got {together}"
            )
        return description
