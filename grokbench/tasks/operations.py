"""The binary operations on the integers modulo a prime.

The formulas are those of Power et al. 2022 (arXiv 2201.02177), appendix A.1.1. Multiplication is in the paper's Figure 2,
but not in the appendix. `div_or_sub` divides modulo p, as the paper's code (openai/grok) does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grokbench.tasks.task import Ints


@dataclass(frozen=True)
class Operation:
    """A binary operation on the integers modulo a prime p.

    Attributes:
        formula: the operation in readable form.
        compute: maps the operands a and b, int64 arrays of the same shape, and p to the answers in [0, p).
        second_from: the smallest second operand: 1 for division by it, else 0.
    """

    formula: str
    compute: Callable[[Ints, Ints, int], Ints]
    second_from: int = 0


def inverses(p: int) -> Ints:
    """The inverse of every residue modulo the prime `p`, (p,). 0 has no inverse, and its entry is 0."""
    return np.array([0] + [pow(a, -1, p) for a in range(1, p)], dtype=np.int64)


def _divide(a: Ints, b: Ints, p: int) -> Ints:
    return a * inverses(p)[b] % p


OPERATIONS: dict[str, Operation] = {
    "add": Operation("a + b", lambda a, b, p: (a + b) % p),
    "sub": Operation("a − b", lambda a, b, p: (a - b) % p),
    "mul": Operation("a · b", lambda a, b, p: a * b % p),
    "div": Operation("a / b, b ≠ 0", _divide, second_from=1),
    "div_or_sub": Operation(
        "a / b if b is odd, else a − b", lambda a, b, p: np.where(b % 2 == 1, _divide(a, b, p), (a - b) % p)
    ),
    "x2_y2": Operation("a² + b²", lambda a, b, p: (a * a + b * b) % p),
    "x2_xy_y2": Operation("a² + ab + b²", lambda a, b, p: (a * a + a * b + b * b) % p),
    "x2_xy_y2_x": Operation("a² + ab + b² + a", lambda a, b, p: (a * a + a * b + b * b + a) % p),
    "x3_xy": Operation("a³ + ab", lambda a, b, p: (a * a % p * a + a * b) % p),
    "x3_xy2_y": Operation("a³ + ab² + b", lambda a, b, p: (a * a % p * a + a * b % p * b + b) % p),
}


def is_prime(n: int) -> bool:
    """Whether `n` is a prime number, by trial division."""
    return n >= 2 and all(n % k for k in range(2, int(n**0.5) + 1))
