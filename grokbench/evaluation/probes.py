"""Linear probes: how much of the answer a linear head can read off a layer's features. As "Deep Grokking" has them.

Fan et al. 2024 (arXiv 2405.19454) and their code: a head with PyTorch's default initialization, cross-entropy + 10⁻³‖W‖, Adam
with step size 10⁻³, 30 epochs in batches of 512, on 80 % of the training cells; the epoch best on the other 20 % sits the exam.
That is few steps: what a head can't reach in them counts as not there.

Shapes: S members, N questions, d features of a layer, q possible answers.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import floor, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grokbench.tasks import Instance

if TYPE_CHECKING:
    from torch import Tensor

SPACING = 2  # ratio of the steps of two probed exams
EPOCHS = 30
BATCH = 512
LEARNING_RATE = 1e-3
PENALTY = 1e-3
VALIDATION = 5  # every fifth training cell helps to choose the epoch


def is_probed(step: int, before: int) -> bool:
    """Whether the exam at `step`, which follows the one at `before`, is the first past another power of `SPACING`."""
    return before == 0 or floor(log(step, SPACING)) > floor(log(before, SPACING))


def probe(features: Any, dims: Sequence[int], instances: Sequence[Instance]) -> NDArray[np.float64]:
    """Held-out accuracy of a linear probe on every layer of every member: `features` (S, N, Σd) → (S, layers).

    Every member needs as many training cells as the others. It repeats to the bit: the heads' randomness has a fixed seed.
    """
    import torch

    shown = torch.as_tensor(features).detach().float()
    edges = list(pairwise(accumulate(dims, initial=0)))
    answers, seen = (
        torch.from_numpy(np.stack([getattr(one, name) for one in instances])).to(shown.device)
        for name in ("shown_answers", "train")
    )
    per_layer = [_accuracy(shown[..., a:b], answers, seen, instances[0].task.num_symbols) for a, b in edges]
    return np.stack([accuracy.cpu().numpy() for accuracy in per_layer], axis=1)


def _accuracy(x: "Tensor", answers: "Tensor", seen: "Tensor", symbols: int) -> "Tensor":
    """One head for each member: features (S, N, d), answers and seen (S, N) → held-out accuracy (S,)."""
    import torch

    inputs, labels = _rows(x, answers, seen)
    chooses = torch.arange(inputs.shape[1], device=x.device) % VALIDATION == VALIDATION - 1
    checked, right = inputs[:, chooses], labels[:, chooses]
    inputs, labels = inputs[:, ~chooses], labels[:, ~chooses]
    generator = torch.Generator().manual_seed(0)
    bound = 1 / sqrt(x.shape[-1])
    weight, bias = (
        ((2 * torch.rand(shape, generator=generator) - 1) * bound).expand(len(x), -1, -1).to(x.device).clone().requires_grad_()
        for shape in ((x.shape[-1], symbols), (1, symbols))
    )
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    best = x.new_full((len(x), 1, 1), -1.0)
    kept = [weight.detach().clone(), bias.detach().clone()]
    for _ in range(EPOCHS):
        for index in torch.split(torch.randperm(inputs.shape[1], generator=generator).to(x.device), BATCH):
            log_p = torch.baddbmm(bias, inputs[:, index], weight).log_softmax(-1)  # (S, batch, q)
            losses = -log_p.gather(-1, labels[:, index].unsqueeze(-1)).mean((-2, -1))
            gradients = torch.autograd.grad((losses + PENALTY * weight.flatten(1).norm(dim=1)).sum(), [weight, bias])
            weight.grad, bias.grad = gradients
            optimizer.step()
        with torch.no_grad():
            found = _right(checked, right, weight, bias)[:, None, None]
            kept = [torch.where(found > best, now, then) for now, then in zip((weight, bias), kept, strict=True)]
            best = torch.maximum(best, found)
    return _right(*_rows(x, answers, ~seen), *kept)


def _right(x: "Tensor", answers: "Tensor", weight: "Tensor", bias: "Tensor") -> "Tensor":
    """The share of right answers (S,) to features (S, n, d)."""
    import torch

    return (torch.baddbmm(bias, x, weight).argmax(-1) == answers).float().mean(-1)


def _rows(x: "Tensor", answers: "Tensor", mask: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Every member's features (S, n, d) and answers (S, n) where `mask` is true, the same number in each."""
    return x[mask].view(len(x), -1, x.shape[-1]), answers[mask].view(len(x), -1)
