"""Small agents for tests: an oracle that knows a rule, one that raises, one that answers nonsense."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any, ClassVar

import numpy as np

from grokbench.agents import Agent, Spec
from grokbench.tasks import Instance


def spec_of(
    instances: Sequence[Instance], feature_dims: tuple[int, ...] = (128,), *, batched: bool = True, device: str = "cpu"
) -> Spec:
    """The spec of a cohort on these instances of one task."""
    task = instances[0].task
    return Spec(
        num_symbols=task.num_symbols,
        num_questions=task.num_questions,
        feature_dims=feature_dims,
        device=device,
        seeds=tuple(instance.agent_seed for instance in instances),
        batched=batched,
    )


class AddingAgent(Agent):
    """Copies the training answers and guesses the others. Its features are drawn from its seed."""

    feature_dims = (4,)

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Keep the table and the spec, and seed the generator."""
        self.table, self.spec, self.steps = observation, spec, 0
        self.random = np.random.default_rng(spec.seed)

    def learn(self, steps: int) -> dict[str, Any]:
        """Count the steps."""
        self.steps += steps
        return {"loss": 1.0 / self.steps}

    def act(self) -> dict[str, Any]:
        """Copy the training answers, guess the others."""
        targets = self.table["targets"]
        guesses = self.random.integers(self.spec.num_symbols, size=self.spec.num_questions)
        features = self.random.normal(size=(self.spec.num_questions, 4)).astype(np.float32)
        return {"answers": np.where(targets == self.spec.num_symbols, guesses, targets), "features": features}

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the generator's state."""
        return {"steps": self.steps, "random": dict(self.random.bit_generator.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        self.steps = state["steps"]
        self.random.bit_generator.state = state["random"]


class ReportingAgent(AddingAgent):
    """Reports a value that its recipe sets."""

    def __init__(self, report: Any) -> None:
        self.report = report

    def learn(self, steps: int) -> dict[str, Any]:
        """The report with the value as `told`."""
        return super().learn(steps) | {"told": self.report}


class RaisingAgent(AddingAgent):
    """Breaks after fifty steps."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Raise once the clock has passed fifty."""
        report = super().learn(steps)
        if self.steps > 50:
            raise RuntimeError("it broke")
        return report


class ExitingAgent(AddingAgent):
    """Ends its process, with a reason that UTF-8 can't encode."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Exit."""
        raise SystemExit("caf\udce9")


class NumberingAgent(AddingAgent):
    """Reports a number under a number."""

    def learn(self, steps: int) -> dict[Any, Any]:
        """A key that no record can hold."""
        return {0: 0.5}


class PricelessAgent(AddingAgent):
    """States costs that are no number."""

    def cost(self) -> dict[str, int]:
        """A truth value, which Python takes for a number."""
        return {"parameters": True}


class NonsenseAgent(AddingAgent):
    """Answers in a wrong shape."""

    def act(self) -> dict[str, Any]:
        """One answer too few."""
        action = super().act()
        return {"answers": action["answers"][:-1], "features": action["features"]}


class ForgetfulAgent(AddingAgent):
    """Can't load its own checkpoints."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise as if a key were missing."""
        raise KeyError("weights")


class DivergingAgent(AddingAgent):
    """Its features stop being numbers after fifty steps."""

    def act(self) -> dict[str, Any]:
        """The action, with NaN for features after fifty steps."""
        action = super().act()
        if self.steps > 50:
            action["features"][:] = np.nan
        return action


class RecordingAgent(AddingAgent):
    """Keeps everything that it receives. From step `passes_from` on it adds modulo q, so that every answer is right.

    Attributes:
        calls: every call in order: the method's name and what it was given.
    """

    calls: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, passes_from: int | None = None) -> None:
        self.passes_from = passes_from

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Keep the observation and the spec."""
        super().reset(observation, spec)
        self.calls.append(("reset", {name: np.asarray(value).tolist() for name, value in observation.items()}, spec))

    def learn(self, steps: int) -> dict[str, Any]:
        """Keep the number of steps."""
        self.calls.append(("learn", steps))
        return super().learn(steps)

    def act(self) -> dict[str, Any]:
        """Guess, or fill in the table of addition in shown symbols, which the training answers determine."""
        self.calls.append(("act",))
        action = super().act()
        if self.passes_from is not None and self.steps >= self.passes_from:
            action["answers"] = _sums(self.table["inputs"], self.table["targets"], self.spec.num_symbols)
        return action


def _sums(inputs: Any, targets: Any, q: int) -> Any:
    """The answers of addition modulo q in shown symbols: those of the first relabelling that fits the training answers."""
    train = targets != q
    for relabelling in permutations(range(q)):
        true = np.argsort(relabelling)
        answers = np.array(relabelling)[true[inputs].sum(axis=1) % q]
        if (answers == targets)[train].all():
            return answers
    raise AssertionError
