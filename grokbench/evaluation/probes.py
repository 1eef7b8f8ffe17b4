"""Linear probes: how well a linear head reads the answers off the features of a layer, as in "Deep Grokking".

Fan et al. 2024 (arXiv 2405.19454) and their code: a head with PyTorch's default initialization and the loss cross-entropy
+ 10⁻³‖W‖, trained with Adam at step size 10⁻³ for 30 epochs in minibatches of 512, on 80 % of the training questions. The other
20 % choose the epoch whose head answers the held-out questions. These are few steps: what a head can't learn in them counts as
absent from the features.

Shapes: S members, N questions, d features of a layer, Σd features of all layers, q possible answers.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import floor, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grokbench.tasks import Instance

if TYPE_CHECKING:
    from torch import Generator, Tensor

SPACING = 2  # ratio of the steps of two probed exams
EPOCHS = 30
MINIBATCH_SIZE = 512
LEARNING_RATE = 1e-3
PENALTY = 1e-3
VALIDATION_EVERY = 5  # every fifth training question helps to choose the epoch


def is_probed(step: int, before: int) -> bool:
    """Whether the exam at `step`, which follows the exam at `before`, is the first past another power of `SPACING`."""
    return before == 0 or floor(log(step, SPACING)) > floor(log(before, SPACING))


def probe(features: Any, dims: Sequence[int], instances: Sequence[Instance]) -> NDArray[np.float64]:
    """Held-out accuracy of a linear probe on every layer of every member: `features` (S, N, Σd) → (S, layers).

    All instances need the same number of training questions. The heads' randomness has a fixed seed, so results repeat to the
    bit.
    """
    import torch

    tensor = torch.as_tensor(features).detach().float()
    answers = torch.from_numpy(np.stack([instance.shown_answers for instance in instances])).to(tensor.device)
    train = torch.from_numpy(np.stack([instance.train for instance in instances])).to(tensor.device)
    num_symbols = instances[0].task.num_symbols
    edges = pairwise(accumulate(dims, initial=0))
    accuracies = [_held_out_accuracy(tensor[..., start:stop], answers, train, num_symbols) for start, stop in edges]
    return np.stack([accuracy.cpu().numpy() for accuracy in accuracies], axis=1)


def _held_out_accuracy(features: "Tensor", answers: "Tensor", train: "Tensor", num_symbols: int) -> "Tensor":
    """(S,) from features (S, N, d), answers (S, N) and the mask of training questions (S, N). Every member has its own head."""
    import torch

    inputs, labels = _masked(features, answers, train)
    validation = torch.arange(inputs.shape[1], device=features.device) % VALIDATION_EVERY == VALIDATION_EVERY - 1
    generator = torch.Generator().manual_seed(0)
    weight, bias = _initial_head(features, num_symbols, generator)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    best_accuracy = features.new_full((len(features), 1, 1), -1.0)
    best_head = [weight.detach().clone(), bias.detach().clone()]
    for _ in range(EPOCHS):
        _train_epoch(weight, bias, optimizer, inputs[:, ~validation], labels[:, ~validation], generator)
        with torch.no_grad():
            accuracy = _accuracy(inputs[:, validation], labels[:, validation], weight, bias)[:, None, None]
            best_head = [
                torch.where(accuracy > best_accuracy, now, best) for now, best in zip((weight, bias), best_head, strict=True)
            ]
            best_accuracy = torch.maximum(best_accuracy, accuracy)
    return _accuracy(*_masked(features, answers, ~train), *best_head)


def _initial_head(features: "Tensor", num_symbols: int, generator: "Generator") -> tuple["Tensor", "Tensor"]:
    """Weight (S, d, q) and bias (S, 1, q) with PyTorch's default initialization, the same numbers for every member."""
    import torch

    members, width = len(features), features.shape[-1]
    bound = 1 / sqrt(width)

    def uniform(*shape: int) -> "Tensor":
        numbers = (2 * torch.rand(shape, generator=generator) - 1) * bound
        return numbers.expand(members, -1, -1).to(features.device).clone().requires_grad_()

    return uniform(width, num_symbols), uniform(1, num_symbols)


def _train_epoch(
    weight: "Tensor", bias: "Tensor", optimizer: Any, inputs: "Tensor", labels: "Tensor", generator: "Generator"
) -> None:
    import torch

    order = torch.randperm(inputs.shape[1], generator=generator).to(inputs.device)
    for minibatch in torch.split(order, MINIBATCH_SIZE):
        log_p = torch.baddbmm(bias, inputs[:, minibatch], weight).log_softmax(-1)  # (S, minibatch, q)
        losses = -log_p.gather(-1, labels[:, minibatch].unsqueeze(-1)).mean((-2, -1))  # (S,)
        penalized = losses + PENALTY * weight.flatten(1).norm(dim=1)
        weight.grad, bias.grad = torch.autograd.grad(penalized.sum(), [weight, bias])
        optimizer.step()


def _accuracy(inputs: "Tensor", answers: "Tensor", weight: "Tensor", bias: "Tensor") -> "Tensor":
    """The share of right answers, (S,), of the heads on features (S, n, d)."""
    import torch

    return (torch.baddbmm(bias, inputs, weight).argmax(-1) == answers).float().mean(-1)


def _masked(features: "Tensor", answers: "Tensor", mask: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Features (S, n, d) and answers (S, n) of the n questions per member where `mask` (S, N) is true."""
    return features[mask].view(len(features), -1, features.shape[-1]), answers[mask].view(len(features), -1)
