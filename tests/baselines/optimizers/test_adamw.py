"""AdamW of many members against torch's, member by member."""

import torch

from baselines.optimizers.adamw import AdamW, AdamWSettings
from baselines.optimizers.schedules import Constant


def test_adamw_is_torchs() -> None:
    """Member by member, each with its own learning rate and decay, warm-up included, to rounding."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 50, dtype=torch.float64, generator=generator)
    rates, decays = [1e-2, 3e-3, 1e-2], [0.3, 0.3, 0.0]
    pairs = zip(rates, decays, strict=True)
    settings = [AdamWSettings(lr=rate, weight_decay=decay, betas=(0.9, 0.98)) for rate, decay in pairs]
    ours = AdamW(values.clone(), settings, Constant(warmup=4))
    theirs = [row.clone().requires_grad_() for row in values]
    optimizers = [
        torch.optim.AdamW([row], lr=rate, betas=(0.9, 0.98), weight_decay=decay)
        for row, rate, decay in zip(theirs, rates, decays, strict=True)
    ]
    for update in range(1, 12):
        gradients = torch.randn(3, 50, dtype=torch.float64, generator=generator)
        for row, gradient, optimizer, rate in zip(theirs, gradients, optimizers, rates, strict=True):
            row.grad = gradient.clone()
            optimizer.param_groups[0]["lr"] = rate * min(1.0, update / 4)
            optimizer.step()
        ours.step(gradients)
        torch.testing.assert_close(ours.values, torch.stack(theirs).detach(), rtol=1e-12, atol=1e-12)
