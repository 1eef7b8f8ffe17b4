"""Mirror images of training questions."""

import numpy as np

from grokbench.tasks import make_instance, parse_id
from tools.symmetry import split_by_mirror


def test_an_agent_that_knows_only_commutativity() -> None:
    """It is right where (b, a) is in training, and nowhere else that is held out."""
    instance = make_instance(parse_id("add_mod11-0.5"), 0)
    inputs, train = instance.shown_inputs, instance.train
    known = {(a, b): answer for (a, b), answer in zip(inputs[train].tolist(), instance.shown_answers[train], strict=True)}
    answers = np.array([known.get((b, a), -1) for a, b in inputs.tolist()])
    assert split_by_mirror(instance, answers) == (1.0, 0.0)
