"""Questions (a, b) about a table of q symbols, and the one idea that makes the baselines fast, exactly.

A table has q² questions but only q first operands and q second ones. Whatever a network computes from one operand alone is
computed once per symbol, as a (S, q, f) array, and looked up by the questions: each distinct prefix once.

Shapes: S seeds, n questions, q symbols, f any number of features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


class Rows(Protocol):
    """Something with n rows for each of S members."""

    def pick(self, index: Tensor) -> Self:
        """The rows at `index` (S, m) of each member."""

    def select(self, select: Callable[[Tensor], Tensor]) -> Self:
        """The same with `select` applied to every tensor, whose first axis is S."""


@dataclass(frozen=True)
class Operand:
    """One operand of every question: the symbols, and on CUDA, where gradients are wanted, the same as one-hot rows."""

    symbols: Tensor  # (S, n) int64
    one_hot: Tensor | None  # (S, n, q)

    def look_up(self, per_symbol: Tensor) -> Tensor:
        """The row of each question's symbol: (S, q, f) → (S, n, f)."""
        if self.one_hot is None:
            return rows_at(per_symbol, self.symbols)
        looked_up: Tensor = _LookUp.apply(per_symbol, self.symbols, self.one_hot)  # type: ignore[no-untyped-call]
        return looked_up


@dataclass(frozen=True)
class Questions:
    """n questions for each of S seeds."""

    first: Operand
    second: Operand

    @staticmethod
    def of(inputs: Tensor, symbols: int, one_hot: torch.dtype | None = None) -> "Questions":
        """Questions from `inputs` (S, n, 2); given a dtype, their gradients are products with one-hot rows."""
        return Questions(*(_operand(inputs[:, :, i].contiguous(), symbols, one_hot) for i in (0, 1)))

    def pick(self, index: Tensor) -> "Questions":
        """The questions at `index` (S, m) of each seed."""
        return Questions(*(_pick(operand, index) for operand in (self.first, self.second)))

    def select(self, select: Callable[[Tensor], Tensor]) -> "Questions":
        """The questions with `select` applied to every tensor, whose first axis is S."""
        return Questions(*(_select(operand, select) for operand in (self.first, self.second)))


class _LookUp(torch.autograd.Function):
    """Rows by index, with the product with the one-hot matrix as the gradient.

    On CUDA it repeats to the bit, which scattered additions don't. On CPU they do, and take a tenth of its time.
    """

    @staticmethod
    def forward(ctx: Any, per_symbol: Tensor, symbols: Tensor, one_hot: Tensor) -> Tensor:
        ctx.save_for_backward(one_hot)
        return rows_at(per_symbol, symbols)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (one_hot,) = ctx.saved_tensors
        return one_hot.mT @ gradient, None, None  # (S, q, n) @ (S, n, f)


def _operand(symbols: Tensor, q: int, one_hot: torch.dtype | None) -> Operand:
    return Operand(symbols, None if one_hot is None else torch.nn.functional.one_hot(symbols, q).to(one_hot))


def _pick(operand: Operand, index: Tensor) -> Operand:
    one_hot = None if operand.one_hot is None else rows_at(operand.one_hot, index)
    return Operand(operand.symbols.gather(1, index), one_hot)


def _select(operand: Operand, select: Callable[[Tensor], Tensor]) -> Operand:
    return Operand(select(operand.symbols), None if operand.one_hot is None else select(operand.one_hot))


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """`table[s, index[s]]` for every seed s: (S, r, f), (S, n) → (S, n, f)."""
    seeds, rows, features = table.shape
    if seeds > 1:
        index = index + torch.arange(0, seeds * rows, rows, device=index.device)[:, None]
    return table.reshape(seeds * rows, features).index_select(0, index.reshape(-1)).view(seeds, -1, features)
