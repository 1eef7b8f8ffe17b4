"""Linear probes on features whose content is known, and the choice of probed exams."""

from itertools import pairwise

import numpy as np
import torch

from grokbench.evaluation.probes import is_probed, probe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import make_instance, parse_id


def test_probes_of_noise_and_of_the_answers() -> None:
    """A layer of noise reads at chance, a layer with the answers near 1; the probe repeats to the bit."""
    instances = [make_instance(parse_id("mnist5k-n1000"), seed) for seed in (0, 1)]
    answers = torch.from_numpy(np.stack([instance.shown_answers for instance in instances]))
    noise = torch.randn(2, 5000, 20, generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot(answers, 10).float().repeat(1, 1, 30)
    features = torch.cat([noise, one_hot], dim=-1)
    accuracy = probe(features, (20, 300), instances)  # (members, layers)
    assert accuracy.shape == (2, 2)
    assert (np.abs(accuracy[:, 0] - 0.1) < 0.03).all()
    assert (accuracy[:, 1] > 0.99).all()
    np.testing.assert_array_equal(accuracy, probe(features.numpy(), (20, 300), instances))


def test_held_out_answers_do_not_reach_the_head() -> None:
    """Features that hold the answers of training questions alone read at chance."""
    instance = make_instance(parse_id("mnist5k-n1000"), 0)
    targets = torch.from_numpy(instance.targets.copy())
    features = torch.nn.functional.one_hot(targets, 11)[:, :10].float().repeat(1, 30)
    assert probe(features[None], (300,), [instance])[0, 0] < 0.2


def test_exams_are_probed_at_every_doubling() -> None:
    """The first exam, and then an exam for every doubling of the steps."""
    probed = [step for before, step in pairwise([0, *PROTOCOL.grid(20_000)]) if is_probed(step, before)]
    assert probed[0] == 10
    assert len(probed) == 12
    assert all(1.5 < after / before < 2.7 for before, after in pairwise(probed))
