"""What every task and every instance has in common, and the draws that an instance is made of.

Every draw is raw 64-bit output of numpy's Philox counter generator, keyed by the SHA-256 of task, seed, salt and purpose,
and put in order by a stable sort: the same on every platform and numpy version.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

NAMESPACE = "grokbench"
DEFAULT_BUDGET = 100_000
DEFAULT_THRESHOLD = 0.99

Ints = NDArray[np.int64]
Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Questions with one right answer each, how many of them are seen, a budget, a threshold and a version; frozen data.

    `budget` is in steps and limits steps-to-generalize; `threshold` is the held-out accuracy that counts as generalization,
    infinite where a run is followed to its budget whatever happens.
    """

    version: int = 1
    budget: int = DEFAULT_BUDGET
    threshold: float = DEFAULT_THRESHOLD

    @property
    def id(self) -> str:
        """The canonical id, such as `add_mod97-0.3-v1`, or `add_mod97-0.3-to500-v1` where the run is followed to step 500."""
        return f"{self.name}-to{self.budget}-v{self.version}" if self.threshold == inf else f"{self.name}-v{self.version}"

    @property
    def data_id(self) -> str:
        """What names its instances: the id, however long a run is followed."""
        return f"{self.name}-v{self.version}"

    @property
    def gym_id(self) -> str:
        """The id under which Gymnasium registers the task, such as `grokbench/add_mod97-0.3-v1`."""
        return f"{NAMESPACE}/{self.id}"

    @property
    def num_held_out(self) -> int:
        """The number of questions whose answers the agent never sees."""
        return self.num_questions - self.num_train

    @property
    @abstractmethod
    def name(self) -> str:
        """The id without version."""

    @property
    @abstractmethod
    def num_symbols(self) -> int:
        """The number q of possible answers."""

    @property
    @abstractmethod
    def num_questions(self) -> int:
        """The number N of questions."""

    @property
    @abstractmethod
    def num_train(self) -> int:
        """The number of questions whose answers are given."""

    @property
    @abstractmethod
    def control(self) -> bool:
        """Whether its answers are drawn at random, so that nothing honest can generalize."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """What is asked, as a reader writes it, such as `a + b mod 97`."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The paper that the task comes from."""

    @abstractmethod
    def draw(self, seed: int, salt: str) -> "Instance":
        """The instance of a valid seed and salt; `make_instance` checks them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance(ABC):
    """One seed's questions and answers, frozen and read-only. The order of rows carries nothing.

    Attributes:
        answers: (N,) the right answers, in true symbols.
        train: (N,) bool, the training cells; the others are held out.
    """

    task: Task
    seed: int
    salt: str
    answers: Ints
    train: NDArray[np.bool_]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name, shape and little-endian bytes of every array."""
        digest = hashlib.sha256()
        for name, array in self.arrays.items():
            little = array.astype("<i8" if array.dtype == np.int64 else "u1", copy=False)
            digest.update(f"{name}{little.shape}".encode() + little.tobytes())
        return digest.hexdigest()

    @property
    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that makes it up, by name."""

    @property
    @abstractmethod
    def shown_inputs(self) -> NDArray[Any]:
        """(N, L) the questions as the agent sees them."""

    @property
    @abstractmethod
    def shown_answers(self) -> Ints:
        """(N,) the answers in the agent's symbols, held-out ones included: for marking only."""

    @property
    @abstractmethod
    def places(self) -> Ints:
        """(N, 2) row and column of every question in a picture of them all."""

    @cached_property
    def targets(self) -> Ints:
        """(N,) the shown answers of the training cells, and the value q, blank, for every other."""
        return frozen(np.where(self.train, self.shown_answers, self.task.num_symbols))

    @property
    def agent_seed(self) -> int:
        """A seed for the agent's own randomness, in [0, 2⁶³), that doesn't tell which instance this is."""
        return _key(self.task, self.seed, self.salt, "agent") >> 65


def make_instance(task: Task, seed: int, salt: str = "") -> Instance:
    """Draw the instance of `task` that `seed` and `salt` name; the salt is empty for the published ones.

    Raises:
        ValueError: the seed is not a whole number in [0, 2⁶³), or the salt isn't text.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number in [0, 2**63), got {seed!r}")
    if not isinstance(salt, str):
        raise ValueError(f"a salt is text, got {salt!r}")
    return task.draw(int(seed), salt)


def draw(task: Task, seed: int, salt: str, purpose: str, count: int) -> NDArray[np.uint64]:
    """`count` numbers for one purpose."""
    return np.random.Philox(key=_key(task, seed, salt, purpose)).random_raw(count)


def shuffled(task: Task, seed: int, salt: str, purpose: str, count: int) -> Ints:
    """The numbers below `count` in an order of their own."""
    return np.argsort(draw(task, seed, salt, purpose, count), kind="stable")


def random_answers(task: Task, seed: int, salt: str) -> Ints:
    """(N,) a control's answers."""
    return (draw(task, seed, salt, "answers", task.num_questions) % np.uint64(task.num_symbols)).astype(np.int64)


def frozen(array: Array) -> Array:
    """`array`, read-only from now on."""
    array.flags.writeable = False
    return array


def _key(task: Task, seed: int, salt: str, purpose: str) -> int:
    text = "\0".join((task.data_id, str(seed), purpose, salt))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
