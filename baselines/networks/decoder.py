"""Decoder-only transformer of Power et al. 2022 (arXiv 2201.02177; openai/grok): tokens `EOS a ∘ b =`, answer read at `=`.

Layer norm after attention and after the MLP, ReLU, sinusoidal positions, no biases, PyTorch's default initialization. The
paper also predicts the closing EOS and counts it in the loss; this network doesn't. Its vocabulary is the task's own.

`reference_forward` computes every position of every question. `forward` gives the same numbers faster. In a causal network the
residual stream at a position depends only on the tokens up to it, its prefix:

    position     EOS       a       ∘       b       =
    depends on   nothing   a       a       a, b    a, b

So `forward` computes a stream once for each distinct prefix: 1, q or n rows. The last layer is computed at `=` alone.

Shapes: S seeds, n questions, q symbols, d residual width, H heads, r distinct prefixes (1, q or n).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import sqrt

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding
from typing_extensions import override

from baselines.fields import PositiveCount, hyperparameters
from baselines.networks.network import AttentionNetwork, Parameters, heads, normal, uniform
from baselines.networks.products import product
from baselines.networks.questions import Questions

NOTHING, FIRST, SECOND, BOTH = "nothing", "first", "second", "both"  # the operands that a row depends on
TOKENS = (NOTHING, FIRST, NOTHING, SECOND, NOTHING)  # for each position, what its own token EOS, a, ∘, b or = depends on
PREFIXES = (NOTHING, FIRST, FIRST, BOTH, BOTH)  # for each position, what the tokens up to it depend on
LENGTH = len(TOKENS)


@dataclass(frozen=True)
class Streams:
    """A tensor for each position, with one row for each value of the operands that it depends on."""

    tensors: dict[int, Tensor]  # position → (S, r, f)
    depends_on: tuple[str, ...]
    questions: Questions
    _expanded: dict[tuple[int, str], Tensor] = field(default_factory=dict, repr=False)

    def times(self, weights: Tensor, positions: Sequence[int]) -> "Streams":
        """The streams at `positions` times the same `weights` (S, f, g), in one product: (S, r, g) each."""
        sources = [self.tensors[position] for position in positions]
        products = product(torch.cat(sources, dim=1), weights).split([x.shape[1] for x in sources], dim=1)  # type: ignore[no-untyped-call]
        return Streams(dict(zip(positions, products, strict=True)), self.depends_on, self.questions)

    def expand(self, source: int, prefix: str) -> Tensor:
        """The stream at position `source` with a row for each value of `prefix`, or a single row, which broadcasts.

        Positions with the same prefix share the looked-up rows.
        """
        if (source, prefix) not in self._expanded:
            self._expanded[source, prefix] = self._look_up(source, prefix)
        return self._expanded[source, prefix]

    def _look_up(self, source: int, prefix: str) -> Tensor:
        rows, depends_on = self.tensors[source], self.depends_on[source]
        if depends_on in (prefix, NOTHING):
            return rows
        return self.questions.look_up(0 if depends_on == FIRST else 1, rows)


@hyperparameters
class Decoder(AttentionNetwork):
    """Hyperparameters of the network, beside those of `AttentionNetwork`. The MLPs have 4d hidden units.

    Attributes:
        layers: attention and MLP, so many times.
    """

    layers: PositiveCount

    @property
    @override
    def hidden_weights(self) -> tuple[str, ...]:
        names = ("query", "key", "value", "output", "mlp_in", "mlp_out")
        return tuple(f"{name}{layer}" for layer in range(self.layers) for name in names)

    @property
    @override
    def fan_in_first(self) -> tuple[str, ...]:
        return (*self.hidden_weights, "unembed")

    @override
    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        d, bound = self.width, 1 / sqrt(self.width)
        parameters = {"embed": normal(generator, num_symbols + 3, d, scale=1.0)}  # the last rows are EOS, ∘ and =
        for i in range(self.layers):
            for name in ("query", "key", "value", "output"):
                parameters[f"{name}{i}"] = uniform(generator, d, d, bound=bound)
            parameters[f"mlp_in{i}"] = uniform(generator, d, 4 * d, bound=bound)
            parameters[f"mlp_out{i}"] = uniform(generator, 4 * d, d, bound=bound / 2)
            for half in ("attention", "mlp"):
                parameters[f"{half}_norm{i}"], parameters[f"{half}_norm_bias{i}"] = torch.ones(d), torch.zeros(d)
        parameters["unembed"] = uniform(generator, d, num_symbols, bound=bound)
        return parameters

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        p = parameters
        eos, operation, equals = (torch.full_like(inputs[:, 0], len(p["embed"]) - i) for i in (3, 2, 1))  # (n,) each
        tokens = torch.stack([eos, inputs[:, 0], operation, inputs[:, 1], equals], dim=1)  # (n, 5)
        x = embedding(tokens, p["embed"])  # (n, 5, d)
        x = x + _positions(LENGTH, self.width, x.dtype, x.device)  # (n, 5, d)
        future = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=x.device).triu(1)  # (5, 5)
        for layer in range(self.layers):
            projections = (x @ p[f"{name}{layer}"] for name in ("query", "key", "value"))  # (n, 5, d) each
            query, key, value = (heads(y, self.heads).transpose(1, 2) for y in projections)  # (n, H, 5, d/H) each
            scores = query @ key.mT / sqrt(key.shape[-1])  # (n, H, 5, 5)
            mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ value  # (n, H, 5, d/H)
            mixed = mixed.transpose(1, 2).flatten(2)  # (n, 5, d)
            if last_only and layer == self.layers - 1:
                x, mixed = x[:, -1:], mixed[:, -1:]  # (n, 1, d) each
            x = _norm(
                x + mixed @ p[f"output{layer}"], p[f"attention_norm{layer}"], p[f"attention_norm_bias{layer}"]
            )  # (n, 5, d)
            hidden = torch.relu(x @ p[f"mlp_in{layer}"])  # (n, 5, 4d)
            x = _norm(x + hidden @ p[f"mlp_out{layer}"], p[f"mlp_norm{layer}"], p[f"mlp_norm_bias{layer}"])  # (n, 5, d)
        return (x @ p["unembed"])[:, -1], x[:, -1]  # (n, q), (n, d)

    @override
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        streams = self._embed(parameters, questions)
        for layer in range(self.layers):
            streams = self._layer(parameters, layer, streams)
        x = streams.tensors[LENGTH - 1]  # (S, n, d)
        return product(x, parameters["unembed"]), x  # (S, n, q), (S, n, d)

    def _embed(self, p: Parameters, questions: Questions) -> Streams:
        encodings = _positions(LENGTH, self.width, p["embed"].dtype, p["embed"].device)  # (5, d)
        operands = p["embed"][:, :-3]  # (S, q, d)
        eos, operation, equals = p["embed"][:, -3:, None].unbind(1)  # (S, 1, d) each
        tokens = (eos, operands, operation, operands, equals)
        return Streams({position: x + encodings[position] for position, x in enumerate(tokens)}, TOKENS, questions)

    def _layer(self, p: Parameters, layer: int, streams: Streams) -> Streams:
        """The streams after a layer, one row for each distinct prefix."""
        positions = self._computed_positions(layer)
        keys_values = streams.times(torch.cat([p[f"key{layer}"], p[f"value{layer}"]], dim=-1), range(LENGTH))  # (S, r, 2d) each
        queries = streams.times(p[f"query{layer}"], positions)  # (S, r, d) each
        before, mixed = [], []
        for position in positions:
            prefix = PREFIXES[position]
            past = [keys_values.expand(source, prefix) for source in range(position + 1)]  # (S, r, 2d) each
            mixed.append(self._attend(queries.expand(position, prefix), past))  # (S, r, d)
            before.append(streams.expand(position, prefix).expand_as(mixed[-1]))  # (S, r, d)
        after = self._block(p, layer, torch.cat(before, dim=1), torch.cat(mixed, dim=1))  # (S, Σr, d)
        parts = after.split([x.shape[1] for x in mixed], dim=1)  # type: ignore[no-untyped-call]  # (S, r, d) each
        return Streams(dict(zip(positions, parts, strict=True)), PREFIXES, streams.questions)

    def _computed_positions(self, layer: int) -> range:
        """All positions, or in the last layer `=` alone."""
        return range(LENGTH) if layer < self.layers - 1 else range(LENGTH - 1, LENGTH)

    def _attend(self, query: Tensor, keys_values: list[Tensor]) -> Tensor:
        """Attention of a position to itself and all before it: (S, r, d) and (S, r or 1, 2d) each → (S, r, d)."""
        if len(keys_values) == 1:
            return keys_values[0][..., self.width :]  # (S, r, d)
        keys, values = zip(
            *(heads(kv, 2 * self.heads).chunk(2, dim=-2) for kv in keys_values), strict=True
        )  # (S, r, H, d/H) each
        queries = heads(query, self.heads)  # (S, r, H, d/H)
        scores = [(queries * key).sum(-1) / sqrt(key.shape[-1]) for key in keys]  # (S, r, H) each
        rows = max(score.shape[1] for score in scores)
        weights = torch.stack([score.expand(-1, rows, -1) for score in scores]).softmax(dim=0).unsqueeze(-1)  # (5, S, r, H, 1)
        mixed: Tensor = weights[0] * values[0]  # (S, r, H, d/H)
        for weight, value in zip(weights[1:], values[1:], strict=True):
            mixed = mixed + weight * value  # (S, r, H, d/H); the gradient of addcmul would be slower by two passes
        return mixed.flatten(2)  # (S, r, d)

    def _block(self, p: Parameters, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of a layer after attention: (S, r, d) → (S, r, d)."""
        x = x + product(mixed, p[f"output{layer}"])  # (S, r, d)
        x = _norm(x, p[f"attention_norm{layer}"], p[f"attention_norm_bias{layer}"])  # (S, r, d)
        hidden = product(x, p[f"mlp_in{layer}"], relu=True)  # (S, r, 4d)
        x = x + product(hidden, p[f"mlp_out{layer}"])  # (S, r, d)
        return _norm(x, p[f"mlp_norm{layer}"], p[f"mlp_norm_bias{layer}"])  # (S, r, d)

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        rows = {NOTHING: 1, FIRST: num_symbols, SECOND: num_symbols, BOTH: questions}
        depends_on = TOKENS
        total = 0  # multiply-adds, in units of d²
        for layer in range(self.layers):
            total += sum(2 * rows[depends_on[source]] for source in range(LENGTH))  # keys and values
            positions = self._computed_positions(layer)
            total += sum(rows[depends_on[i]] + 9 * rows[PREFIXES[i]] for i in positions)  # queries; output and MLP
            depends_on = PREFIXES
        return 2 * (total * self.width**2 + questions * self.width * num_symbols)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer norm over d with a weight and a bias for each seed: (S, r, d) and (S, d) each → (S, r, d)."""
    normalized = torch.nn.functional.layer_norm(x, x.shape[-1:])  # (S, r, d)
    return torch.addcmul(bias.unsqueeze(-2), normalized, weight.unsqueeze(-2))  # (S, r, d)


@lru_cache(maxsize=8)
def _positions(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sinusoidal positions (length, d): sine in even dimensions, cosine in odd dimensions."""
    even = torch.arange(width, device=device) // 2 * 2  # (d,)
    angle = torch.arange(length, device=device)[:, None] / 10_000 ** (even / width)  # (length, d)
    odd = torch.arange(width, device=device) % 2 == 1  # (d,)
    return torch.where(odd, angle.cos(), angle.sin()).to(dtype)  # (length, d)
