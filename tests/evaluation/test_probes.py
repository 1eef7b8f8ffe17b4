"""Linear probes on features whose content is known, and the choice of probed exams."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grokbench.evaluation.probes import is_probed, probe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import Instance, make_instance, parse_id


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


def faint_features(instance: Instance, width: int, strength: float) -> Tensor:
    """Noise with a faint trace of the digit, so that a probe reads some of the digits: (N, width)."""
    generator = torch.Generator().manual_seed(instance.seed)
    digits = torch.from_numpy(instance.shown_answers.copy())
    traces = torch.randn(10, width, generator=generator)[digits]
    return strength * traces + torch.randn(len(digits), width, generator=generator)


def head_in_pytorch(features: Tensor, instance: Instance) -> float:
    """The paper's probe of a single layer, with nn.Linear and a loop over minibatches.

    Cross-entropy + 10⁻³‖W‖, Adam at 10⁻³, 30 epochs, minibatches of 512; the best epoch on every fifth training question.
    """
    train = torch.from_numpy(instance.train.copy())
    answers = torch.from_numpy(instance.shown_answers.copy())
    x, y = features[train], answers[train]
    held_back = torch.arange(len(x)) % 5 == 4
    generator = torch.Generator().manual_seed(0)
    head, bound = nn.Linear(x.shape[1], 10), x.shape[1] ** -0.5
    head.weight.data = ((2 * torch.rand(x.shape[1], 10, generator=generator) - 1) * bound).T.clone()
    head.bias.data = (2 * torch.rand(10, generator=generator) - 1) * bound
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    scores: list[tuple[float, float]] = []
    for _ in range(30):
        order = torch.randperm(int((~held_back).sum()), generator=generator)
        for minibatch in torch.split(order, 512):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(x[~held_back][minibatch]), y[~held_back][minibatch])
            torch.autograd.backward(loss + 1e-3 * head.weight.norm())
            optimizer.step()
        chosen = (head(x[held_back]).argmax(-1) == y[held_back]).float().mean().item()
        scores.append((chosen, (head(features[~train]).argmax(-1) == answers[~train]).float().mean().item()))
    return max(scores, key=lambda score: score[0])[1]  # the first of equal epochs


def test_a_probe_is_the_papers() -> None:
    """Two members with two layers each; every head reads what a head in plain PyTorch reads."""
    instances = [make_instance(parse_id("mnist5k-n1000"), seed) for seed in (0, 1)]
    sizes = {40: 0.8, 24: 0.1}  # each layer's width and the strength of its trace
    layers = [torch.stack([faint_features(instance, *size) for instance in instances]) for size in sizes.items()]
    accuracy = probe(torch.cat(layers, dim=-1), tuple(sizes), instances)
    expected = [[head_in_pytorch(layer[i], instance) for layer in layers] for i, instance in enumerate(instances)]
    assert 0.1 < np.min(expected) < 0.3 < np.max(expected) < 0.9
    np.testing.assert_allclose(accuracy, expected, atol=0.001)  # four of 4,000 images


def test_features_with_a_gradient_are_probed_and_left_alone() -> None:
    """An agent may report the tensor that it trains; a probe neither changes nor differentiates it."""
    instance = make_instance(parse_id("mnist5k-n60"), 0)
    features = faint_features(instance, 8, strength=1.0).double().requires_grad_()
    before = features.detach().clone()
    accuracy = probe(features[None], (8,), [instance])
    assert accuracy.shape == (1, 1)
    assert torch.equal(features.detach(), before)
    assert features.grad is None


@pytest.mark.parametrize("power", range(1, 40))
def test_a_power_of_two_is_past_the_power(power: int) -> None:
    """The exam at 2ᵏ is probed and the next isn't, though a logarithm may be rounded."""
    assert is_probed(2**power, 2**power - 1)
    assert not is_probed(2**power + 1, 2**power)
    assert not is_probed(2**power - 1, 2 ** (power - 1)) or power == 1


def test_exams_are_probed_at_every_doubling() -> None:
    """The first exam, and then an exam for every doubling of the steps."""
    probed = [step for before, step in pairwise([0, *PROTOCOL.grid(20_000).steps]) if is_probed(step, before)]
    assert probed[0] == 5
    assert len(probed) == 13
    assert all(1.5 < after / before < 2.7 for before, after in pairwise(probed))
