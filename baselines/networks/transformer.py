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

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding
from typing_extensions import override

from baselines.fields import PositiveCount, hyperparameters
from baselines.networks.attention import Attention
from baselines.networks.folded import FoldedPass
from baselines.networks.network import AttentionNetwork, Loss, Parameters, heads, normal
from baselines.networks.products import product
from baselines.networks.questions import Questions


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
        attention = Attention.of(p, questions, self.heads)
        mixed = questions.sum(attention.table(p["output"]), weights=attention.weights)  # (S, n, d)
        x = attention.constant + mixed  # (S, n, d)
        h = product(x, p["mlp_in"], p["mlp_in_bias"], relu=True)  # (S, n, m)
        x = x + product(h, p["mlp_out"], p["mlp_out_bias"])  # (S, n, d)
        return product(x, p["unembed"]), x  # (S, n, q), (S, n, d)

    @override
    def logits(self, parameters: Parameters, questions: Questions) -> Tensor:
        if not self._folding_saves(questions.num_symbols):
            return self.forward(parameters, questions)[0]
        return FoldedPass(parameters, questions, self.heads).logits  # (S, n, q)

    @override
    def gradients(
        self, parameters: Parameters, questions: Questions, answers: Tensor, loss_of: Loss, into: Parameters
    ) -> Tensor:
        if not self._folding_saves(questions.num_symbols):
            return super().gradients(parameters, questions, answers, loss_of, into)
        with torch.no_grad():
            folded = FoldedPass(parameters, questions, self.heads)
            loss, to_logits = loss_of(folded.logits, answers)  # (S,), (S, n, q)
            folded.backward(to_logits, into)
        return loss

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
