"""The base classes of tasks and instances, and the random draws that make an instance.

Every draw is the raw 64-bit output of numpy's Philox counter generator. The key is the SHA-256 of task, seed, salt and purpose.
A stable sort turns draws into an order. Both are the same on every platform and in every numpy version.

Shapes: N questions, L inputs per question, q symbols.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from grokbench.errors import TaskError

NAMESPACE = "grokbench"
BUDGETS_END = 1 << 31  # steps; every budget is smaller
DEFAULT_BUDGET = 10_000
DEFAULT_THRESHOLD = 0.99

ExamGrid = Literal["full", "sparse"]
Ints = NDArray[np.int64]
AnyNDArray = TypeVar("AnyNDArray", bound=NDArray[Any])


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Questions with one right answer each, split into training and held-out questions. Frozen data.

    Attributes:
        version: a task's numbers never change under one version.
        budget: the largest step that counts as steps-to-generalize. The agent isn't told it.
        threshold: the held-out accuracy that counts as generalization.
        followed: whether every run goes on to the budget and ends there, and no accuracy counts as generalization.
        exam_grid: `full`, the protocol's exams, or `sparse`: fewer exams without ranks, which the leaderboard doesn't take.
    """

    version: int = 1
    budget: int = DEFAULT_BUDGET
    threshold: float = DEFAULT_THRESHOLD
    followed: bool = False
    exam_grid: ExamGrid = "full"

    @property
    def id(self) -> str:
        """The canonical id, such as `add_mod97-0.3-v1`; `add_mod97-0.3-to500-v1` if runs are followed to step 500."""
        return f"{self.name}-to{self.budget}-v{self.version}" if self.followed else self.data_id

    @property
    def data_id(self) -> str:
        """The part of the id that decides the instances: name and version."""
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
    def parts(self) -> dict[str, Any]:
        """The parts of the name, such as operation and ratio."""

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
        """Whether the answers are random, so that no honest agent can generalize."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """The operation in readable form, such as `a + b mod 97`."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The paper that the task comes from."""

    @abstractmethod
    def draw(self, seed: int, salt: str) -> "Instance":
        """Draw the instance of a valid seed and salt; `make_instance` checks both."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance(ABC):
    """The questions and answers of one seed, frozen and read-only. The order of the questions carries no information.

    Attributes:
        answers: (N,) the right answers, in true symbols.
        train: (N,) bool, true for training questions and false for held-out ones.
    """

    task: Task
    seed: int
    salt: str
    answers: Ints
    train: NDArray[np.bool_]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):
                frozen(value)  # a copied array can be written to

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name, shape and little-endian bytes of every array in `arrays`."""
        digest = hashlib.sha256()
        for name, array in self.arrays.items():
            little_endian = array.astype("<i8" if array.dtype == np.int64 else "u1", copy=False)
            digest.update(f"{name}{little_endian.shape}".encode() + little_endian.tobytes())
        return digest.hexdigest()

    @property
    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that make up the instance, by the names that the fingerprint hashes.

        The names are bytes of version 1 and stay as they are, whatever the attributes are called: "seen" is `train`, and
        "symbols" is `permutation`. Another name would change every pinned fingerprint.
        """

    @property
    @abstractmethod
    def shown_inputs(self) -> NDArray[Any]:
        """(N, L) the questions as the agent sees them."""

    @property
    @abstractmethod
    def shown_answers(self) -> Ints:
        """(N,) the answers in the agent's symbols, held-out answers included. Only for marking."""

    @property
    @abstractmethod
    def places(self) -> Ints:
        """(N, 2) the row and the column of every question in a picture of the instance."""

    @cached_property
    def targets(self) -> Ints:
        """(N,) the shown answers of training questions, and the blank, q, for held-out ones."""
        return frozen(np.where(self.train, self.shown_answers, self.task.num_symbols))

    @property
    def agent_seed(self) -> int:
        """A seed for the agent's own randomness, in [0, 2⁶³). It doesn't reveal the instance."""
        return Draws(self.task, self.seed, self.salt).key("agent") >> 65


def make_instance(task: Task, seed: int, salt: str = "") -> Instance:
    """Draw the instance of `task` for `seed` and `salt`. The salt of the published instances is empty.

    Raises:
        TaskError: the seed is not a whole number in [0, 2⁶³), or the salt isn't text that UTF-8 can encode.
    """
    return task.draw(checked_seed(seed), checked_salt(salt))


def checked_seed(seed: Any) -> int:
    """The seed as Python's number. Raises TaskError unless it is a whole number in [0, 2⁶³)."""
    number = whole_number(seed)
    if number is None or not 0 <= number < 2**63:
        raise TaskError(f"a seed is a whole number in [0, 2**63), got {seed!r}")
    return number


def whole_number(value: Any) -> int | None:
    """The value as Python's number, if it is a whole number of Python or numpy; else None."""
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def is_count(value: Any) -> bool:
    """Whether the value is a whole number from 1 up."""
    number = whole_number(value)
    return number is not None and number >= 1


def checked_salt(salt: Any) -> str:
    """The salt. Raises TaskError unless it is text that UTF-8 can encode."""
    if not isinstance(salt, str) or not is_unicode(salt):
        raise TaskError(f"a salt is text, got {salt!r}")
    return salt


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode the text. Bytes of a command line that aren't UTF-8 become text that it can't encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Draws:
    """The random draws of the instance of a task for a seed and a salt.

    Every purpose has draws of its own. The names of the purposes are hashed, so they stay as they are under version 1.
    """

    task: Task
    seed: int
    salt: str

    def numbers(self, purpose: str, count: int) -> NDArray[np.uint64]:
        """(count,) random 64-bit numbers."""
        return np.random.Philox(key=self.key(purpose)).random_raw(count)

    def order(self, purpose: str, count: int) -> Ints:
        """(count,) the numbers below `count` in random order."""
        return np.argsort(self.numbers(purpose, count), kind="stable")

    def answers(self) -> Ints:
        """(N,) the answers of a control."""
        numbers = self.numbers("answers", self.task.num_questions)
        return (numbers % np.uint64(self.task.num_symbols)).astype(np.int64)

    def key(self, purpose: str) -> int:
        """The key of the generator, in [0, 2¹²⁸)."""
        text = "\0".join((self.task.data_id, str(self.seed), purpose, self.salt))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def frozen(array: AnyNDArray) -> AnyNDArray:
    """Make `array` read-only and return it."""
    array.flags.writeable = False
    return array
