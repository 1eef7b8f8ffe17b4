"""The MLP against the published weights that solve modular addition."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.networks.mlp import MLP
from baselines.networks.questions import Questions

P, WIDTH = 23, 500


def waves(frequencies: NDArray[np.int64], phases: NDArray[np.float64]) -> torch.Tensor:
    """cos(2πkx/p + φ) for every symbol x and every hidden unit, (p, w)."""
    angles = 2 * np.pi * np.outer(np.arange(P), frequencies) / P + phases
    return torch.from_numpy(np.cos(angles)).float()


def test_gromovs_weights_add_exactly() -> None:
    """Gromov 2023, eq. 5: random frequencies, φ₁ + φ₂ = φ₃ and φ(x) = x² answer every question of addition mod p."""
    rng = np.random.default_rng(0)
    frequencies, (first, second) = rng.integers(1, P, WIDTH), rng.uniform(-np.pi, np.pi, (2, WIDTH))
    parameters = {
        "layer0": torch.cat([waves(frequencies, first), waves(frequencies, second)]),
        "layer1": waves(frequencies, first + second).mT,
    }
    questions = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    network = MLP(hidden=(WIDTH,), activation="quadratic", init_scale=1.0)
    together = {name: parameter.unsqueeze(0) for name, parameter in parameters.items()}
    logits = network.logits(together, Questions(questions.unsqueeze(0), P))[0]
    assert torch.equal(logits.argmax(-1), questions.sum(-1) % P)


@pytest.mark.parametrize(("activation", "expected"), [("relu", [0.0, 3.0]), ("quadratic", [4.0, 9.0])])
def test_features_are_taken_after_the_activation(activation: str, expected: list[float]) -> None:
    """A hidden unit's sum of rows is −2 for the first question and 3 for the second."""
    network = MLP(hidden=(1,), activation=activation, init_scale=1.0)
    parameters = {"layer0": [[-5.0], [0.0], [1.0], [3.0]], "layer1": [[1.0, 2.0]]}
    p = {name: torch.tensor(values) for name, values in parameters.items()}
    questions = torch.tensor([[0, 1], [1, 1]])
    for logits, features in (
        network.reference_forward(p, questions),
        [x[0] for x in network.forward({name: x.unsqueeze(0) for name, x in p.items()}, Questions(questions.unsqueeze(0), 2))],
    ):
        assert features.flatten().tolist() == expected
        assert logits.tolist() == [[x, 2 * x] for x in expected]
