"""One-layer transformer of Nanda et al. 2023 (arXiv 2301.05217): tokens `a b =`, answer read at `=`.

ReLU, learned positions, no layer norm, no tied weights. Weights are drawn as in the authors' notebook: Gaussian with standard
deviation 1/√d, and 1/√q for the unembedding.

`reference_forward` computes every position of every question. `forward` gives the same numbers faster, by this algebra:

    Attention at `=` has weights w_a + w_b + w_end = 1 for each head. (W_O is that head's slice of the output matrix.)
    The residual stream after attention is therefore

        x = x_end + Σ_heads (w_a·v_a + w_b·v_b + w_end·v_end)·W_O
          = c + Σ_heads Σ_i w_i·(v_i − v_end)·W_O,   i = a, b
        c = x_end + Σ_heads v_end·W_O

    v_a, v_b and all attention scores depend on single symbols, so they are rows of tables with 2q rows (`questions.py`).
    Only the weights w_i belong to a question.

`logits`, which training differentiates, goes further. Without layer norm, the residual stream only meets matrices:

    h      = relu(x·W_in + b_in)
    logits = (x + h·W_out + b_out)·W_U
           = x·W_U + relu(x·W_in + b_in)·(W_out·W_U) + b_out·W_U

    x·W_U and x·W_in are sums of rows again, of the tables (v_i − v_end)·(W_O·W_U) and (v_i − v_end)·(W_O·W_in).
    So the stream x of a question is never computed, only its two products.

Shapes: S seeds, n questions, q symbols, d residual width, H heads of width d/H, m hidden width of the MLP.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding, pad
from typing_extensions import override

from baselines.fields import PositiveCount, hyperparameters
from baselines.networks.network import AttentionNetwork, Parameters, heads, normal
from baselines.networks.products import product, relu_product
from baselines.networks.questions import Questions

ROW_ALIGNMENT = 16  # sums of rows are several times slower if the rows' width isn't a multiple of 16 numbers


class Attention(NamedTuple):
    """Attention at `=`: the stream after it is `constant` plus the weighted `values` times W_O."""

    weights: Tensor  # (S, n, 2, H): w_a and w_b
    values: Tensor  # (S, H, 2q, d/H): v_i − v_end, the first q rows for operand a
    constant: Tensor  # (S, 1, d): c


@hyperparameters
class Transformer(AttentionNetwork):
    """Hyperparameters of the network, beside those of `AttentionNetwork`.

    Attributes:
        mlp_width: m, hidden units of the MLP.
    """

    mlp_width: PositiveCount

    @property
    @override
    def hidden_weights(self) -> tuple[str, ...]:
        return ("query", "key", "value", "output", "mlp_in", "mlp_out")

    @property
    @override
    def fan_in_first(self) -> tuple[str, ...]:
        return (*self.hidden_weights, "unembed")

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
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        p = parameters
        equals = torch.full_like(inputs[:, :1], len(p["embed"]) - 1)  # (n, 1)
        tokens = torch.cat([inputs, equals], dim=1)  # (n, 3)
        x = embedding(tokens, p["embed"]) + p["position"]  # (n, 3, d)
        query, key, value = (heads(x @ p[name], self.heads).transpose(1, 2) for name in ("query", "key", "value"))
        scores = query @ key.mT / sqrt(key.shape[-1])  # (n, H, 3, 3)
        future = torch.ones(3, 3, dtype=torch.bool, device=x.device).triu(1)  # (3, 3)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ value  # (n, H, 3, d/H)
        x = x + mixed.transpose(1, 2).flatten(2) @ p["output"]  # (n, 3, d)
        x = x[:, -1:] if last_only else x  # (n, 1 or 3, d)
        hidden = torch.relu(x @ p["mlp_in"] + p["mlp_in_bias"])  # (n, 1 or 3, m)
        x = x + hidden @ p["mlp_out"] + p["mlp_out_bias"]  # (n, 1 or 3, d)
        return (x @ p["unembed"])[:, -1], x[:, -1]  # (n, q), (n, d)

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        p = parameters
        attention = self._attend(p, questions)
        x = attention.constant + self._weighted_sum(attention, p["output"], questions)  # (S, n, d)
        h = product(x, p["mlp_in"], p["mlp_in_bias"], relu=True)  # (S, n, m)
        x = x + product(h, p["mlp_out"], p["mlp_out_bias"])  # (S, n, d)
        return product(x, p["unembed"]), x  # (S, n, q), (S, n, d)

    @override
    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        p, m, q = parameters, self.mlp_width, parameters["unembed"].shape[-1]
        if not self._folding_saves(q):
            return self.forward(parameters, questions)[0]
        attention = self._attend(p, questions)
        c = attention.constant  # (S, 1, d)
        output_in = product(p["output"], _aligned(p["mlp_in"]))  # (S, d, m padded): W_O·W_in
        output_unembed = product(p["output"], _aligned(p["unembed"]))  # (S, d, q padded): W_O·W_U
        out_unembed = product(p["mlp_out"], p["unembed"])  # (S, m, q): W_out·W_U
        # x·W_in + b_in = x_in + bias_in, and x·W_U + b_out·W_U = x_unembed + bias_unembed; the biases hold the terms of c.
        x_in = self._weighted_sum(attention, output_in, questions)[..., :m]  # (S, n, m)
        x_unembed = self._weighted_sum(attention, output_unembed, questions)[..., :q]  # (S, n, q)
        bias_in = (c @ p["mlp_in"]).squeeze(-2) + p["mlp_in_bias"]  # (S, m)
        bias_unembed = (c + p["mlp_out_bias"].unsqueeze(-2)) @ p["unembed"]  # (S, 1, q)
        return x_unembed + relu_product(x_in, out_unembed, bias_unembed.squeeze(-2), bias_in)  # (S, n, q)

    def _attend(self, p: Parameters, questions: Questions) -> Attention:
        q = questions.num_symbols
        x_a = p["embed"][:, :-1] + p["position"][:, :1]  # (S, q, d)
        x_b = p["embed"][:, :-1] + p["position"][:, 1:2]  # (S, q, d)
        x_end = p["embed"][:, -1:] + p["position"][:, 2:]  # (S, 1, d)
        x = torch.cat([x_a, x_b, x_end], dim=1)  # (S, 2q + 1, d), every vector that `=` can attend to
        # The only query is that of `=`. So W_K is multiplied with it first: one column for each head.
        keys_query = heads(p["key"] * (x_end @ p["query"]), self.heads).sum(-1) / sqrt(self.width // self.heads)  # (S, d, H)
        score_a, score_b, score_end = (x @ keys_query).split([q, q, 1], dim=1)  # type: ignore[no-untyped-call]  # (S, q or 1, H)
        scores_a, scores_b = questions.look_up(0, score_a), questions.look_up(1, score_b)  # (S, n, H)
        scores = torch.stack([scores_a, scores_b, score_end.expand_as(scores_a)], dim=2)  # (S, n, 3, H)
        w = scores.softmax(dim=2)[:, :, :2]  # (S, n, 2, H)
        all_values = product(x, p["value"])  # (S, 2q + 1, d)
        v = heads(all_values, self.heads)  # (S, 2q + 1, H, d/H)
        v_minus_end = (v[:, :-1] - v[:, -1:]).transpose(1, 2)  # (S, H, 2q, d/H)
        return Attention(w, v_minus_end, x_end + all_values[:, -1:] @ p["output"])

    def _weighted_sum(self, attention: Attention, matrix: Tensor, questions: Questions) -> Tensor:
        """Σ_heads Σ_i w_i·(v_i − v_end)·matrix for a `matrix` (S, d, f) whose rows are split among heads: (S, n, f)."""
        per_head = matrix.view(-1, self.heads, self.width // self.heads, matrix.shape[-1])  # (S, H, d/H, f)
        return questions.sum(attention.values @ per_head, weights=attention.weights)  # (S, n, f)

    def _folding_saves(self, num_symbols: int) -> bool:
        """Whether `logits` needs fewer products without x; with very many symbols, q columns cost more than d."""
        d, m = self.width, self.mlp_width
        return m * num_symbols < d * (2 * m + num_symbols)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        d, m, q, rows = self.width, self.mlp_width, num_symbols, 2 * num_symbols + 1
        attention = d * d + rows * d * (d + self.heads)
        if not self._folding_saves(q):
            return 2 * (attention + rows * d * d + questions * (2 * self.heads * d + 2 * d * m + d * q))
        matrices = d * d * (1 + m + q) + m * d * q + rows * d * (m + q)  # the 1 is v_end·W_O
        return 2 * (attention + matrices + questions * (2 * self.heads * (m + q) + m * q))


def _aligned(matrix: Tensor) -> Tensor:
    """`matrix` (…, f) padded with zero columns to a multiple of `ROW_ALIGNMENT`."""
    return pad(matrix, (0, -matrix.shape[-1] % ROW_ALIGNMENT))
