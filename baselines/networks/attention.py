"""Attention of the one-layer transformer at `=`, with its gradients written down. `transformer.py` has the algebra.

`d…` names the gradient of a variable. Shapes: S seeds, n questions, q symbols, d residual width, H heads of width d/H.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from baselines.networks.network import Parameters, heads
from baselines.networks.products import product
from baselines.networks.questions import Questions


@dataclass(frozen=True)
class Attention:
    """The stream after attention is `constant` plus the weighted `values` times W_O. The rest is kept for `backward`."""

    parameters: Parameters
    questions: Questions
    num_heads: int
    x: Tensor  # (S, 2q + 1, d): every vector that `=` can attend to, its own last
    query: Tensor  # (S, 1, d): of `=`, divided by √(d/H)
    keys_query: Tensor  # (S, d, H): W_K times the query
    all_weights: Tensor  # (S, n, 3, H): w_a, w_b and w_end
    values: Tensor  # (S, H, 2q, d/H): v_i − v_end, the first q rows for operand a
    v_end: Tensor  # (S, 1, d)
    constant: Tensor  # (S, 1, d): c

    @classmethod
    def of(cls, parameters: Parameters, questions: Questions, num_heads: int) -> Self:
        """The attention in the questions."""
        p, q = parameters, questions.num_symbols
        x_a = p["embed"][:, :-1] + p["position"][:, :1]  # (S, q, d)
        x_b = p["embed"][:, :-1] + p["position"][:, 1:2]  # (S, q, d)
        x_end = p["embed"][:, -1:] + p["position"][:, 2:]  # (S, 1, d)
        x = torch.cat([x_a, x_b, x_end], dim=1)  # (S, 2q + 1, d)
        # The only query is that of `=`. So W_K is multiplied with it first: one column for each head.
        query = x_end @ p["query"] / sqrt(x.shape[-1] // num_heads)  # (S, 1, d)
        keys_query = heads(p["key"] * query, num_heads).sum(-1)  # (S, d, H)
        score_a, score_b, score_end = (x @ keys_query).split([q, q, 1], dim=1)  # type: ignore[no-untyped-call]  # (S, q or 1, H)
        scores_a, scores_b = questions.look_up(0, score_a), questions.look_up(1, score_b)  # (S, n, H)
        scores = torch.stack([scores_a, scores_b, score_end.expand_as(scores_a)], dim=2)  # (S, n, 3, H)
        all_values = product(x, p["value"])  # (S, 2q + 1, d)
        v_end = all_values[:, -1:]  # (S, 1, d)
        values = heads(all_values[:, :-1] - v_end, num_heads).transpose(1, 2)  # (S, H, 2q, d/H)
        constant = x_end + v_end @ p["output"]  # (S, 1, d)
        return cls(parameters, questions, num_heads, x, query, keys_query, scores.softmax(dim=2), values, v_end, constant)

    @property
    def weights(self) -> Tensor:
        """w_a and w_b, (S, n, 2, H)."""
        return self.all_weights[:, :, :2]

    def table(self, matrix: Tensor) -> Tensor:
        """The `values` times a matrix (S, d, f) whose rows are split among heads, (S, H, 2q, f)."""
        return self.values @ self._per_head(matrix)

    def backward(self, dweights: Tensor, dvalues: Tensor, dconstant: Tensor, into: Parameters) -> None:
        """Write the gradients of embedding, positions, W_Q, W_K and W_V to `into`.

        Args:
            dweights: (S, n, 2, H).
            dvalues: (S, H, 2q, d/H).
            dconstant: (S, 1, d).
            into: name → (S, …).
        """
        p, q, num_heads, x = self.parameters, self.questions.num_symbols, self.num_heads, self.x
        mean = (self.weights * dweights).sum(2, keepdim=True)  # (S, n, 1, H)
        dscores = self.weights * (dweights - mean)  # (S, n, 2, H)
        dscore_end = -(self.all_weights[:, :, 2] * mean.squeeze(2)).sum(1, keepdim=True)  # (S, 1, H)
        dscore_a, dscore_b = (self.questions.to_table(dscores[:, :, i], (i,))[:, 0] for i in range(2))  # (S, q, H) each
        dscore = torch.cat([dscore_a, dscore_b, dscore_end], dim=1)  # (S, 2q + 1, H)
        dv = dvalues.transpose(1, 2).flatten(2)  # (S, 2q, d)
        dv_end = dconstant @ p["output"].mT - dv.sum(1, keepdim=True)  # (S, 1, d)
        dv = torch.cat([dv, dv_end], dim=1)  # (S, 2q + 1, d)
        into["value"].copy_(x.mT @ dv)
        dkeys_query = (x.mT @ dscore).unsqueeze(-1)  # (S, d, H, 1)
        into["key"].copy_((dkeys_query * heads(self.query, num_heads)).flatten(2))
        dquery = (dkeys_query * heads(p["key"], num_heads)).sum(1).flatten(1).unsqueeze(1)  # (S, 1, d)
        dquery /= sqrt(x.shape[-1] // num_heads)
        into["query"].copy_(x[:, -1:].mT * dquery)
        dx = dv @ p["value"].mT + dscore @ self.keys_query.mT  # (S, 2q + 1, d)
        dx[:, -1:] += dconstant + dquery @ p["query"].mT
        into["embed"][:, :-1].copy_(dx[:, :q]).add_(dx[:, q:-1])
        into["embed"][:, -1].copy_(dx[:, -1])
        for position, rows in enumerate(dx.split([q, q, 1], dim=1)):  # type: ignore[no-untyped-call]
            torch.sum(rows, 1, out=into["position"][:, position])

    def table_backward(self, dtable: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of `values` and of the matrix, from that of `table`: (S, H, 2q, d/H) and (S, d, f)."""
        return dtable @ self._per_head(matrix).mT, (self.values.mT @ dtable).flatten(1, 2)

    def _per_head(self, matrix: Tensor) -> Tensor:
        """(S, d, f) → (S, H, d/H, f)."""
        return matrix.view(len(matrix), self.num_heads, -1, matrix.shape[-1])
