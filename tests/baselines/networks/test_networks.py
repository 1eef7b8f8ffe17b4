"""Every network's fast forward and its gradients against the reference forward, over random shapes, seeds and questions."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.mlp import MLP
from baselines.networks.network import Network, Parameters, TableNetwork
from baselines.networks.questions import Questions
from baselines.networks.transformer import Transformer
from baselines.training.losses import LOSSES

NETWORKS: list[TableNetwork] = [
    MLP(hidden=(32,), activation="quadratic", init_scale=1.0),
    MLP(hidden=(24, 16), activation="relu", init_scale=0.5),
    MLP(hidden=(8, 8, 8), activation="quadratic", init_scale=1.0),
    Transformer(width=16, heads=4, mlp_width=32),
    Decoder(width=16, heads=2, layers=1),
    Decoder(width=16, heads=2, layers=2),
    Decoder(width=8, heads=1, layers=3),
]
DEEP_MLP = DeepMLP(inputs=30, depth=4, width=8, init_scale=1.0)
PADDED = Transformer(width=12, heads=3, mlp_width=20)  # no width is a multiple of 16
WIDE_MLP = Transformer(width=4, heads=2, mlp_width=64)  # with many symbols, its logits are those of `forward`


def random_parameters(network: TableNetwork, num_symbols: int, seeds: range) -> Parameters:
    """Float64 parameters of several seeds, (S, …) each."""
    members = [network.init_params(num_symbols, Generator().manual_seed(seed)) for seed in seeds]
    return {name: torch.stack([member[name] for member in members]).double().requires_grad_() for name in members[0]}


def random_case(
    network: TableNetwork, *, num_symbols: int, seeds: int, num_questions: int, seed: int
) -> tuple[Parameters, Tensor, Tensor]:
    """Parameters, operands (S, n, 2), and a weight for every logit, (S, n, q)."""
    generator = Generator().manual_seed(seed)
    operands = torch.randint(0, num_symbols, (seeds, num_questions, 2), generator=generator)
    weight = torch.randn(seeds, num_questions, num_symbols, generator=generator, dtype=torch.float64)
    return random_parameters(network, num_symbols, range(seeds)), operands, weight


def reference(network: TableNetwork, parameters: Parameters, operands: Tensor, *, last_only: bool = False) -> list[Tensor]:
    """Logits (S, n, q) and features (S, n, Σd) of the reference forward, seed by seed."""
    members = [
        network.reference_forward({name: tensor[seed] for name, tensor in parameters.items()}, questions, last_only)
        for seed, questions in enumerate(operands)
    ]
    return [torch.stack(parts) for parts in zip(*members, strict=True)]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@settings(max_examples=8, deadline=None)
@given(num_symbols=st.integers(2, 13), seeds=st.integers(1, 4), num_questions=st.integers(1, 40), seed=st.integers(0, 1000))
def test_fast_forward_equals_the_reference(network: TableNetwork, num_symbols: int, **sizes: int) -> None:
    """Logits, features and all gradients agree up to rounding, also where the last position alone is computed."""
    parameters, operands, weight = random_case(network, num_symbols=num_symbols, **sizes)

    def results(logits: Tensor, features: Tensor) -> list[Tensor]:
        loss = (logits * weight).sum() + features.square().sum()
        return [logits, features, *torch.autograd.grad(loss, list(parameters.values()))]

    expected = results(*reference(network, parameters, operands))
    fast = results(*network.forward(parameters, Questions(operands, num_symbols)))
    last_only = results(*reference(network, parameters, operands, last_only=True))
    torch.testing.assert_close(fast, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(last_only, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", [*NETWORKS, PADDED, WIDE_MLP], ids=str)
@settings(max_examples=8, deadline=None)
@given(num_symbols=st.integers(2, 13), seeds=st.integers(1, 4), num_questions=st.integers(1, 40), seed=st.integers(0, 1000))
def test_logits_for_training_equal_the_reference(network: TableNetwork, num_symbols: int, **sizes: int) -> None:
    """The logits that training differentiates have the values and gradients of the reference."""
    parameters, operands, weight = random_case(network, num_symbols=num_symbols, **sizes)

    def results(logits: Tensor) -> list[Tensor]:
        return [logits, *torch.autograd.grad((logits * weight).sum(), list(parameters.values()))]

    fast = results(network.logits(parameters, Questions(operands, num_symbols)))
    torch.testing.assert_close(fast, results(reference(network, parameters, operands)[0]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_shapes_and_feature_dims(network: TableNetwork) -> None:
    """Features are as wide as `feature_dims` says, and logits have a column for every symbol."""
    questions = Questions(torch.zeros(2, 5, 2, dtype=torch.int64), 7)
    logits, features = network.forward(random_parameters(network, 7, range(2)), questions)
    assert logits.shape == (2, 5, 7)
    assert features.shape == (2, 5, sum(network.feature_dims))


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_members_are_taken_by_their_indices(network: TableNetwork) -> None:
    """The taken questions are those of members 2 and 0, in this order."""
    _, operands, _ = random_case(network, num_symbols=7, seeds=3, num_questions=5, seed=0)
    taken = network.encode(operands, 7, torch.float64).take_members(torch.tensor([2, 0]))
    assert torch.equal(taken.operands, operands[[2, 0]])


@pytest.mark.parametrize("network", [*NETWORKS, PADDED, WIDE_MLP], ids=str)
def test_gradients_for_training_are_those_of_the_reference(network: TableNetwork) -> None:
    """They replace what `into` held before, and come with the loss of every member."""
    parameters, operands, _ = random_case(network, num_symbols=7, seeds=2, num_questions=9, seed=0)
    answers = torch.randint(7, (2, 9), generator=Generator().manual_seed(1))
    into = {name: torch.full_like(parameter, torch.nan) for name, parameter in reversed(parameters.items())}
    loss = network.gradients(parameters, Questions(operands, 7), answers, LOSSES["cross_entropy"], into)
    logits = reference(network, parameters, operands)[0]
    expected = torch.stack([torch.nn.functional.cross_entropy(x, y) for x, y in zip(logits, answers, strict=True)])
    torch.testing.assert_close(loss, expected.detach())
    gradients = torch.autograd.grad(expected.sum(), list(parameters.values()))
    torch.testing.assert_close(into, dict(zip(parameters, gradients, strict=True)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [*NETWORKS, WIDE_MLP, DEEP_MLP], ids=str)
def test_flops_are_those_that_torch_counts(network: Network[Any]) -> None:
    """For sizes without padding. torch counts products alone, so a transformer's sums over operands and heads are added."""
    num_symbols, count = 16, 50
    member = network.init_params(num_symbols, Generator().manual_seed(0))
    inputs = torch.rand(1, count, 30) if isinstance(network, DeepMLP) else torch.zeros(1, count, 2, dtype=torch.int64)
    questions = network.encode(inputs, num_symbols, torch.float32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.logits({name: parameter.unsqueeze(0) for name, parameter in member.items()}, questions)
    sums = 0
    if isinstance(network, Transformer):
        features = network.width if network is WIDE_MLP else network.mlp_width + num_symbols
        sums = 2 * count * 2 * network.heads * features
    assert network.flops(num_symbols, count) == counter.get_total_flops() + sums


def test_power_decoder_has_the_published_number_of_parameters() -> None:
    """Power et al.: about 4·10⁵ parameters without embeddings."""
    parameters = Decoder(width=128, heads=4, layers=2).init_params(97, Generator().manual_seed(0))
    count = sum(p.numel() for name, p in parameters.items() if name not in ("embed", "unembed"))
    assert 3.9e5 < count < 4.0e5


@pytest.mark.parametrize(
    ("kind", "values", "name"),
    [
        (MLP, {"hidden": (), "activation": "relu", "init_scale": 1.0}, "hidden"),
        (MLP, {"hidden": (4,), "activation": "gelu", "init_scale": 1.0}, "activation"),
        (Transformer, {"width": 10, "heads": 3, "mlp_width": 4}, "width must be a multiple of heads, got 10 and 3"),
        (Decoder, {"width": 10, "heads": 3, "layers": 1}, "width must be a multiple of heads, got 10 and 3"),
    ],
)
def test_bad_hyperparameters_are_refused(kind: type, values: dict[str, Any], name: str) -> None:
    """The error names the hyperparameter."""
    with pytest.raises(ValueError, match=name):
        kind(**values)
