"""Every operation against a second computation in plain Python."""

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest

from grokbench.tasks.groups import DEGREES, GROUP_OPERATIONS, elements, numbers_of
from grokbench.tasks.operations import OPERATIONS, inverses, is_prime

Permutation = tuple[int, ...]


def _quotient(a: int, b: int, p: int) -> int:
    return a * pow(b, p - 2, p) % p


MODULAR: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, p: (a + b) % p,
    "sub": lambda a, b, p: (a - b) % p,
    "mul": lambda a, b, p: (a * b) % p,
    "div": _quotient,
    "div_or_sub": lambda a, b, p: _quotient(a, b, p) if b % 2 else (a - b) % p,
    "x2_y2": lambda a, b, p: (a**2 + b**2) % p,
    "x2_xy_y2": lambda a, b, p: (a**2 + a * b + b**2) % p,
    "x2_xy_y2_x": lambda a, b, p: (a**2 + a * b + b**2 + a) % p,
    "x3_xy": lambda a, b, p: (a**3 + a * b) % p,
    "x3_xy2_y": lambda a, b, p: (a**3 + a * b**2 + b) % p,
}


def _product(x: Permutation, y: Permutation) -> Permutation:
    return tuple(x[y[i]] for i in range(len(x)))


def _inverse(x: Permutation) -> Permutation:
    return tuple(x.index(i) for i in range(len(x)))


GROUP: dict[str, Callable[[Permutation, Permutation], Permutation]] = {
    "compose": _product,
    "conjugate": lambda x, y: _product(_product(x, y), _inverse(x)),
    "sandwich": lambda x, y: _product(_product(x, y), x),
}


def test_the_references_cover_every_operation() -> None:
    """An operation added without a reference in this file fails."""
    assert set(MODULAR) == set(OPERATIONS)
    assert set(GROUP) == set(GROUP_OPERATIONS)


@pytest.mark.parametrize("p", [2, 3, 5, 7, 31, 97])
@pytest.mark.parametrize("name", list(MODULAR))
def test_modular_table_equals_the_loop(name: str, p: int) -> None:
    """Every question of the table, or a sample of them at p = 97."""
    operation = OPERATIONS[name]
    pairs = list(product(range(p), range(operation.second_from, p)))
    if p == 97:
        pairs = [pairs[i] for i in np.random.default_rng(0).choice(len(pairs), 1500, replace=False)]
    a, b = np.array(pairs, dtype=np.int64).T
    answers = operation.compute(a, b, p)
    assert answers.min() >= 0
    assert answers.max() < p
    assert answers.tolist() == [MODULAR[name](x, y, p) for x, y in pairs]


def test_only_division_starts_at_one() -> None:
    """Zero is no divisor."""
    assert {name for name, operation in OPERATIONS.items() if operation.second_from} == {"div"}
    assert OPERATIONS["div"].second_from == 1


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_no_overflow_at_the_largest_modulus(name: str) -> None:
    """The largest prime below 4096 still gives Python's exact answers."""
    p = 4093
    a, b = np.random.default_rng(1).integers(1, p, size=(2, 200))
    a[:2], b[:2] = p - 1, (p - 1, p - 2)
    expected = [MODULAR[name](x, y, p) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert OPERATIONS[name].compute(a, b, p).tolist() == expected


@pytest.mark.parametrize("p", [2, 3, 5, 31, 97])
def test_inverses_follow_fermat(p: int) -> None:
    """b^(p−2) is the inverse of b, and the entry of zero is 0."""
    assert inverses(p).tolist() == [0] + [pow(b, p - 2, p) for b in range(1, p)]


def test_is_prime_equals_the_sieve() -> None:
    """Trial division agrees with crossing out multiples."""
    composite = {m for k in range(2, 500) for m in range(2 * k, 500, k)}
    assert [n for n in range(-3, 500) if is_prime(n)] == [n for n in range(2, 500) if n not in composite]


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("name", list(GROUP))
def test_group_table_equals_the_loop(name: str, n: int) -> None:
    """A product xy applies y first."""
    group = list(permutations(range(n)))
    number = {x: i for i, x in enumerate(group)}
    pairs = list(product(range(len(group)), repeat=2))
    a, b = np.array(pairs).T
    answers = numbers_of(GROUP_OPERATIONS[name].compute(elements(n)[a], elements(n)[b]))
    assert answers.tolist() == [number[GROUP[name](group[x], group[y])] for x, y in pairs]


def test_y_is_applied_first() -> None:
    """The transposition (0 1) after the 3-cycle 0→1→2→0 fixes 0; the other way round it would fix 1."""
    transposition, cycle = np.array([[1, 0, 2]]), np.array([[1, 2, 0]])
    assert GROUP_OPERATIONS["compose"].compute(transposition, cycle).tolist() == [[0, 2, 1]]
    assert GROUP_OPERATIONS["compose"].compute(cycle, transposition).tolist() == [[2, 1, 0]]


@pytest.mark.parametrize("n", list(DEGREES))
def test_numbering_is_lexicographic(n: int) -> None:
    """Elements count up from the identity, and their numbers lead back to them."""
    assert elements(n).tolist() == [list(x) for x in permutations(range(n))]
    assert numbers_of(elements(n)).tolist() == list(range(len(elements(n))))
