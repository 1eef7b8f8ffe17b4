"""What the transformer knows just after memorizing: `python -m tools.symmetry`.

Splits the held-out accuracy at step 200 on `add_mod47-0.7`, seed 0, by whether the mirror cell (b, a) was seen.
"""

import numpy as np

from grokbench.agents.agent import Spec
from grokbench.agents.recipes import find_recipe
from grokbench.agents.trees import to_numpy
from grokbench.evaluation.marking import Examiner
from grokbench.tasks import make_instance, parse_id


def held_out_accuracy(task_id: str = "add_mod47-0.7", seed: int = 0, steps: int = 200) -> tuple[float, float]:
    """Accuracy on held-out cells whose mirror was seen, and on those whose mirror wasn't."""
    task = parse_id(task_id)
    instance = make_instance(task, seed)
    agent = find_recipe("transformer").make()
    dims = (128,)
    observation = Examiner([instance], dims).observations([0])
    spec = Spec(task.num_symbols, task.num_questions, task.budget, dims, "cpu", (instance.agent_seed,))
    agent.reset(observation, spec)
    agent.learn(steps)
    right = to_numpy(agent.act()["answers"])[0] == instance.shown_answers
    seen = np.zeros((task.num_symbols, task.num_symbols), dtype=bool)
    seen[tuple(instance.places.T)] = instance.train
    mirrored = seen[tuple(instance.places[:, ::-1].T)]
    held_out = ~instance.train
    return float(right[held_out & mirrored].mean()), float(right[held_out & ~mirrored].mean())


if __name__ == "__main__":
    with_mirror, without = held_out_accuracy()
    print(f"held-out accuracy at step 200: {with_mirror:.1%} where the mirror cell was seen, {without:.1%} where it was not")
