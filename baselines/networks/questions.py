"""Questions (a, b) about a table of q symbols, and the one idea that makes the baselines fast, exactly.

A table has q² questions but only q first operands and q second ones. Whatever a network computes from one operand alone is
computed once per symbol and is a row of a table; a question sums rows of it: each distinct prefix once. The gradient sums the
other way round, over the questions that took a row, in an order that never changes.

Shapes: S seeds, n questions, q symbols, k operands, H heads, f any number of features.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Rows(Protocol):
    """Something with n rows for each of S members."""

    def pick(self, index: Tensor) -> Self:
        """The rows at `index` (S, m) of each member."""

    def take_members(self, take: Callable[[Tensor], Tensor]) -> Self:
        """The same with `select` applied to every tensor, whose first axis is S."""


@dataclass(frozen=True)
class Questions:
    """n questions for each of S seeds."""

    operands: Tensor  # (S, n, 2) int64
    num_symbols: int  # q
    _sums: dict[tuple[tuple[int, ...], int], "_Sums"] = field(default_factory=dict, compare=False, repr=False)

    def look_up(self, operand: int, per_symbol: Tensor) -> Tensor:
        """The row of each question's operand 0 or 1: (S, q, f) → (S, n, f)."""
        return self.sum(per_symbol.unsqueeze(1), (operand,))

    def sum(self, table: Tensor, operands: tuple[int, ...] = (0, 1), weights: Tensor | None = None) -> Tensor:
        """The sum of each question's rows over operands and heads: (S, H, k·q, f) → (S, n, f).

        A head's table has q rows for each operand; `weights` (S, n, k, H) multiply the rows, 1 where left out.
        """
        seeds, heads, _, features = table.shape
        if (operands, heads) not in self._sums:
            chosen = self.operands[
                ..., operands[0] : operands[-1] + 1
            ]  # a list would be copied from the host, which no graph holds
            self._sums[operands, heads] = _Sums.of(chosen, heads, self.num_symbols)
        flat = None if weights is None else weights.reshape(-1, len(operands) * heads)
        return self._sums[operands, heads](table.reshape(-1, features), flat).view(seeds, -1, features)

    def pick(self, index: Tensor) -> "Questions":
        """The questions at `index` (S, m) of each seed."""
        return Questions(self.operands.gather(1, index.unsqueeze(-1).expand(-1, -1, 2)), self.num_symbols)

    def take_members(self, take: Callable[[Tensor], Tensor]) -> "Questions":
        """The questions with `select` applied to every tensor, whose first axis is S."""
        return Questions(take(self.operands), self.num_symbols)


@dataclass(frozen=True)
class _Sums:
    """Which of r rows are summed, K at a time, and the transpose: which sums took each row."""

    rows: Tensor  # (n, K)
    order: Tensor  # (n·K,), the entries of `rows` row by row
    takers: Tensor  # (n·K,), the sum that each of them belongs to
    starts: Tensor  # (r,), where each row's begin

    @staticmethod
    def of(operands: Tensor, heads: int, num_symbols: int) -> "_Sums":
        """Those of operands (S, n, k), in tables (S, H, k·q, f)."""
        seeds, _, count = operands.shape
        everything = torch.arange(seeds * heads * count * num_symbols, device=operands.device)
        first = everything[::num_symbols].view(seeds, 1, heads, count).mT  # (S, 1, k, H), where each operand's rows begin
        rows = (first + operands.unsqueeze(-1)).reshape(-1, count * heads)
        in_order, order = rows.flatten().sort(stable=True)
        starts = torch.searchsorted(in_order, everything)
        return _Sums(rows, order, order // rows.shape[1], starts)

    def __call__(self, table: Tensor, weights: Tensor | None) -> Tensor:
        """(r, f), (n, K) → (n, f)."""
        # embedding_bag makes the weights' gradient; its own for the table takes several times as long as `_TableGradient`.
        sums = embedding_bag(self.rows, table.detach(), mode="sum", per_sample_weights=weights)
        if not table.requires_grad:
            return sums
        in_order = None if weights is None else weights.detach().flatten()[self.order]
        with_table: Tensor = _TableGradient.apply(sums, table, self.takers, self.starts, in_order)  # type: ignore[no-untyped-call]
        return with_table


class _TableGradient(torch.autograd.Function):
    """Sums of rows of `table`, linked to it by the transposed sum."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, table: Tensor, takers: Tensor, starts: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(takers, starts, weights)
        return sums.view_as(sums)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        takers, starts, weights = ctx.saved_tensors
        table = embedding_bag(takers, gradient.contiguous(), starts, mode="sum", per_sample_weights=weights)
        return gradient, table, None, None, None


@dataclass(frozen=True)
class Images:
    """n images for each of S members."""

    pixels: Tensor  # (S, n, k)

    def pick(self, index: Tensor) -> "Images":
        """The images at `index` (S, m) of each member."""
        return Images(_rows_at(self.pixels, index))

    def take_members(self, take: Callable[[Tensor], Tensor]) -> "Images":
        """The images of the members that `select` leaves."""
        return Images(take(self.pixels))


def _rows_at(table: Tensor, index: Tensor) -> Tensor:
    """`table[s, index[s]]` for every seed s: (S, r, f), (S, n) → (S, n, f)."""
    seeds, rows, features = table.shape
    if seeds > 1:
        index = index + torch.arange(0, seeds * rows, rows, device=index.device)[:, None]
    return table.reshape(seeds * rows, features).index_select(0, index.reshape(-1)).view(seeds, -1, features)
