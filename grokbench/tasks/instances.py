"""A task's instance: its table with the split and the shuffled symbols that a seed draws.

Every draw is raw 64-bit output of numpy's Philox counter generator, keyed by the SHA-256 of task, seed, salt and purpose,
and put in order by a stable sort: the same on every platform and numpy version.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grokbench.tasks.groups import GROUP_OPERATIONS, elements, numbers_of
from grokbench.tasks.ids import RANDOM, Task
from grokbench.tasks.operations import OPERATIONS

Ints = NDArray[np.int64]
Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True, eq=False)
class Instance:
    """One seed's table, frozen and read-only. Rows are sorted by the symbols shown, so their order carries nothing.

    Attributes:
        inputs: (N, 2) the operands in true symbols.
        answers: (N,) a∘b in true symbols.
        seen: (N,) bool, the training cells; the others are held out.
        symbols: (q,) the shown symbol of each true one.
    """

    task: Task
    seed: int
    salt: str
    inputs: Ints
    answers: Ints
    seen: NDArray[np.bool_]
    symbols: Ints

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name, shape and little-endian bytes of every array."""
        digest = hashlib.sha256()
        for name in ("inputs", "answers", "seen", "symbols"):
            array: NDArray[np.generic] = getattr(self, name)
            little = array.astype("<i8" if array.dtype == np.int64 else "u1", copy=False)
            digest.update(f"{name}{little.shape}".encode() + little.tobytes())
        return digest.hexdigest()

    @cached_property
    def shown_inputs(self) -> Ints:
        """(N, 2) the operands as the agent sees them."""
        return _frozen(self.symbols[self.inputs])

    @cached_property
    def shown_answers(self) -> Ints:
        """(N,) the answers in the agent's symbols, held-out ones included: for marking only."""
        return _frozen(self.symbols[self.answers])

    @cached_property
    def targets(self) -> Ints:
        """(N,) the shown answers of the training cells, and the value q, blank, for every other."""
        return _frozen(np.where(self.seen, self.shown_answers, self.task.symbols))

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
    seed = int(seed)
    q, n = task.symbols, task.cells
    symbols = np.argsort(_draw(task, seed, salt, "symbols", q), kind="stable")
    first, second = np.meshgrid(np.arange(q), np.arange(task.second_from, q), indexing="ij")
    inputs = np.stack([first.ravel(), second.ravel()], axis=1)
    inputs = inputs[np.lexsort((symbols[inputs[:, 1]], symbols[inputs[:, 0]]))]
    seen = np.zeros(n, dtype=np.bool_)
    seen[np.argsort(_draw(task, seed, salt, "split", n), kind="stable")[: task.seen_cells]] = True
    answers = _answers(task, inputs, seed, salt)
    return Instance(task, seed, salt, _frozen(inputs), _frozen(answers), _frozen(seen), _frozen(symbols))


def _answers(task: Task, inputs: Ints, seed: int, salt: str) -> Ints:
    a, b = inputs[:, 0], inputs[:, 1]
    if task.operation == RANDOM:
        return (_draw(task, seed, salt, "answers", task.cells) % np.uint64(task.symbols)).astype(np.int64)
    if task.structure == "mod":
        return OPERATIONS[task.operation].compute(a, b, task.size)
    permutations = elements(task.size)
    return numbers_of(GROUP_OPERATIONS[task.operation].compute(permutations[a], permutations[b]))


def _draw(task: Task, seed: int, salt: str, purpose: str, count: int) -> NDArray[np.uint64]:
    return np.random.Philox(key=_key(task, seed, salt, purpose)).random_raw(count)


def _key(task: Task, seed: int, salt: str, purpose: str) -> int:
    text = "\0".join((task.id, str(seed), purpose, salt))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
