"""Values of the schedules, and their agreement with torch's."""

import pytest
import torch

from baselines.optimizers.schedules import Constant, Cosine, Linear


def test_values_at_their_corners() -> None:
    """Warm-up rises to 1; the fall ends at `final`, where it stays."""
    for schedule in (Linear(warmup=10, steps=110), Cosine(warmup=10, steps=110)):
        assert [schedule.at(step) for step in (1, 5, 10)] == pytest.approx([0.1, 0.5, 1.0])
        assert [schedule.at(step) for step in (60, 110, 5_000)] == pytest.approx([0.55, 0.1, 0.1])
    assert Linear(warmup=0, steps=100, final=0.5).at(50) == pytest.approx(0.75)
    assert Cosine(warmup=0, steps=100, final=0.0).at(25) == pytest.approx((1 + 0.5**0.5) / 2)
    assert [Constant(warmup=4).at(step) for step in (1, 4, 99)] == [0.25, 1.0, 1.0]


def test_cosine_is_torchs() -> None:
    """Step by step, torch's scheduler gives the learning rate that follows an update."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.1)
    ours = Cosine(warmup=0, steps=20)
    for step in range(1, 21):
        optimizer.step()
        theirs.step()
        assert ours.at(step) == pytest.approx(theirs.get_last_lr()[0])


def test_only_a_schedule_that_changes_touches_the_learning_rate() -> None:
    """A constant one without warm-up leaves the optimizer's own learning rate alone."""
    assert not Constant(warmup=0).changes
    assert not Constant(warmup=1).changes
    assert Constant(warmup=2).changes
    assert Linear(warmup=0, steps=9).changes
