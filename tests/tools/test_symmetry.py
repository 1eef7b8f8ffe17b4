"""Mirror images of training questions."""

import numpy as np

from grokbench.tasks import make_instance, parse_id
from tools.symmetry import mirror_accuracy, split_by_mirror


def test_an_agent_that_knows_only_commutativity() -> None:
    """Its held-out answers are right where (b, a) is in training, and nowhere else."""
    instance = make_instance(parse_id("add_mod11-0.5"), 0)
    inputs, train = instance.shown_inputs, instance.train
    known = {(a, b): answer for (a, b), answer in zip(inputs[train].tolist(), instance.shown_answers[train], strict=True)}
    answers = np.array([known.get((b, a), -1) for a, b in inputs.tolist()])
    assert split_by_mirror(instance, answers) == (1.0, 0.0)


def test_training_questions_do_not_count() -> None:
    """An agent that knows the training questions alone has answered no held-out question."""
    instance = make_instance(parse_id("add_mod11-0.5"), 0)
    answers = np.where(instance.train, instance.shown_answers, -1)
    assert split_by_mirror(instance, answers) == (0.0, 0.0)


def test_the_transformer_answers_mirror_images_first() -> None:
    """After memorizing a small table it knows more held-out answers whose mirror image is in training than others."""
    accuracy = mirror_accuracy(task_id="add_mod23-0.7", steps=100)
    assert accuracy.with_mirror > accuracy.without_mirror + 0.1
