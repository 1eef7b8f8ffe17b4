"""How much of a symmetric table the transformer answers just after memorizing: `python -m tools.symmetry`.

Prints the held-out accuracy at step 200 on `add_mod47-0.7`, seed 0, for two kinds of held-out questions (a, b): those whose
mirror image (b, a) is a training question, and the others.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import grokbench
from grokbench.agents.recipes import find_recipe
from grokbench.agents.trees import to_numpy
from grokbench.tasks import Instance, make_instance, parse_id

TASK = "add_mod47-0.7"
STEPS = 200


class MirrorAccuracy(NamedTuple):
    """Held-out accuracy on the questions whose mirror image is a training question, and on the others."""

    with_mirror: float
    without_mirror: float


def mirror_accuracy(*, task_id: str = TASK, seed: int = 0, steps: int = STEPS) -> MirrorAccuracy:
    """The transformer's held-out accuracy after so many steps."""
    agent = find_recipe("transformer").make()
    env = grokbench.make_vec(task_id, feature_dims=agent.feature_dims)
    env.reset(seed=seed)
    agent.start(env)
    agent.learn(steps)
    answers = to_numpy(agent.act()["answers"])[0]
    return split_by_mirror(make_instance(parse_id(task_id), seed), answers)


def split_by_mirror(instance: Instance, answers: NDArray[np.int64]) -> MirrorAccuracy:
    """The held-out accuracy of `answers` (N,) on a table of modulus q, split by whether the mirror image is in training."""
    q = instance.task.num_symbols
    train = np.zeros((q, q), dtype=bool)
    train[tuple(instance.places.T)] = instance.train
    mirrored = train[tuple(instance.places[:, ::-1].T)]  # (N,)
    right, held_out = answers == instance.shown_answers, ~instance.train
    return MirrorAccuracy(float(right[held_out & mirrored].mean()), float(right[held_out & ~mirrored].mean()))


def main() -> None:
    """Print both accuracies."""
    accuracy = mirror_accuracy()
    print(
        f"held-out accuracy at step {STEPS}: {accuracy.with_mirror:.1%} where the mirror image is a training question, "
        f"{accuracy.without_mirror:.1%} elsewhere"
    )


if __name__ == "__main__":
    main()
