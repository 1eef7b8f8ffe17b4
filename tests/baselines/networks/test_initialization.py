"""Initial parameters, against the distributions that the papers name."""

from typing import Any

import pytest
import torch
from torch import Generator

from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.mlp import MLP
from baselines.networks.network import Network, Parameters
from baselines.networks.transformer import Transformer

WIDE_MLP = MLP(hidden=(300, 200), activation="relu", init_scale=3.0)
TRANSFORMER = Transformer(width=128, heads=4, mlp_width=512)
DECODER = Decoder(width=128, heads=4, layers=2)
DEEP_MLP = DeepMLP(inputs=784, depth=4, width=50, init_scale=8.0)
NETWORKS: list[Network[Any]] = [WIDE_MLP, TRANSFORMER, DECODER, DEEP_MLP]


def drawn(network: Network[Any], num_symbols: int = 113, seed: int = 0) -> Parameters:
    """The initial parameters of a seed."""
    return network.init_params(num_symbols, Generator().manual_seed(seed))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_the_generator_alone_decides(network: Network[Any]) -> None:
    """The same seed gives the same parameters to the bit; no two parameters and no two seeds share random numbers."""
    first = drawn(network)
    torch.manual_seed(7)
    again, other = drawn(network), drawn(network, seed=1)
    for name, parameter in first.items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, again[name])
    random = [
        parameter.flatten()[:8] for parameters in (first, other) for parameter in parameters.values() if parameter.std() > 0
    ]
    shapes = {tuple((numbers / numbers.abs().max()).tolist()) for numbers in random}
    assert len(shapes) == len(random)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_hidden_weights_are_the_matrices_between_hidden_layers(network: Network[Any]) -> None:
    """Layer by layer. These matrices don't grow with the number of answers, and neither positions nor pixels enter them."""
    small, large = drawn(network, 7), drawn(network, 11)
    outer = {"position", "weight0"}
    matrices = [name for name, p in small.items() if p.ndim == 2 and p.shape == large[name].shape and name not in outer]
    assert list(network.hidden_weights) == matrices


def gaussian(name: str, parameters: Parameters) -> float:
    """The standard deviation of a parameter that has a normal distribution's share beyond two deviations, 4.6 %."""
    numbers = parameters[name].flatten()
    assert (numbers.abs() > 2 * numbers.std()).float().mean().item() == pytest.approx(0.0455, abs=0.015)
    return numbers.std().item()


def uniform_bound(name: str, parameters: Parameters) -> float:
    """The bound of a parameter whose standard deviation is that of a uniform distribution."""
    numbers = parameters[name]
    bound = numbers.abs().max().item()
    assert numbers.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert numbers.mean().item() == pytest.approx(0, abs=0.03 * bound)
    return bound


def test_mlp_weights_have_the_variance_of_one_over_fan_in() -> None:
    """Two of the 2q one-hot inputs are on, so the fan-in of the first layer is 2."""
    parameters = drawn(WIDE_MLP)
    scales = {name: gaussian(name, parameters) for name in parameters}
    expected = {"layer0": 2, "layer1": 300, "layer2": 200}
    assert scales == pytest.approx({name: 3 / fan_in**0.5 for name, fan_in in expected.items()}, rel=0.03)


def test_transformer_weights_are_those_of_the_authors_notebook() -> None:
    """Gaussian with deviation 1/√d = 1/√128, the unembedding 1/√q = 1/√113, and biases zero. Nanda et al. 2023."""
    parameters = drawn(TRANSFORMER)
    biases = {"mlp_in_bias", "mlp_out_bias"}
    assert not any(parameters[name].any() for name in biases)
    scales = {name: gaussian(name, parameters) for name in parameters.keys() - biases}
    assert scales.pop("unembed") == pytest.approx(113**-0.5, rel=0.03)
    assert scales.pop("position") == pytest.approx(128**-0.5, rel=0.15)  # 384 numbers alone
    assert list(scales.values()) == pytest.approx([128**-0.5] * len(scales), rel=0.03)
    assert parameters["embed"].shape == (114, 128)


def test_decoder_weights_are_pytorchs_defaults() -> None:
    """nn.Embedding is standard normal, nn.Linear uniform within 1/√fan-in, and nn.LayerNorm starts as the identity."""
    parameters = drawn(DECODER)
    assert gaussian("embed", parameters) == pytest.approx(1, rel=0.03)
    assert parameters["embed"].shape == (116, 128)
    for name in parameters.keys() - {"embed"}:
        if "norm" in name:
            assert torch.equal(parameters[name], torch.full((128,), float("bias" not in name)))
        else:
            fan_in = 512 if name.startswith("mlp_out") else 128
            assert uniform_bound(name, parameters) == pytest.approx(fan_in**-0.5, rel=0.01)
