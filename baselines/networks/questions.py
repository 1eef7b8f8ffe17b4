"""Questions (a, b) about a table of q symbols, and the idea that makes the baselines fast without approximation.

A table has q² questions, but only q first operands and q second operands. So a network computes everything that depends on a
single operand once for each symbol, as rows of a table. A question then sums the rows of its operands. The gradient of a row
sums over the questions that took it, always in the same order.

Shapes: S seeds, n questions, q symbols, k operands, H heads, f features, m picked questions.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor


class Rows(Protocol):
    """n questions for each of S members, of any kind."""

    def pick(self, index: Tensor) -> Self:
        """The m questions at `index` (S, m) of each member."""

    def take_members(self, indices: Tensor) -> Self:
        """The questions of these members, `indices` (s,)."""


@dataclass(frozen=True)
class Questions:
    """n questions for each of S seeds."""

    operands: Tensor  # (S, n, 2) int64
    num_symbols: int  # q
    _sums: dict[tuple[tuple[int, ...], int], "_Sums"] = field(default_factory=dict, compare=False, repr=False)

    def look_up(self, operand: int, per_symbol: Tensor) -> Tensor:
        """The row of each question's first operand (0) or second operand (1): (S, q, f) → (S, n, f)."""
        return self.sum(per_symbol.unsqueeze(1), (operand,))

    def sum(self, table: Tensor, operands: tuple[int, ...] = (0, 1), weights: Tensor | None = None) -> Tensor:
        """For each question, the weighted sum of its operands' rows over operands and heads: (S, H, k·q, f) → (S, n, f).

        Args:
            table: q rows for each operand and head.
            operands: the operands whose rows are summed, k of them; neighbors in ascending order.
            weights: (S, n, k, H), multiplied with the rows. By default every weight is 1.
        """
        seeds, heads, _, features = table.shape
        sums = self._sums_of(operands, heads)
        return sums(table.reshape(-1, features), _flat(weights)).view(seeds, -1, features)  # (S, n, f)

    def to_table(self, gradient: Tensor, operands: tuple[int, ...] = (0, 1), weights: Tensor | None = None) -> Tensor:
        """The gradient of the table from that of `sum`: (S, n, f) → (S, H, k·q, f). Without weights there is one head."""
        seeds, _, features = gradient.shape
        heads = 1 if weights is None else weights.shape[-1]
        to_table = self._sums_of(operands, heads).to_table(gradient.flatten(0, 1), _flat(weights))  # (R, f)
        return to_table.view(seeds, heads, -1, features)

    def to_weights(self, gradient: Tensor, table: Tensor, operands: tuple[int, ...] = (0, 1)) -> Tensor:
        """The gradient of the weights from that of `sum` and the table: (S, n, f), (S, H, k·q, f) → (S, n, k, H)."""
        seeds, heads, _, features = table.shape
        to_weights = self._sums_of(operands, heads).to_weights(gradient.flatten(0, 1), table.reshape(-1, features))  # (N·K,)
        return to_weights.view(seeds, -1, len(operands), heads)

    def _sums_of(self, operands: tuple[int, ...], heads: int) -> "_Sums":
        if (operands, heads) not in self._sums:
            # A slice and not a list: a list is copied from the host to the device, which a CUDA graph can't capture.
            chosen = self.operands[..., operands[0] : operands[-1] + 1]  # (S, n, k)
            self._sums[operands, heads] = _Sums.of(chosen, heads, self.num_symbols)
        return self._sums[operands, heads]

    def pick(self, index: Tensor) -> "Questions":
        """The m questions at `index` (S, m) of each seed."""
        return Questions(self.operands.gather(1, index.unsqueeze(-1).expand(-1, -1, 2)), self.num_symbols)

    def take_members(self, indices: Tensor) -> "Questions":
        """The questions of these seeds, `indices` (s,)."""
        return Questions(self.operands.index_select(0, indices), self.num_symbols)


@dataclass(frozen=True)
class _Sums:
    """Sums of K table rows each, N of them, and the transpose for the gradient. The table has R rows."""

    rows: Tensor  # (N·K,), the table rows that each sum takes, sum after sum
    order: Tensor  # (N·K,), the entries of `rows` sorted by table row
    takers: Tensor  # (N·K,), the sum to which each sorted entry belongs
    starts: Tensor  # (R,), where the entries of each table row start
    first: Tensor  # (N,), where the entries of each sum start in `rows`
    sums: Tensor  # (N·K,), the sum to which each entry of `rows` belongs

    @staticmethod
    def of(operands: Tensor, heads: int, num_symbols: int) -> "_Sums":
        """The sums of the questions `operands` (S, n, k) in tables (S, H, k·q, f): N = S·n, K = k·H, R = S·H·k·q."""
        seeds, _, count = operands.shape
        every_row = torch.arange(seeds * heads * count * num_symbols, device=operands.device)  # (R,)
        first_row = every_row[::num_symbols].view(seeds, 1, heads, count).mT  # (S, 1, k, H)
        rows = (first_row + operands.unsqueeze(-1)).flatten()  # (N·K,)
        sorted_rows, order = rows.sort(stable=True)  # (N·K,) each
        starts = torch.searchsorted(sorted_rows, every_row)  # (R,)
        entries, width = torch.arange(len(rows), device=operands.device), count * heads  # (N·K,), K
        return _Sums(rows, order, order // width, starts, entries[::width], entries // width)

    def __call__(self, table: Tensor, weights: Tensor | None) -> Tensor:
        """A table (R, f) and weights (N·K,) → (N, f)."""
        # embedding_bag differentiates the weights. Its gradient of the table is several times slower than `_TableGradient`.
        sums = _embedding_bag(table.detach(), self.rows, self.first, weights)  # (N, f)
        if not table.requires_grad:
            return sums
        linked: Tensor = _TableGradient.apply(sums, table, self, weights)  # type: ignore[no-untyped-call]
        return linked

    def to_table(self, gradient: Tensor, weights: Tensor | None) -> Tensor:
        """The gradient of the table from that of the sums (N, f): the transposed sum, (R, f)."""
        sorted_weights = None if weights is None else weights[self.order]  # (N·K,)
        return _embedding_bag(gradient.contiguous(), self.takers, self.starts, sorted_weights)

    def to_weights(self, gradient: Tensor, table: Tensor) -> Tensor:
        """The gradient of the weights from that of the sums (N, f) and the table (R, f): (N·K,)."""
        of_embedding_bag = torch.ops.aten._embedding_bag_per_sample_weights_backward
        to_weights: Tensor = of_embedding_bag(gradient, table, self.rows, self.first, self.sums, 0)  # 0 is "sum"
        return to_weights


class _TableGradient(torch.autograd.Function):
    """Identity on `sums` whose backward pass also gives the gradient of `table`, by the transposed sum."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, table: Tensor, of: _Sums, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.of = of
        return sums.view_as(sums)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return gradient, ctx.of.to_table(gradient, weights), None, None


def _embedding_bag(rows: Tensor, entries: Tensor, starts: Tensor, weights: Tensor | None) -> Tensor:
    """`torch.nn.functional.embedding_bag` in mode "sum", without the ten microseconds that its checks take."""
    mode = 0  # "sum"
    return torch.embedding_bag(rows, entries, starts, False, mode, False, weights, False, None)[0]


def _flat(weights: Tensor | None) -> Tensor | None:
    """Weights (S, n, k, H) of all sums, (N·K,)."""
    return None if weights is None else weights.flatten()


@dataclass(frozen=True)
class Images:
    """n images for each of S members."""

    pixels: Tensor  # (S, n, k)

    def pick(self, index: Tensor) -> "Images":
        """The m images at `index` (S, m) of each member."""
        members, count, features = self.pixels.shape
        if members > 1:
            index = index + torch.arange(0, members * count, count, device=index.device)[:, None]  # (S, m)
        rows = self.pixels.reshape(members * count, features).index_select(0, index.reshape(-1))  # (S·m, k)
        return Images(rows.view(members, -1, features))

    def take_members(self, indices: Tensor) -> "Images":
        """The images of these members, `indices` (s,)."""
        return Images(self.pixels.index_select(0, indices))
