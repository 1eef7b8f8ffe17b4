"""Task ids, `add_mod97-0.3-v1`, and the frozen `Task` that one names."""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from math import factorial

from grokbench.tasks.groups import DEGREES, GROUP_OPERATIONS
from grokbench.tasks.operations import OPERATIONS, is_prime

NAMESPACE = "grokbench"
RANDOM = "random"
VERSIONS = (1,)
MOST_CELLS = 2**24
DEFAULT_BUDGET = 100_000
DEFAULT_THRESHOLD = 0.99

_SHAPE = re.compile(r"(?P<operation>[a-z0-9_]+)_(?P<structure>mod|s)(?P<size>0|[1-9][0-9]{0,29})-(?P<ratio>.+)")
_RATIO = re.compile(r"([0-9]{1,3}(\.[0-9]{0,12})?|\.[0-9]{1,12})")
_VERSION = re.compile(r"(?P<name>.+)-v(?P<version>[0-9]{1,6})")
_EXPECTED = "{operation}_mod{p}-{ratio} or {operation}_s{3..6}-{ratio}, with or without -v1"


@dataclass(frozen=True)
class Task:
    """An operation on a modulus or group, a train ratio, a budget, a threshold and a version; frozen data.

    `ratio` is canonical decimal text (`"0.3"`), so that the number of seen cells is exact. `budget` is in steps and
    limits steps-to-generalize; `threshold` is the held-out accuracy that counts as generalisation.
    """

    operation: str
    structure: str
    size: int
    ratio: str
    version: int = 1
    budget: int = DEFAULT_BUDGET
    threshold: float = DEFAULT_THRESHOLD

    @property
    def id(self) -> str:
        """The canonical id, such as `add_mod97-0.3-v1`."""
        return f"{self.operation}_{self.structure}{self.size}-{self.ratio}-v{self.version}"

    @property
    def gym_id(self) -> str:
        """The id under which Gymnasium registers the task, such as `grokbench/add_mod97-0.3-v1`."""
        return f"{NAMESPACE}/{self.id}"

    @property
    def symbols(self) -> int:
        """The number q of symbols: the modulus, or the order of the group."""
        return self.size if self.structure == "mod" else factorial(self.size)

    @property
    def second_from(self) -> int:
        """The smallest second operand: 1 where zero can't be divided by, else 0."""
        return OPERATIONS[self.operation].second_from if self.operation in OPERATIONS else 0

    @property
    def cells(self) -> int:
        """The number N of questions in the table."""
        return self.symbols * (self.symbols - self.second_from)

    @cached_property
    def seen_cells(self) -> int:
        """⌊ratio × N⌋, computed exactly from the decimal text."""
        return int(Fraction(self.ratio) * self.cells)

    @property
    def held_out_cells(self) -> int:
        """The number of cells whose answers the agent never sees."""
        return self.cells - self.seen_cells

    @property
    def formula(self) -> str:
        """The operation as a reader writes it, such as `a + b mod 97`."""
        if self.operation == RANDOM:
            return f"random table mod {self.size}"
        if self.structure == "mod":
            return f"{OPERATIONS[self.operation].formula} mod {self.size}"
        return f"{GROUP_OPERATIONS[self.operation].formula} in S{self.size}"

    @property
    def source(self) -> str:
        """The paper that the operation comes from."""
        if self.operation == RANDOM:
            return "control"
        return "Power et al. 2022, " + ("Fig. 2" if self.operation == "mul" else "A.1.1")


def parse_id(task_id: str, budget: int | None = None) -> Task:
    """The task that `task_id` names, with its standard budget or the given one.

    Accepts the id with or without the namespace and the version: `add_mod97-.30` names `add_mod97-0.3-v1`.

    Raises:
        ValueError: the id names no task; the message says what is wrong and suggests the nearest.
    """
    if not isinstance(task_id, str):
        raise ValueError(f"a task id is text such as 'add_mod97-0.3', got {task_id!r}")
    name, version = _split_version(task_id.removeprefix(f"{NAMESPACE}/"), task_id)
    match = _SHAPE.fullmatch(name)
    if not match:
        raise ValueError(f"no task is called {task_id!r}: expected {_EXPECTED}{_suggest(name)}")
    operation, structure, size = match["operation"], match["structure"], int(match["size"])
    _check_operation(operation, structure, size, task_id)
    if structure == "mod" and not (size**2 <= MOST_CELLS and is_prime(size)):
        raise ValueError(_bad_modulus(size, task_id))
    if structure == "s" and size not in DEGREES:
        raise ValueError(f"the groups are S{DEGREES[0]} to S{DEGREES[-1]}, got S{size} in {task_id!r}")
    task = Task(operation, structure, size, _canonical_ratio(match["ratio"], task_id), version)
    if not 0 < task.seen_cells < task.cells:
        raise ValueError(
            f"{task_id!r} leaves {task.seen_cells} training and {task.held_out_cells} held-out cells "
            f"of {task.cells}: choose a ratio with at least one of each"
        )
    return replace(task, budget=_standard_budget(task) if budget is None else _checked_budget(budget))


def _split_version(name: str, task_id: str) -> tuple[str, int]:
    match = _VERSION.fullmatch(name)
    if not match:
        return name, VERSIONS[-1]
    version = int(match["version"])
    if version not in VERSIONS or match["version"] != str(version):
        known = ", ".join(f"-v{v}" for v in VERSIONS)
        raise ValueError(f"unknown version -v{match['version']} in {task_id!r}: this grokbench has {known}")
    return match["name"], version


def _check_operation(operation: str, structure: str, size: int, task_id: str) -> None:
    known = [*OPERATIONS, RANDOM] if structure == "mod" else list(GROUP_OPERATIONS)
    if operation in known:
        return
    where = "a modulus" if structure == "mod" else "a permutation group"
    near = get_close_matches(operation, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}_{structure}{size}'?" if near else ""
    raise ValueError(f"unknown operation {operation!r} on {where} in {task_id!r}: expected one of {', '.join(known)}{hint}")


def _canonical_ratio(text: str, task_id: str) -> str:
    if not _RATIO.fullmatch(text):
        raise ValueError(
            f"the train ratio must be a decimal number in (0, 1) with at most 12 places, got {text!r} in {task_id!r}; "
            "a version, if any, comes last and is written -v1"
        )
    ratio = Decimal(text)
    if not 0 < ratio < 1:
        raise ValueError(f"train ratio must lie in (0, 1), got {text} in {task_id!r}")
    return f"{ratio:f}".rstrip("0")


def _bad_modulus(size: int, task_id: str) -> str:
    if size**2 > MOST_CELLS:
        return f"the modulus must be at most {int(MOST_CELLS**0.5)}, got {size} in {task_id!r}"
    primes = [p for p in range(2, 2 * size + 3) if is_prime(p)]
    nearest = min(primes, key=lambda p: abs(p - size))
    return f"the modulus must be prime, got {size} in {task_id!r}; the nearest prime is {nearest}"


def _checked_budget(budget: int) -> int:
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise ValueError(f"a budget is a positive whole number of steps, got {budget!r}")
    return budget


def _suggest(name: str) -> str:
    from grokbench.tasks.suites import standard_names

    near = get_close_matches(name, standard_names(), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _standard_budget(task: Task) -> int:
    from grokbench.tasks.suites import BUDGETS

    return BUDGETS.get(task.id.rpartition("-v")[0], DEFAULT_BUDGET)
