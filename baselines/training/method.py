"""What a baseline does: its network, its training, and how gradients become steps."""

from dataclasses import dataclass, replace
from typing import Any

from baselines.fields import check
from baselines.networks.network import Network
from baselines.optimizers.averages import Average
from baselines.optimizers.gradient_filters import Filter
from baselines.optimizers.muon import MuonSettings
from baselines.optimizers.noise import Noise
from baselines.optimizers.optimizer import Settings
from baselines.optimizers.projections import Projection
from baselines.optimizers.schedules import Schedule
from baselines.training.hyperparameters import Training


@dataclass(frozen=True)
class Method:
    """A network and its training.

    Attributes:
        network: the network.
        training: its hyperparameters.
        optimizer: the optimizer's hyperparameters.
        schedule: the learning rate over steps.
        gradient_filter: changes the gradients before the optimizer takes them.
        projection: scales weights back to a norm after every update.
        noise: Gaussian noise on gradients or weights.
        average: a running average of the weights, which answers the exams.

    Raises:
        RecipeError: Muon for a network without hidden matrices.
    """

    network: Network[Any]
    training: Training
    optimizer: Settings
    schedule: Schedule
    gradient_filter: Filter | None = None
    projection: Projection | None = None
    noise: Noise | None = None
    average: Average | None = None

    def __post_init__(self) -> None:
        name = type(self.network).__name__
        has_matrices = not isinstance(self.optimizer, MuonSettings) or bool(self.network.hidden_weights)
        check(has_matrices, f"Muon updates the matrices of hidden layers, and {name} has none: name another [optimizer]")
        one_pass = self.optimizer.needs_closure or self.training.passes_per_step == 1
        check(one_pass, "AdamW and Muon make one pass in an update: leave passes_per_step out of [training]")

    @property
    def shared(self) -> "Method":
        """The method with equal values for the hyperparameters that may differ within a cohort."""
        network: Any = self.network
        if hasattr(network, "init_scale"):
            network = replace(network, init_scale=1.0)
        return replace(self, network=network, optimizer=self.optimizer.shared)
