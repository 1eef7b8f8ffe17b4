"""The baseline agents that recipes name, made from the recipe's tables.

`[network]` and `[training]` are always there; `[gradient]` (a filter) and `[muon]` where the recipe uses them.
"""

from dataclasses import fields
from typing import Any, TypeVar

from baselines.networks.decoder import Decoder
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.mlp import MLP
from baselines.networks.network import Network
from baselines.networks.transformer import Transformer
from baselines.optimizers.gradient_filters import FILTERS
from baselines.optimizers.muon import MuonSettings
from baselines.training.agent import NetworkAgent
from baselines.training.method import Training

Settings = TypeVar("Settings")
Table = dict[str, Any]


def mlp(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The MLP of `mlp.py`."""
    return _agent(_settings(MLP, network), training, gradient, muon)


def transformer(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The one-layer transformer of `transformer.py`."""
    return _agent(_settings(Transformer, network), training, gradient, muon)


def decoder(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The deeper causal transformer of `decoder.py`."""
    return _agent(_settings(Decoder, network), training, gradient, muon)


def deep_mlp(network: Table, training: Table, gradient: Table | None = None, muon: Table | None = None) -> NetworkAgent:
    """The deep MLP of `deep_mlp.py`."""
    return _agent(_settings(DeepMLP, network), training, gradient, muon)


def _agent(network: Network[Any], training: Table, gradient: Table | None, muon: Table | None) -> NetworkAgent:
    gradient_filter = None
    if gradient is not None:
        name = gradient.get("filter")
        if name not in FILTERS:
            raise ValueError(f"[gradient] needs filter = one of {', '.join(FILTERS)}, got {name!r}")
        gradient_filter = _settings(FILTERS[name], {key: value for key, value in gradient.items() if key != "filter"})
    chosen = None if muon is None else _settings(MuonSettings, muon)
    return NetworkAgent(network, _settings(Training, training), gradient_filter, chosen)


def _settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """The dataclass `kind` from a recipe's table, in which every hyperparameter must stand."""
    expected = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    missing, unknown = sorted(expected - set(values)), sorted(set(values) - expected)
    if missing or unknown:
        problems = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("doesn't know", unknown)) if names]
        raise ValueError(f"{kind.__name__} {' and '.join(problems)}: its hyperparameters are {', '.join(sorted(expected))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
