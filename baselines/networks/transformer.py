"""One-layer transformer of Nanda et al. 2023 (arXiv 2301.05217): tokens `a b =`, read at the last position.

ReLU, learned positions, no layer norm, nothing tied; weights drawn as in the authors' notebook, 1/√d (1/√q for the output).
Only the last position is read, and in one layer it attends to what each symbol alone decides: keys, values and scores belong
to symbols, not to questions.

Shapes: S seeds, n questions, q symbols, d residual width, H heads of width d/H, m hidden width of the MLP.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding, pad
from typing_extensions import override

from baselines.networks.network import Parameters, TableNetwork, heads, normal
from baselines.networks.products import product, relu_product
from baselines.networks.questions import Questions

ALIGNMENT = 16  # numbers; sums of rows whose width isn't a multiple of it take several times as long


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
    def hidden_weights(self) -> tuple[str, ...]:
        return ("query", "key", "value", "output", "mlp_in", "mlp_out")

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        d, m, scale = self.width, self.mlp_width, 1 / sqrt(self.width)
        return {
            "embed": normal(generator, num_symbols + 1, d, scale=scale),  # the last row is "="
            "position": normal(generator, 3, d, scale=scale),
            "query": normal(generator, d, d, scale=scale),
            "key": normal(generator, d, d, scale=scale),
            "value": normal(generator, d, d, scale=scale),
            "output": normal(generator, d, d, scale=scale),
            "mlp_in": normal(generator, d, m, scale=scale),
            "mlp_in_bias": torch.zeros(m),
            "mlp_out": normal(generator, m, d, scale=scale),
            "mlp_out_bias": torch.zeros(d),
            "unembed": normal(generator, d, num_symbols, scale=1 / sqrt(num_symbols)),
        }

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        p = parameters
        weights, values, constant = self._attend(p, questions)
        x = constant + questions.sum(self._rows(values, p["output"]), weights=weights)
        hidden = product(x, p["mlp_in"], p["mlp_in_bias"], relu=True)  # (S, n, m)
        x = x + product(hidden, p["mlp_out"], p["mlp_out_bias"])  # (S, n, d)
        return product(x, p["unembed"]), x

    @override
    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        p, m, q = parameters, self.mlp_width, parameters["unembed"].shape[-1]
        if not self._folds(q):
            return self.forward(parameters, questions)[0]
        # Without layer norm the stream meets only matrices, so those in a row are multiplied with each other first.
        weights, values, constant = self._attend(p, questions)
        to_hidden, to_logits = (product(p["output"], _aligned(p[name])) for name in ("mlp_in", "unembed"))
        before = questions.sum(self._rows(values, to_hidden), weights=weights)[..., :m]
        direct = questions.sum(self._rows(values, to_logits), weights=weights)[..., :q]
        shift = (constant @ p["mlp_in"]).squeeze(-2) + p["mlp_in_bias"]  # (S, m)
        same = (constant + p["mlp_out_bias"].unsqueeze(-2)) @ p["unembed"]  # (S, 1, q)
        return direct + relu_product(before, product(p["mlp_out"], p["unembed"]), same.squeeze(-2), shift)

    def _attend(self, p: Parameters, questions: Questions) -> tuple[Tensor, Tensor, Tensor]:
        """Attention of the last position: each question's weights (S, n, 2, H) of the values (S, H, 2q, d/H), one per operand.

        With them what every question's stream has besides, (S, 1, d).
        """
        q, end = questions.num_symbols, p["embed"][:, -1:] + p["position"][:, 2:]  # (S, 1, d)
        operands = [p["embed"][:, :-1] + p["position"][:, i : i + 1] for i in (0, 1)]
        x = torch.cat([*operands, end], dim=1)  # (S, 2q + 1, d), all that is ever attended to
        # There is one query, so the matrix of the keys is multiplied with it first: (S, d, H).
        scoring = heads(p["key"] * (end @ p["query"]), self.heads).sum(-1) / sqrt(self.width // self.heads)
        to_a, to_b, to_end = (x @ scoring).split([q, q, 1], dim=1)  # type: ignore[no-untyped-call]
        score_a, score_b = questions.look_up(0, to_a), questions.look_up(1, to_b)  # (S, n, H)
        weights = torch.stack([score_a, score_b, to_end.expand_as(score_a)], dim=2).softmax(dim=2)[:, :, :2]
        values = product(x, p["value"])
        value = heads(values, self.heads)
        # The three weights add up to one, so the last one needs no row: the others' values count from its.
        beyond = (value[:, :-1] - value[:, -1:]).transpose(1, 2)
        return weights, beyond, end + values[:, -1:] @ p["output"]

    def _rows(self, values: Tensor, output: Tensor) -> Tensor:
        """What the values bring to the stream, or beyond it: (S, H, 2q, d/H), (S, d, f) → (S, H, 2q, f)."""
        return values @ output.view(-1, self.heads, self.width // self.heads, output.shape[-1])

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        p = parameters
        equals = torch.full_like(inputs[:, :1], len(p["embed"]) - 1)
        x = embedding(torch.cat([inputs, equals], dim=1), p["embed"]) + p["position"]  # (n, 3, d)
        query, key, value = (heads(x @ p[name], self.heads).transpose(1, 2) for name in ("query", "key", "value"))
        scores = query @ key.mT / sqrt(key.shape[-1])  # (n, H, 3, 3)
        future = torch.ones(3, 3, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ value  # (n, H, 3, d/H)
        x = x + mixed.transpose(1, 2).flatten(2) @ p["output"]  # (n, 3, d)
        x = x[:, -1:] if last_only else x
        hidden = torch.relu(x @ p["mlp_in"] + p["mlp_in_bias"])  # (n, 3, m)
        x = x + hidden @ p["mlp_out"] + p["mlp_out_bias"]
        return (x @ p["unembed"])[:, -1], x[:, -1]

    def _folds(self, num_symbols: int) -> bool:
        """Whether folding saves products; with very many symbols, wide logits make it cost some."""
        d, m = self.width, self.mlp_width
        return m * num_symbols < d * (2 * m + num_symbols)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        d, m, q, rows = self.width, self.mlp_width, num_symbols, 2 * num_symbols + 1
        attention = d * d + rows * d * (d + self.heads)
        if not self._folds(q):
            return 2 * (attention + rows * d * d + questions * (2 * self.heads * d + 2 * d * m + d * q))
        folded = d * d * (m + q) + m * d * q + rows * d * (m + q)
        return 2 * (attention + folded + questions * (2 * self.heads * (m + q) + m * q))


def _aligned(x: Tensor) -> Tensor:
    """`x` (…, f) with zeros up to the next width whose rows are summed fast."""
    return pad(x, (0, -x.shape[-1] % ALIGNMENT))
