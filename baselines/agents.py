"""The baseline agents that recipes name, made from the recipe's tables.

Every recipe has `[network]` and `[training]`. A recipe with `[gradient]` filters the gradients first. A recipe with `[muon]`
updates the matrices of the hidden layers by Muon.
"""

from typing import Any

from baselines.fields import check, from_table
from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.mlp import MLP
from baselines.networks.network import Network
from baselines.networks.transformer import Transformer
from baselines.optimizers.gradient_filters import FILTERS, Filter
from baselines.optimizers.muon import MuonSettings
from baselines.training.agent import NetworkAgent
from baselines.training.hyperparameters import Training

Table = dict[str, Any]


def mlp(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The MLP of `networks/mlp.py`."""
    return _agent(from_table(MLP, network), training, gradient, muon)


def transformer(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The one-layer transformer of `networks/transformer.py`."""
    return _agent(from_table(Transformer, network), training, gradient, muon)


def decoder(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The deeper causal transformer of `networks/decoder.py`."""
    return _agent(from_table(Decoder, network), training, gradient, muon)


def deep_mlp(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The deep MLP of `networks/deep_mlp.py`."""
    return _agent(from_table(DeepMLP, network), training, gradient, muon)


def _agent(network: Network[Any], training: Table, gradient: Table | None, muon: Table | None) -> NetworkAgent:
    return NetworkAgent(
        network,
        from_table(Training, training),
        gradient_filter=None if gradient is None else _filter(gradient),
        muon=None if muon is None else from_table(MuonSettings, muon),
    )


def _filter(table: Table) -> Filter:
    name = table.get("filter")
    check(name in FILTERS, f"[gradient] needs filter = one of {', '.join(FILTERS)}, got {name!r}")
    return from_table(FILTERS[str(name)], {key: value for key, value in table.items() if key != "filter"})
