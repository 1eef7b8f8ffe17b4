"""Where the parameters of a network lie in the rows of a buffer (S, P).

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor

from baselines.networks.network import Parameters

ALIGNMENT = 16  # numbers; every parameter starts at a multiple of it in its row


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in a member's row of the buffer (S, P).

    Attributes:
        shapes: name → the shape of a single member's parameter.
        columns: name → its columns, without padding.
        width: P, padding included.
    """

    shapes: Mapping[str, torch.Size]
    columns: Mapping[str, slice]
    width: int

    @staticmethod
    def of(shapes: Mapping[str, torch.Size]) -> "Layout":
        """Parameters of these shapes side by side, in this order, each padded to a multiple of `ALIGNMENT`."""
        columns, start = {}, 0
        for name, shape in shapes.items():
            columns[name] = slice(start, start + prod(shape))
            start += ceil(prod(shape) / ALIGNMENT) * ALIGNMENT
        return Layout(shapes, columns, start)

    def transposed(self, names: Collection[str]) -> "Layout":
        """The layout in which these matrices have their axes exchanged. Columns and width are the same."""
        shapes = {name: shape[::-1] if name in names else shape for name, shape in self.shapes.items()}
        return Layout(shapes, self.columns, self.width)

    def views(self, rows: Tensor) -> Parameters:
        """The parameters that lie in `rows` (S, P): name → (S, …)."""
        return {name: rows[:, self.columns[name]].view(len(rows), *shape) for name, shape in self.shapes.items()}

    def packed(self, members: Sequence[Parameters], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """A new buffer (S, P) with the parameters of S single members."""
        rows = torch.zeros(len(members), self.width, dtype=dtype, device=device)  # (S, P)
        for name, view in self.views(rows).items():
            view.copy_(torch.stack([parameters[name] for parameters in members]))  # (S, …)
        return rows

    def in_use(self, device: torch.device) -> Tensor:
        """Which columns hold a parameter, and not padding: (P,), bool."""
        used = torch.zeros(self.width, dtype=torch.bool, device=device)  # (P,)
        for columns in self.columns.values():
            used[columns] = True
        return used
