"""The interface of a network: what training, exams and tests call."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.fields import PositiveCount, check, hyperparameters
from baselines.networks.questions import Questions, Rows
from grokbench.errors import AgentError

Parameters = dict[str, Tensor]  # name → (S, …); `init_params` and `reference_forward` have a single member, without S
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # logits, answers → loss, its gradient by the logits; see losses.py
Encoded = TypeVar("Encoded", bound=Rows)


class Network(Protocol[Encoded]):
    """A network with q possible answers, for S members at once. Row s of every parameter is member s's.

    Shapes: S members, n questions, q answers, d width of a shown layer, L numbers in a question.
    """

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """The widths of the layers whose features are shown; the layer that feeds the output is last."""

    @property
    def hidden_weights(self) -> tuple[str, ...]:
        """The names of the matrices between hidden layers. Embeddings and output matrices aren't among them."""
        return ()

    @property
    def fan_in_first(self) -> tuple[str, ...]:
        """The names of the matrices that products store as (fan-in, fan-out), which `nn.Linear` has the other way around."""
        return ()

    def init_params(self, num_symbols: int, generator: Generator) -> Parameters:
        """One member's initial parameters, in float32 on the CPU, without the leading axis."""

    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Encoded:
        """The questions `inputs` (S, n, L), in the form that `forward` takes.

        Raises:
            AgentError: the network reads another kind of inputs.
        """

    def forward(self, parameters: Parameters, questions: Encoded) -> tuple[Tensor, Tensor]:
        """Logits (S, n, q) and features (S, n, Σd)."""

    def logits(self, parameters: Parameters, questions: Encoded) -> Tensor:
        """Logits (S, n, q) alone, for training: those of `forward` up to rounding."""
        return self.forward(parameters, questions)[0]  # (S, n, q)

    def gradients(self, parameters: Parameters, questions: Encoded, answers: Tensor, loss_of: Loss, into: Parameters) -> Tensor:
        """The loss (S,) of every member. Its gradients are written to the tensors in `into`, by the parameters' names."""
        logits = self.logits(parameters, questions)  # (S, n, q)
        loss, to_logits = loss_of(logits.detach(), answers)  # (S,), (S, n, q)
        to_parameters = torch.autograd.grad(logits, list(parameters.values()), to_logits)  # (S, …) each
        for name, gradient in zip(parameters, to_parameters, strict=True):
            into[name].copy_(gradient)
        return loss

    def metrics(self, parameters: Parameters) -> dict[str, Tensor]:
        """Numbers about the parameters that the record keeps: name → (S, layers)."""
        return {}

    def reference_forward(self, parameters: Parameters, inputs: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """The reference for `forward`, in plain PyTorch: a single member, every position of every question.

        Args:
            parameters: without the leading axis S.
            inputs: (n, L).
            last_only: compute the last layer at the last position alone.

        Returns:
            Logits (n, q) and features (n, Σd).
        """

    def flops(self, num_symbols: int, questions: int) -> int:
        """FLOPs of `logits` on so many questions, for a single member: two for each multiply-add of products and sums."""


class TableNetwork(Network[Questions], Protocol):
    """A network for pairs (a, b) of q symbols."""

    @override
    def encode(self, inputs: Tensor, num_symbols: int, dtype: torch.dtype) -> Questions:
        if inputs.is_floating_point():
            raise AgentError(f"{type(self).__name__} reads pairs of symbols, not images: choose a deep_mlp recipe")
        return Questions(inputs, num_symbols)


@hyperparameters
class AttentionNetwork(TableNetwork):
    """A network whose residual stream is split among attention heads. It shows the stream at the last position.

    Attributes:
        width: d, of the residual stream; a multiple of `heads`.
        heads: H, attention heads of each layer.
    """

    width: PositiveCount
    heads: PositiveCount

    def __post_init__(self) -> None:
        check(self.width % self.heads == 0, f"width must be a multiple of heads, got {self.width} and {self.heads}")

    @property
    @override
    def feature_dims(self) -> tuple[int, ...]:
        return (self.width,)


def normal(generator: Generator, *shape: int, scale: float) -> Tensor:
    """Gaussian numbers with standard deviation `scale`."""
    return torch.randn(shape, generator=generator) * scale


def uniform(generator: Generator, *shape: int, bound: float) -> Tensor:
    """Uniform numbers in [−bound, bound]."""
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


def heads(x: Tensor, count: int) -> Tensor:
    """`x` split among attention heads: (…, d) → (…, H, d/H)."""
    return x.view(*x.shape[:-1], count, -1)
