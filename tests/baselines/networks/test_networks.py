"""Every network's fast forward against its plain one, gradients too, over random shapes, seeds and subsets of cells."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from baselines.networks.decoder import Decoder
from baselines.networks.mlp import MLP
from baselines.networks.network import Parameters, TableNetwork
from baselines.networks.questions import Questions
from baselines.networks.transformer import Transformer

NETWORKS: list[TableNetwork] = [
    MLP((32,), "quadratic", 1.0),
    MLP((24, 16), "relu", 0.5),
    MLP((8, 8, 8), "quadratic", 1.0),
    Transformer(16, 4, 32),
    Decoder(16, 2, 1),
    Decoder(16, 2, 2),
    Decoder(8, 1, 3),
]


def draw(network: TableNetwork, symbols: int, seeds: range) -> Parameters:
    """Float64 parameters of several seeds, with a leading axis."""
    drawn = [network.init_params(symbols, Generator().manual_seed(seed)) for seed in seeds]
    return {name: torch.stack([one[name] for one in drawn]).double().requires_grad_() for name in drawn[0]}


def case(network: TableNetwork, symbols: int, seeds: int, cells: int, seed: int) -> tuple[Parameters, Tensor, Tensor]:
    """Parameters, inputs (S, n, 2), and a weight for every logit, (S, n, q)."""
    generator = Generator().manual_seed(seed)
    inputs = torch.randint(0, symbols, (seeds, cells, 2), generator=generator)
    weight = torch.randn(seeds, cells, symbols, generator=generator, dtype=torch.float64)
    return draw(network, symbols, range(seeds)), inputs, weight


def plain(network: TableNetwork, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> list[Tensor]:
    """Logits and features of the plain forward, seed by seed, put together."""
    each = [network.reference_forward({k: v[s] for k, v in parameters.items()}, one, last_only) for s, one in enumerate(inputs)]
    return [torch.stack(part) for part in zip(*each, strict=True)]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@settings(max_examples=8, deadline=None)
@given(symbols=st.integers(2, 13), seeds=st.integers(1, 4), cells=st.integers(1, 40), seed=st.integers(0, 1000))
def test_fast_forward_equals_plain(network: TableNetwork, symbols: int, seeds: int, cells: int, seed: int) -> None:
    """Logits, features and all gradients agree to rounding."""
    parameters, inputs, weight = case(network, symbols, seeds, cells, seed)

    def results(logits: Tensor, features: Tensor) -> list[Tensor]:
        loss = (logits * weight).sum() + features.square().sum()
        return [logits, features, *torch.autograd.grad(loss, list(parameters.values()))]

    expected = results(*plain(network, parameters, inputs))
    for fast, right in zip(results(*network.forward(parameters, Questions(inputs, symbols))), expected, strict=True):
        torch.testing.assert_close(fast, right, rtol=1e-9, atol=1e-9)
    for last, right in zip(results(*plain(network, parameters, inputs, last_only=True)), expected, strict=True):
        torch.testing.assert_close(last, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", [*NETWORKS, Transformer(4, 2, 64)], ids=str)
@settings(max_examples=8, deadline=None)
@given(symbols=st.integers(2, 13), seeds=st.integers(1, 4), cells=st.integers(1, 40), seed=st.integers(0, 1000))
def test_logits_for_training_equal_plain(network: TableNetwork, symbols: int, seeds: int, cells: int, seed: int) -> None:
    """What training differentiates has the plain forward's values and gradients."""
    parameters, inputs, weight = case(network, symbols, seeds, cells, seed)
    results = [
        [logits, *torch.autograd.grad((logits * weight).sum(), list(parameters.values()))]
        for logits in (network.logits(parameters, Questions(inputs, symbols)), plain(network, parameters, inputs)[0])
    ]
    for fast, right in zip(*results, strict=True):
        torch.testing.assert_close(fast, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_shapes_and_feature_dims(network: TableNetwork) -> None:
    """Features are as wide as the network says, logits have a column for every symbol."""
    logits, features = network.forward(draw(network, 7, range(2)), Questions(torch.zeros(2, 5, 2, dtype=torch.int64), 7))
    assert logits.shape == (2, 5, 7)
    assert features.shape == (2, 5, sum(network.feature_dims))


def test_power_decoder_has_the_published_number_of_parameters() -> None:
    """Power et al.: about 4·10⁵ parameters without embeddings."""
    parameters = Decoder(128, 4, 2).init_params(97, Generator().manual_seed(0))
    count = sum(p.numel() for name, p in parameters.items() if name not in ("embed", "unembed"))
    assert 3.9e5 < count < 4.0e5


@pytest.mark.parametrize(("kind", "values"), [(MLP, ((), "relu", 1.0)), (MLP, ((4,), "gelu", 1.0)), (Transformer, (10, 3, 4))])
def test_bad_hyperparameters_are_refused(kind: type, values: tuple[object, ...]) -> None:
    """A network that can't be is refused with a message."""
    with pytest.raises(ValueError, match=r"hidden|activation|width"):
        kind(*values)
