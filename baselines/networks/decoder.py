"""Decoder-only transformer of Power et al. 2022 (arXiv 2201.02177; openai/grok): tokens `EOS a ∘ b =`, read at the last one.

Layer norm after each block's halves, ReLU, sinusoidal positions, no biases, PyTorch's default initialization. Unlike the
paper, the answer's closing EOS is neither predicted nor marked, and the vocabulary is the task's own.

A causal network's residual stream at a position depends on the tokens up to there alone: EOS on nothing, a and ∘ on a, b and =
on the question. `forward` computes each such stream once per distinct prefix, and in the last layer for "=" alone.

Shapes: S seeds, n questions, q symbols, d residual width, H heads, r distinct rows (1, q or n).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding
from typing_extensions import override

from baselines.networks.network import Parameters, TableNetwork, heads, normal, uniform
from baselines.networks.products import product
from baselines.networks.questions import Questions

LENGTH = 5  # EOS a ∘ b =
NOTHING, FIRST, SECOND, BOTH = "nothing", "first", "second", "both"  # what a row depends on
PREFIXES = (NOTHING, FIRST, FIRST, BOTH, BOTH)  # what the stream at each position depends on


@dataclass(frozen=True)
class Decoder(TableNetwork):
    """Hyperparameters of the network: residual width d, heads H, number of layers; the hidden width is 4d."""

    width: int
    heads: int
    layers: int

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
        names = ("query", "key", "value", "output", "mlp_in", "mlp_out")
        return tuple(f"{name}{layer}" for layer in range(self.layers) for name in names)

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
    def forward(self, parameters: Parameters, questions: Questions) -> tuple[Tensor, Tensor]:
        p = parameters
        embed, place = p["embed"], _positions(LENGTH, self.width, p["embed"].dtype, p["embed"].device)
        operands, (eos, operation, equals) = embed[:, :-3], embed[:, -3:, None].unbind(1)  # (S, q, d), (S, 1, d) each
        streams = [x + place[i] for i, x in enumerate((eos, operands, operation, operands, equals))]
        depends: tuple[str, ...] = (NOTHING, FIRST, NOTHING, SECOND, NOTHING)
        for layer in range(self.layers):
            read = range(LENGTH) if layer < self.layers - 1 else range(LENGTH - 1, LENGTH)
            streams = self._layer(p, layer, streams, depends, questions, read)
            depends = PREFIXES
        return product(streams[-1], p["unembed"]), streams[-1]

    def _layer(
        self, p: Parameters, layer: int, streams: list[Tensor], depends: tuple[str, ...], questions: Questions, read: range
    ) -> list[Tensor]:
        """The streams (S, r, d) at the positions in `read`, one row per distinct prefix; products of all positions at once."""
        keys_values = _together(streams, torch.cat([p[f"key{layer}"], p[f"value{layer}"]], dim=-1))  # (S, r, 2d) each
        queries = _together([streams[i] for i in read], p[f"query{layer}"])  # (S, r, d) each
        looked_up = {
            (j, prefix): _expand(keys_values[j], depends[j], prefix, questions)
            for prefix, last in {PREFIXES[i]: i for i in read}.items()
            for j in range(last + 1)
        }
        mixed, before = [], []
        for i, query in zip(read, queries, strict=True):
            prefix = PREFIXES[i]
            expanded = _expand(query, depends[i], prefix, questions)
            mixed.append(self._attend(expanded, [looked_up[j, prefix] for j in range(i + 1)]))
            before.append(_expand(streams[i], depends[i], prefix, questions).expand_as(mixed[-1]))
        after = self._block(p, layer, torch.cat(before, dim=1), torch.cat(mixed, dim=1))
        return list(after.split([x.shape[1] for x in mixed], dim=1))  # type: ignore[no-untyped-call]

    def _attend(self, query: Tensor, keys_values: list[Tensor]) -> Tensor:
        """Attention of one position to all up to it: (S, r, d) and (S, r or 1, 2d) each → (S, r, d)."""
        if len(keys_values) == 1:
            return keys_values[0][..., self.width :]
        keys, values = zip(*(heads(kv, 2 * self.heads).chunk(2, dim=-2) for kv in keys_values), strict=True)
        queries = heads(query, self.heads)  # (S, r, H, d/H)
        scores = [(queries * key).sum(-1) / sqrt(key.shape[-1]) for key in keys]  # (S, r, H)
        rows = max(score.shape[1] for score in scores)
        weights = torch.stack([score.expand(-1, rows, -1) for score in scores]).softmax(dim=0).unsqueeze(-1)
        mixed: Tensor = weights[0] * values[0]
        for weight, value in zip(weights[1:], values[1:], strict=True):
            mixed = mixed + weight * value  # addcmul's gradient would take two passes more
        return mixed.flatten(2)

    def _block(self, p: Parameters, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        """What follows attention in a layer: (S, r, d) → (S, r, d)."""
        x = _norm(x + product(mixed, p[f"output{layer}"]), p[f"attention_norm{layer}"], p[f"attention_norm_bias{layer}"])
        x = x + product(product(x, p[f"mlp_in{layer}"], relu=True), p[f"mlp_out{layer}"])
        return _norm(x, p[f"mlp_norm{layer}"], p[f"mlp_norm_bias{layer}"])

    @override
    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        p = parameters
        eos, operation, equals = (torch.full_like(inputs[:, 0], len(p["embed"]) - i) for i in (3, 2, 1))
        tokens = torch.stack([eos, inputs[:, 0], operation, inputs[:, 1], equals], dim=1)  # (n, 5)
        x = embedding(tokens, p["embed"])  # (n, 5, d)
        x = x + _positions(LENGTH, self.width, x.dtype, x.device)
        future = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=x.device).triu(1)
        for layer in range(self.layers):
            query, key, value = (
                heads(x @ p[f"{name}{layer}"], self.heads).transpose(1, 2) for name in ("query", "key", "value")
            )
            scores = query @ key.mT / sqrt(key.shape[-1])  # (n, H, 5, 5)
            mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ value  # (n, H, 5, d/H)
            mixed = mixed.transpose(1, 2).flatten(2)
            if last_only and layer == self.layers - 1:
                x, mixed = x[:, -1:], mixed[:, -1:]
            x = _norm(x + mixed @ p[f"output{layer}"], p[f"attention_norm{layer}"], p[f"attention_norm_bias{layer}"])
            hidden = torch.relu(x @ p[f"mlp_in{layer}"])
            x = _norm(x + hidden @ p[f"mlp_out{layer}"], p[f"mlp_norm{layer}"], p[f"mlp_norm_bias{layer}"])
        return (x @ p["unembed"])[:, -1], x[:, -1]

    @override
    def flops(self, num_symbols: int, questions: int) -> int:
        d = self.width
        rows = {NOTHING: 1, FIRST: num_symbols, SECOND: num_symbols, BOTH: questions}
        depends: tuple[str, ...] = (NOTHING, FIRST, NOTHING, SECOND, NOTHING)
        total = questions * d * num_symbols
        for layer in range(self.layers):
            read = range(LENGTH) if layer < self.layers - 1 else [LENGTH - 1]
            total += sum(rows[depends[j]] for j in range(LENGTH)) * 2 * d * d
            total += sum(rows[depends[i]] * d * d + rows[PREFIXES[i]] * 9 * d * d for i in read)
            depends = PREFIXES
        return 2 * total


def _together(streams: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Each stream's product with the same weights, (S, r, d) → (S, r, f), in one."""
    products = product(torch.cat(streams, dim=1), weights)
    return list(products.split([x.shape[1] for x in streams], dim=1))  # type: ignore[no-untyped-call]


def _expand(rows: Tensor, depends: str, prefix: str, questions: Questions) -> Tensor:
    """Rows for what `depends` names as rows for `prefix`; a single row broadcasts by itself."""
    if depends in (prefix, NOTHING):
        return rows
    return questions.look_up(0 if depends == FIRST else 1, rows)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer norm over d with a weight and bias for every seed."""
    normal = torch.nn.functional.layer_norm(x, x.shape[-1:])
    return torch.addcmul(bias.unsqueeze(-2), normal, weight.unsqueeze(-2))


@lru_cache(maxsize=8)
def _positions(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sinusoidal positions, (length, d): sine on even dimensions, cosine on odd ones."""
    even = torch.arange(width, device=device) // 2 * 2
    angle = torch.arange(length, device=device)[:, None] / 10_000 ** (even / width)
    odd = torch.arange(width, device=device) % 2 == 1
    return torch.where(odd, angle.cos(), angle.sin()).to(dtype)
