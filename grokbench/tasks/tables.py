"""Tables of an operation on a modulus or a permutation group: `add_mod97-0.3`, `compose_s5-0.5`. Power et al. 2022.

Shapes: N questions, q symbols.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from math import factorial, isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from grokbench.errors import TaskError
from grokbench.tasks.groups import DEGREES, GROUP_OPERATIONS, elements, numbers_of
from grokbench.tasks.operations import OPERATIONS, is_prime
from grokbench.tasks.task import Draws, Instance, Ints, Task, frozen

RANDOM = "random"  # the operation of the control
MAX_QUESTIONS = 2**24
TABLE_ID = re.compile(r"(?P<operation>[a-z0-9_]+)_(?P<structure>mod|s)(?P<size>0|[1-9][0-9]{0,29})-(?P<ratio>.+)")
_RATIO = re.compile(r"([0-9]{1,3}(\.[0-9]{0,12})?|\.[0-9]{1,12})")


@dataclass(frozen=True)
class TableTask(Task):
    """All questions (a, b) about one operation.

    Attributes:
        operation: a key of `OPERATIONS` or `GROUP_OPERATIONS`, or "random".
        structure: "mod" for the integers modulo a prime, "s" for a permutation group.
        size: the prime, or the degree of the group.
        ratio: canonical decimal text ("0.3"), so that the number of training questions is exact.
    """

    operation: str
    structure: str
    size: int
    ratio: str

    @property
    @override
    def name(self) -> str:
        return f"{self.operation}_{self.structure}{self.size}-{self.ratio}"

    @property
    @override
    def parts(self) -> dict[str, Any]:
        size = "p" if self.structure == "mod" else "degree"
        return {"operation": self.operation, size: self.size, "ratio": float(self.ratio)}

    @property
    @override
    def num_symbols(self) -> int:
        return self.size if self.structure == "mod" else factorial(self.size)

    @property
    def second_from(self) -> int:
        """The smallest second operand: 1 for division by it, else 0."""
        return OPERATIONS[self.operation].second_from if self.operation in OPERATIONS else 0

    @property
    @override
    def num_questions(self) -> int:
        return self.num_symbols * (self.num_symbols - self.second_from)

    @cached_property
    def num_train(self) -> int:
        """⌊ratio × N⌋, computed exactly from the decimal text."""
        return int(Fraction(self.ratio) * self.num_questions)

    @property
    @override
    def control(self) -> bool:
        return self.operation == RANDOM

    @property
    @override
    def formula(self) -> str:
        if self.control:
            return f"random table mod {self.size}"
        if self.structure == "mod":
            return f"{OPERATIONS[self.operation].formula} mod {self.size}"
        return f"{GROUP_OPERATIONS[self.operation].formula} in S{self.size}"

    @property
    @override
    def source(self) -> str:
        if self.control:
            return "control"
        return "Power et al. 2022, " + ("Fig. 2" if self.operation == "mul" else "A.1.1")

    @override
    def draw(self, seed: int, salt: str) -> "TableInstance":
        draws = Draws(self, seed, salt)
        permutation = draws.order("symbols", self.num_symbols)
        inputs = self._questions()
        inputs = inputs[np.lexsort((permutation[inputs[:, 1]], permutation[inputs[:, 0]]))]
        train = np.zeros(self.num_questions, dtype=np.bool_)
        train[draws.order("split", self.num_questions)[: self.num_train]] = True
        answers = draws.answers() if self.control else self._answers(inputs)
        return TableInstance(
            task=self,
            seed=seed,
            salt=salt,
            inputs=frozen(inputs),
            answers=frozen(answers),
            train=frozen(train),
            permutation=frozen(permutation),
        )

    def _questions(self) -> Ints:
        """(N, 2) every pair of operands."""
        first, second = np.meshgrid(np.arange(self.num_symbols), np.arange(self.second_from, self.num_symbols), indexing="ij")
        return np.stack([first.ravel(), second.ravel()], axis=1)

    def _answers(self, inputs: Ints) -> Ints:
        a, b = inputs[:, 0], inputs[:, 1]
        if self.structure == "mod":
            return OPERATIONS[self.operation].compute(a, b, self.size)
        permutations = elements(self.size)
        return numbers_of(GROUP_OPERATIONS[self.operation].compute(permutations[a], permutations[b]))


@dataclass(frozen=True, eq=False, kw_only=True)
class TableInstance(Instance):
    """The table of one seed, its questions sorted by shown symbols.

    Attributes:
        inputs: (N, 2) the operands in true symbols.
        permutation: (q,) the shown symbol of each true symbol.
    """

    inputs: Ints
    permutation: Ints

    @property
    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"inputs": self.inputs, "answers": self.answers, "seen": self.train, "symbols": self.permutation}

    @cached_property
    def shown_inputs(self) -> Ints:
        """(N, 2) the operands as the agent sees them."""
        return frozen(self.permutation[self.inputs])

    @cached_property
    def shown_answers(self) -> Ints:
        """(N,) the answers in the agent's symbols, held-out answers included. Only for marking."""
        return frozen(self.permutation[self.answers])

    @property
    @override
    def places(self) -> Ints:
        """(N, 2) the operands in true symbols."""
        return self.inputs


def table_task(match: re.Match[str], *, version: int, task_id: str) -> TableTask:
    """The task of a name that matches `TABLE_ID`.

    Raises:
        TaskError: the operation is unknown, or the size or the ratio is impossible.
    """
    operation, structure, size = match["operation"], match["structure"], int(match["size"])
    _check_operation(operation, structure, task_id)
    _check_size(structure, size, task_id)
    task = TableTask(operation, structure, size, _canonical_ratio(match["ratio"], task_id), version=version)
    if not 0 < task.num_train < task.num_questions:
        raise TaskError(
            f"{task_id!r} has {task.num_train} training and {task.num_held_out} held-out questions "
            f"of {task.num_questions}: choose a ratio with at least one of each"
        )
    return task


def _check_operation(operation: str, structure: str, task_id: str) -> None:
    known = [*OPERATIONS, RANDOM] if structure == "mod" else list(GROUP_OPERATIONS)
    if operation in known:
        return
    structure_name = "a modulus" if structure == "mod" else "a permutation group"
    similar = get_close_matches(operation, known, n=1, cutoff=0.5)
    hint = f"; did you mean {task_id.replace(f'{operation}_', f'{similar[0]}_', 1)!r}?" if similar else ""
    raise TaskError(
        f"unknown operation {operation!r} on {structure_name} in {task_id!r}: expected one of {', '.join(known)}{hint}"
    )


def _check_size(structure: str, size: int, task_id: str) -> None:
    if structure == "s" and size not in DEGREES:
        raise TaskError(f"the groups are S{DEGREES[0]} to S{DEGREES[-1]}, got S{size} in {task_id!r}")
    if structure == "mod" and size**2 > MAX_QUESTIONS:
        raise TaskError(f"the modulus must be at most {isqrt(MAX_QUESTIONS)}, got {size} in {task_id!r}")
    if structure == "mod" and not is_prime(size):
        primes = [p for p in range(2, 2 * size + 3) if is_prime(p)]
        nearest = min(primes, key=lambda p: abs(p - size))
        raise TaskError(f"the modulus must be prime, got {size} in {task_id!r}; the nearest prime is {nearest}")


def _canonical_ratio(text: str, task_id: str) -> str:
    if not _RATIO.fullmatch(text):
        raise TaskError(
            f"the train ratio must be a decimal number in (0, 1) with at most 12 places, got {text!r} in {task_id!r}; "
            "a version comes last and is written -v1"
        )
    ratio = Decimal(text)
    if not 0 < ratio < 1:
        raise TaskError(f"train ratio must lie in (0, 1), got {text} in {task_id!r}")
    return f"{ratio:f}".rstrip("0")
