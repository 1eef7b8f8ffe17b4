"""The baseline agents that recipes name, each made from the recipe's tables (`training/tables.py`)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from baselines.fields import from_table
from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.mlp import MLP
from baselines.networks.network import Network
from baselines.networks.transformer import Transformer
from baselines.training.agent import NetworkAgent
from baselines.training.tables import Table, method


def _trains(kind: type[Network[Any]]) -> Callable[..., NetworkAgent]:
    """The function that makes an agent with a network of this class."""

    @wraps(method)  # whose parameters are a recipe's tables
    def make(network: Table, *tables: Table, **named: Table) -> NetworkAgent:
        return NetworkAgent(method(from_table(kind, network, "network"), *tables, **named))

    return make


mlp = _trains(MLP)
transformer = _trains(Transformer)  # of a single layer
decoder = _trains(Decoder)  # the deeper causal transformer
deep_mlp = _trains(DeepMLP)
