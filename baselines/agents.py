"""The baseline agents that recipes name: a network and its training, made from the recipe's two tables."""

from dataclasses import fields
from typing import Any, TypeVar

from baselines.decoder import Decoder
from baselines.mlp import MLP
from baselines.training import TableAgent, Training
from baselines.transformer import Transformer

Settings = TypeVar("Settings")


def mlp(network: dict[str, Any], training: dict[str, Any]) -> TableAgent:
    """The MLP of `mlp.py`."""
    return TableAgent(_settings(MLP, network), _settings(Training, training))


def transformer(network: dict[str, Any], training: dict[str, Any]) -> TableAgent:
    """The one-layer transformer of `transformer.py`."""
    return TableAgent(_settings(Transformer, network), _settings(Training, training))


def decoder(network: dict[str, Any], training: dict[str, Any]) -> TableAgent:
    """The deeper causal transformer of `decoder.py`."""
    return TableAgent(_settings(Decoder, network), _settings(Training, training))


def _settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """The dataclass `kind` from a recipe's table, in which every hyperparameter must stand."""
    expected = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    missing, unknown = sorted(expected - set(values)), sorted(set(values) - expected)
    if missing or unknown:
        problems = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("doesn't know", unknown)) if names]
        raise ValueError(f"{kind.__name__} {' and '.join(problems)}: its hyperparameters are {', '.join(sorted(expected))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
