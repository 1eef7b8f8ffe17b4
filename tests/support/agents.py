"""Small agents for tests: an oracle that knows a rule, one that raises, one that answers nonsense."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from grokbench.agents import Agent, Spec
from grokbench.tasks import Instance


def spec_of(instances: Sequence[Instance], feature_dims: tuple[int, ...] = (128,), *, batched: bool = True) -> Spec:
    """The spec of a cohort on these instances of one task."""
    task = instances[0].task
    return Spec(
        num_symbols=task.num_symbols,
        num_questions=task.num_questions,
        budget=task.budget,
        feature_dims=feature_dims,
        device="cpu",
        seeds=tuple(instance.agent_seed for instance in instances),
        batched=batched,
    )


class AddingAgent(Agent):
    """Knows nothing until `after` steps, then fills in what it was shown; its features are drawn from its seed."""

    feature_dims = (4,)

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Remember the table."""
        self.table, self.spec, self.steps = observation, spec, 0
        self.random = np.random.default_rng(spec.seed)

    def learn(self, steps: int) -> dict[str, Any]:
        """Count."""
        self.steps += steps
        return {"loss": 1.0 / self.steps}

    def act(self) -> dict[str, Any]:
        """Copy the training answers, guess the others."""
        targets = self.table["targets"]
        guesses = self.random.integers(self.spec.num_symbols, size=self.spec.num_questions)
        features = self.random.normal(size=(self.spec.num_questions, 4)).astype(np.float32)
        return {"answers": np.where(targets == self.spec.num_symbols, guesses, targets), "features": features}

    def state_dict(self) -> dict[str, Any]:
        """The clock and the generator."""
        return {"steps": self.steps, "random": dict(self.random.bit_generator.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.steps = state["steps"]
        self.random.bit_generator.state = state["random"]


class ReportingAgent(AddingAgent):
    """Reports what it is told to."""

    def __init__(self, report: Any) -> None:
        self.report = report

    def learn(self, steps: int) -> dict[str, Any]:
        """Report."""
        return super().learn(steps) | {"told": self.report}


class RaisingAgent(AddingAgent):
    """Breaks after fifty steps."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Raise once the clock has passed fifty."""
        report = super().learn(steps)
        if self.steps > 50:
            raise RuntimeError("it broke")
        return report


class NonsenseAgent(AddingAgent):
    """Answers in another shape."""

    def act(self) -> dict[str, Any]:
        """Too few answers."""
        action = super().act()
        return {"answers": action["answers"][:-1], "features": action["features"]}


class ForgetfulAgent(AddingAgent):
    """Can't go on from its own checkpoints."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Miss a key."""
        raise KeyError("weights")


class DivergingAgent(AddingAgent):
    """Its features stop being numbers after fifty steps."""

    def act(self) -> dict[str, Any]:
        """NaN features."""
        action = super().act()
        if self.steps > 50:
            action["features"][:] = np.nan
        return action
