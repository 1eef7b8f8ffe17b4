"""Muon of many members against torch's."""

import pytest
import torch
from torch import Tensor

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon, MuonSettings, orthogonalized
from baselines.optimizers.schedules import Constant

SETTINGS = MuonSettings(
    lr=0.02, weight_decay=0.1, momentum=0.95, adamw_lr=1e-3, adamw_weight_decay=0.1, adamw_betas=(0.9, 0.98)
)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_is_torchs(shape: tuple[int, int]) -> None:
    """Member by member, to the bfloat16 in which torch orthogonalizes, its matrices (out, in) where ours are (in, out)."""
    count = shape[0] * shape[1]
    values = random(2, count + 3)
    adamw = AdamW(values[:, count:], [SETTINGS.adamw] * 2, Constant(warmup=1))
    ours = Muon(values.clone(), matrices=[(slice(0, count), torch.Size(shape))], settings=SETTINGS, adamw=adamw)
    theirs = [values[member, :count].reshape(shape).T.clone().requires_grad_() for member in range(2)]
    optimizer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95)
    for step in range(4):
        gradients = random(2, count + 3, seed=10 + step)
        ours.step(gradients)
        for member, parameter in enumerate(theirs):
            parameter.grad = gradients[member, :count].reshape(shape).T.clone()
        optimizer.step()  # type: ignore[no-untyped-call]
    for member, parameter in enumerate(theirs):
        theirs_now = parameter.detach().T.flatten()
        moved = (theirs_now - values[member, :count]).norm()
        difference = (ours.values[member, :count] - theirs_now).norm()
        assert float(difference / moved) < 0.02


def test_orthogonalized_is_nearly_so() -> None:
    """Singular values near 1, as far as five steps bring them, and the directions kept."""
    matrices = random(3, 20, 8)
    found = orthogonalized(matrices)
    sigma = torch.linalg.svdvals(found)
    assert 0.5 < float(sigma.min()) < float(sigma.max()) < 1.3
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    assert float((found * (u @ vt)).sum() / 3 / 8) > 0.8
