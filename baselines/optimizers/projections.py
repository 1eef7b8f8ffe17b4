"""Projection: after every update weights are scaled back to a norm.

`mode = "clip"` with `c` is the rule of Clip to Grok (github.com/NiftyliuS/cliptogrok): w ← w · min(1, c/‖w‖).

Shapes: S members.
"""

from collections.abc import Collection
from typing import Annotated

import torch
from torch import Tensor

from baselines.fields import Positive, check, hyperparameters, one_of
from baselines.networks.network import Parameters

SMALLEST = 1e-30  # keeps the quotient of a norm that is zero finite

Norms = dict[str, Tensor]


@hyperparameters
class Projection:
    """Scales weights to the norm that they had at initialization, or to `c`.

    Attributes:
        norm: `rows` scales every weight vector of a matrix: the weights into a unit, or the vector of a symbol. `global` scales
            all weights together.
        names: the parameters that are scaled; None takes every matrix for `rows`, and every parameter for `global`.
        mode: `fix` keeps the norm, `clip` only limits it.
        c: the norm; None takes each norm at initialization.
    """

    norm: Annotated[str, one_of(("rows", "global"))]
    names: tuple[str, ...] | None = None
    mode: Annotated[str, one_of(("fix", "clip"))] = "fix"
    c: Positive | None = None

    def check_names(self, parameters: Collection[str]) -> None:
        """Raise RecipeError if `names` has a name that the network's parameters don't have."""
        unknown = sorted(set(self.names or ()) - set(parameters))
        check(not unknown, f"[projection] names {', '.join(unknown)}: the parameters are {', '.join(parameters)}")

    def start(self, parameters: Parameters, fan_in_first: Collection[str]) -> Norms:
        """The norms before the first step, by the parameters' names. With `global` they have a single name.

        Args:
            parameters: name → (S, …).
            fan_in_first: the matrices that are stored (fan-in, fan-out), whose weight vectors are columns.
        """
        return {name: norm.clone() for name, norm in self._norms(parameters, fan_in_first).items()}

    def apply(self, parameters: Parameters, norms: Norms, fan_in_first: Collection[str]) -> None:
        """Scale `parameters`, name → (S, …), in place, to the norms of `start`."""
        for name, norm in self._norms(parameters, fan_in_first).items():
            wanted = torch.full_like(norm, self.c) if self.c else norms[name]  # (S, …)
            scale = wanted / norm.clamp(min=SMALLEST)  # (S, …)
            scale = scale.clamp(max=1.0) if self.mode == "clip" else scale
            for chosen in [name] if self.norm == "rows" else self._chosen(parameters):
                values = parameters[chosen].detach()
                values.mul_(scale if self.norm == "rows" else scale.view(-1, *[1] * (values.ndim - 1)))

    def _norms(self, parameters: Parameters, fan_in_first: Collection[str]) -> Norms:
        """The norms of weight vectors, (S, rows, 1) or (S, 1, columns), by name; or the norm (S,) of all weights."""
        chosen = self._chosen(parameters)
        if self.norm == "rows":
            axes = {name: -2 if name in fan_in_first else -1 for name in chosen}  # the axis that a weight vector lies along
            return {name: parameters[name].detach().norm(dim=axis, keepdim=True) for name, axis in axes.items()}
        squares = [parameters[name].detach().flatten(1).square().sum(1) for name in chosen]  # (S,) each
        return {"global": torch.stack(squares).sum(0).sqrt()}

    def _chosen(self, parameters: Parameters) -> list[str]:
        least = 3 if self.norm == "rows" else 0  # axes with S: a matrix of each member
        return [name for name in self.names or parameters if self.names or parameters[name].ndim >= least]
