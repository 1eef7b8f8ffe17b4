"""The operations on the permutations of n things, from Power et al. 2022 (arXiv 2201.02177), appendix A.1.1.

The elements of S_n are numbered in lexicographic order of their one-line notation, so the identity is 0. A product xy
applies y first: (xy)(i) = x(y(i)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np

from grokbench.tasks.task import Ints


@dataclass(frozen=True)
class GroupOperation:
    """A binary operation on permutations.

    Attributes:
        formula: the operation in readable form.
        compute: maps two arrays of permutations, (N, n) each, to their answers, (N, n).
    """

    formula: str
    compute: Callable[[Ints, Ints], Ints]


def _product(x: Ints, y: Ints) -> Ints:
    return np.take_along_axis(x, y, axis=1)


def _inverse(x: Ints) -> Ints:
    return np.argsort(x, axis=1, kind="stable").astype(np.int64)


GROUP_OPERATIONS: dict[str, GroupOperation] = {
    "compose": GroupOperation("x y", _product),
    "conjugate": GroupOperation("x y x⁻¹", lambda x, y: _product(_product(x, y), _inverse(x))),
    "sandwich": GroupOperation("x y x", lambda x, y: _product(_product(x, y), x)),
}

DEGREES = range(3, 7)  # n of the groups S_n that tasks can have


def elements(n: int) -> Ints:
    """All permutations of n things in lexicographic order, (n!, n)."""
    return np.array(list(permutations(range(n))), dtype=np.int64)


def numbers_of(x: Ints) -> Ints:
    """The lexicographic number of each permutation in `x`, (N, n) → (N,), by its Lehmer code."""
    n = x.shape[1]
    smaller_later = [(x[:, i + 1 :] < x[:, i : i + 1]).sum(axis=1) * factorial(n - 1 - i) for i in range(n)]
    numbers: Ints = np.sum(smaller_later, axis=0, dtype=np.int64)
    return numbers
