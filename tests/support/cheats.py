"""Agents that break a rule of the divisions, for the tests that catch them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.agents import Agent, Spec
from tests.support.agents import AddingAgent

Ints = NDArray[np.int64]


class Eliminator(AddingAgent):
    """Solves a table of sums or differences mod a prime by Gaussian elimination, after `delay` steps of doing nothing."""

    def __init__(self, delay: int = 0) -> None:
        self.delay = delay

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Solve the table, if it is one of sums or differences."""
        super().reset(observation, spec)
        inputs, targets = np.asarray(observation["inputs"]), np.asarray(observation["targets"])
        self.solution = solved_table(inputs, targets, spec.num_symbols)

    def act(self) -> dict[str, Any]:
        """The solution, or guesses where there is none or the delay isn't over."""
        action = super().act()
        if self.solution is not None and self.steps >= self.delay:
            action["answers"] = self.solution
        return action


class Joiner(Agent):
    """Joins what its members know: it solves their tables as many times faster as there are members in its cohort."""

    feature_dims = (4,)
    batched = True

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Share the delay among the members."""
        count = len(spec.seeds)
        self.members = [Eliminator(1_000 // count) for _ in range(count)]
        for number, member in enumerate(self.members):
            own = {name: array[number] for name, array in observation.items()}
            member.reset(own, replace(spec, seeds=(spec.seeds[number],), batched=False))

    def learn(self, steps: int) -> dict[str, Any]:
        """Let all members count."""
        for member in self.members:
            member.learn(steps)
        return {}

    def act(self) -> dict[str, Any]:
        """The members' actions, with a leading axis."""
        actions = [member.act() for member in self.members]
        return {name: np.stack([action[name] for action in actions]) for name in actions[0]}

    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members."""
        self.members = [self.members[i] for i in indices]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: these runs are short."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class Wrapper(Agent):
    """An agent around a baseline, which its subclasses change."""

    batched = True

    def __init__(self, agent: Agent) -> None:
        self.agent, self.feature_dims = agent, agent.feature_dims

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """The baseline's."""
        self.steps = 0
        self.agent.reset(observation, spec)

    def learn(self, steps: int) -> dict[str, Any]:
        """The baseline's, counted."""
        self.steps += steps
        return dict(self.agent.learn(steps) or {})

    def act(self) -> dict[str, Any]:
        """The baseline's."""
        return self.agent.act()

    def state_dict(self) -> dict[str, Any]:
        """The baseline's."""
        return self.agent.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The baseline's."""
        self.agent.load_state_dict(state)


class TwoPasses(Wrapper):
    """Makes two passes in a step."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Twice as many."""
        return super().learn(2 * steps)


class Freezer(Wrapper):
    """Stops training after a hundred steps."""

    def learn(self, steps: int) -> dict[str, Any]:
        """Train only as long as that. The last loss is reported again."""
        if self.steps < 100:
            self.report = super().learn(steps)
        return self.report


class SnapshotKeeper(Wrapper):
    """Trains on, but answers from the weights that it had after a hundred steps."""

    kept: dict[str, Any] | None = None

    def act(self) -> dict[str, Any]:
        """The action of the kept weights."""
        if self.kept is None or self.steps < 100:
            self.kept = self.agent.act()
        return self.kept


def solved_table(inputs: Ints, targets: Ints, num_symbols: int) -> Ints | None:
    """The filled-in table of a + b or a − b mod q under any relabelling of the symbols; None if it is neither."""
    train = targets < num_symbols
    for sign in (1, -1):
        equations = np.zeros((int(train.sum()), num_symbols), dtype=np.int64)  # x(a) ± x(b) − x(answer) = 0
        rows = np.arange(len(equations))
        for symbols, coefficient in ((inputs[train, 0], 1), (inputs[train, 1], sign), (targets[train], -1)):
            np.add.at(equations, (rows, symbols), coefficient)
        values = kernel_vector(equations, _prime_from(num_symbols))
        if values is not None and len(set(values.tolist())) == num_symbols:
            symbol_of = {int(value): symbol for symbol, value in enumerate(values)}
            results = (values[inputs[:, 0]] + sign * values[inputs[:, 1]]) % num_symbols
            return np.array([symbol_of[int(value)] for value in results])
    return None


def kernel_vector(matrix: Ints, prime: int) -> Ints | None:
    """The vector that spans the kernel of a matrix mod a prime; None unless the kernel has one dimension."""
    reduced, pivots = matrix % prime, list[int]()
    for column in range(reduced.shape[1]):
        row = len(pivots)
        candidates = np.flatnonzero(reduced[row:, column])
        if not len(candidates):
            continue
        reduced[[row, row + candidates[0]]] = reduced[[row + candidates[0], row]]
        reduced[row] = reduced[row] * pow(int(reduced[row, column]), -1, prime) % prime
        factors = reduced[:, column].copy()
        factors[row] = 0
        reduced = (reduced - np.outer(factors, reduced[row])) % prime
        pivots.append(column)
    free = sorted(set(range(reduced.shape[1])) - set(pivots))
    if len(free) != 1:
        return None
    vector = np.zeros(reduced.shape[1], dtype=np.int64)
    vector[free], vector[pivots] = 1, -reduced[: len(pivots), free[0]] % prime
    return vector


def _prime_from(number: int) -> int:
    return next(p for p in range(number, 2 * number) if all(p % divisor for divisor in range(2, p)))
