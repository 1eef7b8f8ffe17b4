"""The examiner: counts and ranks per member, what it refuses, and what the outcomes follow."""

from typing import Any

import numpy as np
import pytest
import torch

from grokbench.errors import ActionError
from grokbench.evaluation import ranks
from grokbench.evaluation.marking import Examiner, check_logits, ranks_by_member
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
    assert [(exam.step, exam.train, exam.held_out) for exam in exams] == [(5, 24, 7), (5, 24, 3)]
    assert [outcome.step for outcome in examiner.outcomes] == [5, 0, 5]


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


def expected_losses(examiner: Examiner, member: int, logits: Any) -> list[float]:
    """Torch's cross-entropy of a member's logits (N, q) on training and on held-out questions, in float64."""
    instance = examiner.instances[member]
    answers, train = torch.from_numpy(instance.shown_answers.copy()), torch.from_numpy(instance.train.copy())
    precise = torch.as_tensor(logits).double()
    return [float(torch.nn.functional.cross_entropy(precise[part], answers[part])) for part in (train, ~train)]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("tensors", [False, True])
def test_losses_are_torchs_cross_entropy(scale: float, dtype: torch.dtype, tensors: bool) -> None:
    """Of every member, in float64, however large the logits are."""
    examiner = make_examiner()
    logits = (torch.randn(2, 49, 7, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    if not tensors:
        logits = logits.to(torch.float32 if dtype == torch.bfloat16 else dtype)  # numpy has no bfloat16
    action = make_action(examiner, {2: 7, 0: 3}) | {"logits": logits if tensors else logits.numpy()}
    for member, row, exam in zip((2, 0), logits, examiner.mark(action, [2, 0]), strict=True):
        assert [exam.train_loss, exam.held_out_loss] == pytest.approx(expected_losses(examiner, member, row), rel=1e-12)


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_give_no_losses(bad: float, tensors: bool) -> None:
    """The member has no losses but goes on, and the other member's losses don't change."""
    examiner = make_examiner()
    logits = np.random.default_rng(0).normal(size=(2, 49, 7))
    logits[0, 5] = bad
    action = make_action(examiner, {0: 3, 1: 3}) | {"logits": logits}
    if tensors:
        action = {name: torch.from_numpy(array) for name, array in action.items()}
    first, second = examiner.mark(action, [0, 1])
    assert (first.train_loss, first.held_out_loss, first.diverged, examiner.outcomes[0].end) == (None, None, False, None)
    assert [second.train_loss, second.held_out_loss] == pytest.approx(expected_losses(examiner, 1, logits[1]))


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((49, 6)), r"logits must have shape \(49, 7\), got \(49, 6\)"),
        (np.zeros(49), r"logits must have shape \(49, 7\), got \(49,\)"),
        (np.zeros((49, 7), int), "logits are floating-point numbers, got dtype int64"),
        ("much", "logits must have shape"),
    ],
)
def test_refused_logits_change_nothing(logits: Any, message: str) -> None:
    """Logits have a number for every question and symbol."""
    examiner = make_examiner()
    action = {name: array[0] for name, array in make_action(examiner, {0: 3}).items()}
    with pytest.raises(ActionError, match=message):
        examiner.mark_member(action | {"logits": logits})
    assert examiner.outcomes == [Outcome()] * 3


@pytest.mark.parametrize("tensors", [False, True])
def test_answers_have_the_largest_logits(tensors: bool) -> None:
    """A tie may be broken either way, NaN can't be compared, and any other answer is refused."""
    logits: Any = np.random.default_rng(0).normal(size=(2, 49, 7)).astype(np.float32)
    answers: Any = logits.argmax(-1)
    logits[0, 0, :2] = 9.0
    logits[1, 1] = np.nan
    wrong = answers.copy()
    answers[0, 0], wrong[1, 3] = 1, (wrong[1, 3] + 1) % 7
    if tensors:
        answers, wrong, logits = (torch.from_numpy(array) for array in (answers, wrong, logits))
    check_logits(answers, logits)
    with pytest.raises(ActionError, match="the symbol with the largest logit"):
        check_logits(wrong, logits)
