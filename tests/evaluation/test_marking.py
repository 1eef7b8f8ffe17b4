"""The examiner: counts and ranks per member, what it refuses, and what the outcomes follow."""

from typing import Any

import numpy as np
import pytest
import torch

from grokbench.errors import ActionError
from grokbench.evaluation import ranks
from grokbench.evaluation.marking import Examiner, ranks_by_member
from grokbench.evaluation.protocol import Outcome
from grokbench.tasks import make_instance
from tests.support.oracle import DIMS, SMALL, answers_of, features_of

SEEDS = (0, 1, 2)  # the task has 24 training and 25 held-out questions


def make_examiner() -> Examiner:
    """An examiner with three members."""
    return Examiner([make_instance(SMALL, seed) for seed in SEEDS], DIMS)


def make_action(examiner: Examiner, right: dict[int, int]) -> dict[str, Any]:
    """A stacked action: for every member of `right`, so many right held-out answers."""
    return {
        "answers": np.stack([answers_of(examiner.instances[member], count) for member, count in right.items()]),
        "features": np.stack([features_of(SMALL, seed=member) for member in right]),
    }


def test_every_member_has_its_own_marks() -> None:
    """The order of members in the action is that of `members`, and a member that is left out keeps its outcome."""
    examiner = make_examiner()
    exams = examiner.mark(make_action(examiner, {2: 7, 0: 3}), [2, 0])
    assert [(exam.step, exam.train, exam.held_out) for exam in exams] == [(10, 24, 7), (10, 24, 3)]
    assert [outcome.step for outcome in examiner.outcomes] == [10, 0, 10]


def test_training_answers_are_counted_apart() -> None:
    """A wrong training answer lowers `train` alone."""
    examiner = make_examiner()
    action = make_action(examiner, {0: 5})
    question = np.flatnonzero(examiner.instances[0].train)[0]
    action["answers"][0, question] = (action["answers"][0, question] + 1) % 7
    (exam,) = examiner.mark(action, [0])
    assert (exam.train, exam.held_out) == (23, 5)


def test_ranks_are_those_of_every_layer() -> None:
    """Columns 0 to 2 are the first layer, and columns 3 and 4 the second."""
    examiner = make_examiner()
    action = make_action(examiner, {0: 0, 1: 0})
    for exam, features in zip(examiner.mark(action, [0, 1]), action["features"], strict=True):
        assert exam.ranks is not None
        assert set(exam.ranks) == set(ranks.MEASURES)
        expected = [float(ranks.effective_rank(features[:, :3])), float(ranks.effective_rank(features[:, 3:]))]
        assert exam.ranks["effective_rank"] == pytest.approx(expected)


def test_ranks_by_member_regroups() -> None:
    """Two layers of three members become three members of two layers."""
    layers: list[dict[str, Any]] = [{"rank": np.array([1.0, 2.0, 3.0])}, {"rank": torch.tensor([4.0, 5.0, 6.0])}]
    assert ranks_by_member(layers) == [{"rank": [1, 4]}, {"rank": [2, 5]}, {"rank": [3, 6]}]


@pytest.mark.parametrize("tensors", [False, True])
def test_a_diverged_member_leaves_the_others_alone(tensors: bool) -> None:
    """Non-finite features end that member's run; the counts are still marked, and the ranks of others don't change."""
    healthy, examiner = make_examiner(), make_examiner()
    action = make_action(examiner, {0: 4, 1: 4})
    expected = healthy.mark(action, [0, 1])
    action["features"][0, 5, 4] = np.inf
    if tensors:
        action = {name: torch.from_numpy(array) for name, array in action.items()}
    diverged, other = examiner.mark(action, [0, 1])
    assert (diverged.ranks, diverged.held_out, examiner.outcomes[0].end) == (None, 4, "diverged")
    assert other.ranks is not None
    assert expected[1].ranks is not None
    for name, per_layer in expected[1].ranks.items():
        assert other.ranks[name] == pytest.approx(per_layer)
    assert examiner.steps_to_next_exam(0) == 0


def test_mark_member_agrees_with_mark() -> None:
    """A single member's arrays without a leading axis give the same exam."""
    stacked, single = make_examiner(), make_examiner()
    action = make_action(stacked, {1: 6})
    (expected,) = stacked.mark(action, [1], losses=[0.5], metrics=[{"norm": [1.0]}])
    exam = single.mark_member({name: array[0] for name, array in action.items()}, 1, loss=0.5, metrics={"norm": [1.0]})
    assert exam == expected
    assert single.outcomes == stacked.outcomes


def test_reports_are_kept_where_they_say_something() -> None:
    """A non-finite loss and empty metrics become None."""
    examiner = make_examiner()
    action = make_action(examiner, {0: 0, 1: 0, 2: 0})
    exams = examiner.mark(action, SEEDS, losses=[0.25, float("nan"), None], metrics=[{"norm": [2.0, 3.0]}, {}, {}])
    assert [exam.loss for exam in exams] == [0.25, None, None]
    assert [exam.metrics for exam in exams] == [{"norm": [2.0, 3.0]}, None, None]


ANSWERS, FEATURES = np.zeros(49, np.int64), np.zeros((49, 5), np.float32)
REFUSED = [
    ({"answers": ANSWERS[:-1], "features": FEATURES}, r"answers must have shape \(49,\), got \(48,\)"),
    ({"answers": ANSWERS[None], "features": FEATURES}, r"answers must have shape \(49,\), got \(1, 49\)"),
    ({"answers": 3, "features": FEATURES}, r"answers must have shape \(49,\), got \(\)"),
    ({"answers": ANSWERS, "features": FEATURES[:, :3]}, r"features must have shape \(49, 5\), got \(49, 3\)"),
    ({"answers": ANSWERS, "features": [[1.0], [1.0, 2.0]]}, "features must be an array, got list"),
    ({"answers": ANSWERS / 2, "features": FEATURES}, r"whole numbers in \[0, 7\), got dtype float64"),
    ({"answers": ANSWERS, "features": FEATURES > 0}, "floating-point numbers, got dtype bool"),
    ({"answers": ANSWERS + 7, "features": FEATURES}, r"answers lie in \[0, 7\), got 7; blanks"),
    ({"answers": ANSWERS}, r"got the keys \['answers'\]"),
    (None, "an action is a dict.*got a NoneType"),
]


@pytest.mark.parametrize(("action", "message"), REFUSED)
def test_a_refused_action_changes_nothing(action: Any, message: str) -> None:
    """The error names the shape that the caller should have passed."""
    examiner = make_examiner()
    with pytest.raises(ActionError, match=message):
        examiner.mark_member(action)
    assert examiner.outcomes == [Outcome()] * 3


def test_the_error_of_several_members_names_the_leading_axis() -> None:
    """`mark` takes a row per member."""
    examiner = make_examiner()
    with pytest.raises(ActionError, match=r"answers must have shape \(2, 49\), got \(3, 49\)"):
        examiner.mark(make_action(examiner, {0: 0, 1: 0, 2: 0}), [0, 1])
    assert examiner.outcomes == [Outcome()] * 3


def test_observations_are_copies_without_held_out_answers() -> None:
    """An agent that writes into its observation changes nothing, and held-out targets are blank."""
    examiner = make_examiner()
    observation = examiner.observations(SEEDS)
    assert {name: array.shape for name, array in observation.items()} == {
        "inputs": (3, 49, 2),
        "targets": (3, 49),
        "steps_to_next_exam": (3,),
    }
    for targets, instance in zip(observation["targets"], examiner.instances, strict=True):
        assert (targets[~instance.train] == 7).all()
        assert (targets[instance.train] == instance.shown_answers[instance.train]).all()
    observation["targets"][:] = 0
    assert (examiner.observation(0)["targets"] == examiner.instances[0].targets).all()
