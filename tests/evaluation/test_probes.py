"""Linear probes: what they find in features whose content is known, and when they look."""

from itertools import pairwise

import numpy as np
import torch

from grokbench.evaluation.probes import is_probed, probe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import make_instance, parse_id


def test_what_can_be_read_off() -> None:
    """The answer in plain sight is read off, noise gives chance, layer by layer; it repeats to the bit."""
    instances = [make_instance(parse_id("mnist5k-n1000"), seed) for seed in (0, 1)]
    answers = torch.from_numpy(np.stack([one.shown_answers for one in instances]))
    noise = torch.randn(2, 5000, 20, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.functional.one_hot(answers, 10).float().repeat(1, 1, 30)
    found = probe(torch.cat([noise, plain], dim=-1), (20, 300), instances)
    assert found.shape == (2, 2)
    assert (np.abs(found[:, 0] - 0.1) < 0.03).all()
    assert (found[:, 1] > 0.99).all()
    np.testing.assert_array_equal(found, probe(torch.cat([noise, plain], dim=-1).numpy(), (20, 300), instances))


def test_held_out_answers_do_not_reach_the_head() -> None:
    """Features that give the answer on training cells alone read at chance."""
    instance = make_instance(parse_id("mnist5k-n1000"), 0)
    targets = torch.from_numpy(instance.targets.copy())
    features = torch.nn.functional.one_hot(targets, 11)[:, :10].float().repeat(1, 30)
    assert probe(features[None], (300,), [instance])[0, 0] < 0.2


def test_probes_look_at_every_doubling() -> None:
    """From the first exam on, once for every doubling of the steps."""
    grid = list(PROTOCOL.grid(20_000))
    probed = [step for before, step in zip([0, *grid], grid, strict=False) if is_probed(step, before)]
    assert probed[0] == 10
    assert len(probed) == 12
    assert all(1.5 < after / before < 2.7 for before, after in pairwise(probed))
