"""What a baseline does: its network, its training, and how gradients become steps."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from baselines.fields import check
from baselines.networks.network import Network
from baselines.optimizers.gradient_filters import Filter
from baselines.optimizers.muon import MuonSettings
from baselines.training.hyperparameters import PER_MEMBER, Training

Part = TypeVar("Part")


@dataclass(frozen=True)
class Method:
    """A network and its training.

    Attributes:
        network: the network.
        training: its hyperparameters.
        gradient_filter: changes the gradients before the optimizer takes them.
        muon: updates the hidden layers' matrices by Muon. Without it AdamW updates every parameter.

    Raises:
        RecipeError: Muon for a network without hidden matrices.
    """

    network: Network[Any]
    training: Training
    gradient_filter: Filter | None = None
    muon: MuonSettings | None = None

    def __post_init__(self) -> None:
        name = type(self.network).__name__
        has_matrices = self.muon is None or bool(self.network.hidden_weights)
        check(has_matrices, f"Muon updates the matrices of hidden layers, and {name} has none: leave out [muon]")

    @property
    def shared(self) -> "Method":
        """The method with equal values for the hyperparameters that may differ within a cohort."""
        return replace(self, network=_without_differences(self.network), training=_without_differences(self.training))


def _without_differences(part: Part) -> Part:
    equal = {name: 1.0 for name in PER_MEMBER if hasattr(part, name)}
    return replace(part, **equal) if equal else part  # type: ignore[type-var]
