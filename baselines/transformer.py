"""One-layer transformer of Nanda et al. 2023 (arXiv 2301.05217): tokens `a b =`, read at the last position.

ReLU, learned positions, no layer norm, nothing tied; weights drawn as in the authors' notebook, 1/√d (1/√q for the output).
Only the last position is read, and in one layer it attends to what each symbol alone decides: keys, values and scores belong
to symbols, not to questions.

Shapes: S seeds, n questions, q symbols, d residual width, H heads of width d/H, m hidden width of the MLP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding
from typing_extensions import override

from baselines.networks import Parameters, TableNetwork, heads, normal
from baselines.questions import Questions


@dataclass(frozen=True)
class Transformer(TableNetwork):
    """Hyperparameters of the network: residual width d, heads H, hidden width m of the MLP."""

    width: int
    heads: int
    mlp_width: int

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return (self.width,)

    @property
    @override
    def matrices(self) -> tuple[str, ...]:
        return ("query", "key", "value", "output", "mlp_in", "mlp_out")

    @override
    def draw(self, symbols: int, generator: Generator) -> Parameters:
        d, m, scale = self.width, self.mlp_width, 1 / sqrt(self.width)
        return {
            "embed": normal(generator, symbols + 1, d, scale=scale),  # the last row is "="
            "position": normal(generator, 3, d, scale=scale),
            "query": normal(generator, d, d, scale=scale),
            "key": normal(generator, d, d, scale=scale),
            "value": normal(generator, d, d, scale=scale),
            "output": normal(generator, d, d, scale=scale),
            "mlp_in": normal(generator, d, m, scale=scale),
            "mlp_in_bias": torch.zeros(m),
            "mlp_out": normal(generator, m, d, scale=scale),
            "mlp_out_bias": torch.zeros(d),
            "unembed": normal(generator, d, symbols, scale=1 / sqrt(symbols)),
        }

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        mixed, end = self._attend(parameters, questions)
        return self._head(parameters, end + mixed @ parameters["output"])

    @override
    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        p = parameters
        if not self._folds(p["unembed"].shape[-1]):
            return self.forward(parameters, questions)[0]
        mixed, end = self._attend(p, questions)
        # Without layer norm the stream meets only matrices, so those in a row are multiplied with each other first.
        before = torch.baddbmm(end @ p["mlp_in"] + p["mlp_in_bias"].unsqueeze(-2), mixed, p["output"] @ p["mlp_in"])
        constant = (end + p["mlp_out_bias"].unsqueeze(-2)) @ p["unembed"]  # (S, 1, q)
        direct = torch.baddbmm(constant, mixed, p["output"] @ p["unembed"])  # (S, n, q)
        return torch.baddbmm(direct, torch.relu_(before), p["mlp_out"] @ p["unembed"])

    def _attend(self, p: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        """What the last position's heads gather, (S, n, d), and its own stream, the same for every question, (S, 1, d)."""
        symbols, equals = p["embed"][:, :-1], p["embed"][:, -1:]  # (S, q, d), (S, 1, d)
        end = equals + p["position"][:, 2:]  # (S, 1, d)
        query = heads(end @ p["query"], self.heads)  # (S, 1, H, d/H)
        score_a, value_a = self._score_and_value(p, symbols + p["position"][:, 0:1], query, questions.first.look_up)
        score_b, value_b = self._score_and_value(p, symbols + p["position"][:, 1:2], query, questions.second.look_up)
        score_end, value_end = self._score_and_value(p, end, query, lambda rows: rows)
        scores = torch.stack([score_a, score_b, score_end.expand_as(score_a)])  # (3, S, n, H)
        to_a, to_b, to_end = scores.softmax(dim=0).unsqueeze(-1)  # (S, n, H, 1) each
        return (to_a * value_a + to_b * value_b + to_end * value_end).flatten(2), end

    def _score_and_value(
        self, p: Parameters, x: Tensor, query: Tensor, look_up: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Score (S, n, H) and value (S, n, H, d/H) of every question's symbol, looked up among those of `x` (S, q, d)."""
        key = heads(x @ p["key"], self.heads)  # (S, q, H, d/H)
        score = (key * query).sum(-1) / sqrt(key.shape[-1])  # (S, q, H)
        return look_up(score), heads(look_up(x @ p["value"]), self.heads)

    @override
    def plain(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        p = parameters
        equals = torch.full_like(inputs[:, :1], len(p["embed"]) - 1)
        x = embedding(torch.cat([inputs, equals], dim=1), p["embed"]) + p["position"]  # (n, 3, d)
        query, key, value = (heads(x @ p[name], self.heads).transpose(1, 2) for name in ("query", "key", "value"))
        scores = query @ key.mT / sqrt(key.shape[-1])  # (n, H, 3, 3)
        future = torch.ones(3, 3, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ value  # (n, H, 3, d/H)
        x = x + mixed.transpose(1, 2).flatten(2) @ p["output"]  # (n, 3, d)
        logits, features = self._head(p, x[:, -1:] if last_only else x)
        return logits[:, -1], features[:, -1]

    def _head(self, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(x @ p["mlp_in"] + p["mlp_in_bias"].unsqueeze(-2))  # (S, n, m)
        x = x + hidden @ p["mlp_out"] + p["mlp_out_bias"].unsqueeze(-2)  # (S, n, d)
        return x @ p["unembed"], x

    def _folds(self, symbols: int) -> bool:
        """Whether folding saves products; with very many symbols, wide logits make it cost some."""
        d, m = self.width, self.mlp_width
        return m * symbols < d * (d + m)

    @override
    def flops(self, symbols: int, questions: int) -> int:
        d, m, q = self.width, self.mlp_width, symbols
        per_symbol = 2 * (2 * q + 1) * 2 * d * d
        if self._folds(q):
            return per_symbol + 2 * (d * d * m + d * d * q + m * d * q) + 2 * questions * (d * m + (d + m) * q)
        return per_symbol + 2 * questions * (d * d + 2 * d * m + d * q)
