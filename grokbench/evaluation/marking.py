"""Marking: the one place where an agent's answers meet the held-out answers, for the environments and the runner alike.

Answers and features may be numpy arrays or tensors on any device. They are marked on that device. Only two counts per member
and a d×d covariance per member and layer cross to the host.

Shapes: S members, N questions, L inputs per question, q possible answers, d features of a layer, Σd features of all layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import array_api_compat as array_api
import numpy as np
from numpy.typing import NDArray

from grokbench.agents.agent import Action, Observation, checked_feature_dims
from grokbench.agents.trees import to_numpy
from grokbench.errors import ActionError
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome, Protocol, Ranks
from grokbench.evaluation.ranks import AnyArray, all_ranks, covariance
from grokbench.tasks import Instance


@dataclass(frozen=True)
class Marks:
    """The marks of one member's answers and features.

    Attributes:
        train: right answers on the training questions.
        held_out: right answers on the held-out questions.
        ranks: for every measure a number per layer; None if the features aren't finite.
    """

    train: int
    held_out: int
    ranks: Ranks | None


class Examiner:
    """Marks the exams of S instances of one task. Every instance is a member with its own outcome.

    Attributes:
        instances: the instance of every member.
        task: the task of all instances.
        feature_dims: the widths of the layers that the agent shows.
        outcomes: the outcome of every member's exams so far.
    """

    def __init__(self, instances: Sequence[Instance], feature_dims: Sequence[int], protocol: Protocol = PROTOCOL) -> None:
        self.instances = list(instances)
        self.task = self.instances[0].task
        self.feature_dims = checked_feature_dims(feature_dims)
        self.protocol = protocol
        self.outcomes = [Outcome() for _ in self.instances]
        self._keys = lru_cache(maxsize=4)(self._make_keys)

    def steps_to_next_exam(self, member: int) -> int:
        """The number of steps that `member` takes before its next exam; 0 after its run has ended."""
        outcome = self.outcomes[member]
        if outcome.end:
            return 0
        return self.protocol.next_exam(outcome.step, self.task.budget) - outcome.step

    def observation(self, member: int) -> Observation:
        """New arrays with what the agent of `member` sees: inputs (N, L), targets (N,), steps_to_next_exam ()."""
        instance = self.instances[member]
        return {
            "inputs": instance.shown_inputs.copy(),
            "targets": instance.targets.copy(),
            "steps_to_next_exam": np.int64(self.steps_to_next_exam(member)),
        }

    def observations(self, members: Sequence[int]) -> Observation:
        """The stacked observations of several members, with a leading axis before each array."""
        each = [self.observation(member) for member in members]
        return {name: np.stack([observation[name] for observation in each]) for name in each[0]}

    def mark(
        self,
        action: Action,
        members: Sequence[int],
        *,
        losses: Sequence[float | None] | None = None,
        metrics: Sequence[Ranks | None] | None = None,
    ) -> list[Exam]:
        """Mark the next exam of every member in `members`, and advance their outcomes.

        Args:
            action: answers (len(members), N) and features (len(members), N, Σd).
            members: indices into `instances`.
            losses: the training loss that the agent reports for each of them.
            metrics: the other numbers that the agent reports for each of them.

        Raises:
            ActionError: the action has wrong keys, shapes, dtypes or values; no outcome has changed.
        """
        answers, features = self._checked(action, leading=(len(members),))
        reports = zip(losses or [None] * len(members), metrics or [None] * len(members), strict=True)
        marked = list(zip(members, self._marks(answers, features, members), reports, strict=True))
        return [self._advance(member, marks, *report) for member, marks, report in marked]

    def mark_member(self, action: Action, member: int = 0, *, loss: float | None = None, metrics: Ranks | None = None) -> Exam:
        """Mark the next exam of one member, from arrays without a leading axis: answers (N,) and features (N, Σd).

        Raises:
            ActionError: as `mark` does, with shapes that have no leading axis.
        """
        answers, features = self._checked(action, leading=())
        (marks,) = self._marks(answers[None], features[None], [member])
        return self._advance(member, marks, loss, metrics)

    def _advance(self, member: int, marks: Marks, loss: float | None, metrics: Ranks | None) -> Exam:
        outcome = self.outcomes[member]
        exam = Exam(
            step=outcome.step + self.steps_to_next_exam(member),
            train=marks.train,
            held_out=marks.held_out,
            ranks=marks.ranks,
            loss=_finite_or_none(loss),
            metrics=metrics or None,
        )
        self.outcomes[member] = self.protocol.advance(outcome, exam, self.task)
        return exam

    def _checked(self, action: Action, *, leading: tuple[int, ...]) -> tuple[AnyArray, AnyArray]:
        """The answers (*leading, N) and the features (*leading, N, Σd)."""
        answers, features = _arrays_of(action)
        n, width = self.task.num_questions, sum(self.feature_dims)
        _check_shape("answers", answers, (*leading, n))
        _check_shape("features", features, (*leading, n, width))
        _check_answers(answers, self.task.num_symbols)
        if not _is_dtype(features, "real floating"):
            raise ActionError(f"features are floating-point numbers, got dtype {features.dtype}")
        return answers, features

    def _marks(self, answers: AnyArray, features: AnyArray, members: Sequence[int]) -> Iterator[Marks]:
        train, held_out = self._count_right(answers, tuple(members)).tolist()
        return map(Marks, train, held_out, self._ranks(features))

    def _count_right(self, answers: AnyArray, members: tuple[int, ...]) -> NDArray[np.int64]:
        """Right answers on training and on held-out questions, (2, S)."""
        xp = array_api.array_namespace(answers)
        right_answers, train = self._keys(members, array_api.device(answers), xp)
        right = answers == right_answers
        counts = xp.stack([xp.sum(xp.astype(right & part, xp.int64), axis=-1) for part in (train, ~train)])
        return to_numpy(counts)

    def _make_keys(self, members: tuple[int, ...], device: Any, xp: Any) -> tuple[AnyArray, AnyArray]:
        """The right answers and the mask of training questions, (S, N) each, on the agent's device."""
        instances = [self.instances[member] for member in members]
        right_answers = np.stack([instance.shown_answers for instance in instances])
        train = np.stack([instance.train for instance in instances])
        return xp.asarray(right_answers, device=device), xp.asarray(train, device=device)

    def _ranks(self, features: AnyArray) -> list[Ranks | None]:
        """The ranks of every member, from features (S, N, Σd); None for a member whose features aren't finite."""
        covariances = self._covariances(features)
        finite = _are_finite(covariances)
        if not finite.all():
            covariances = [_zeros_where(~finite, layer) for layer in covariances]
        ranks = ranks_by_member([all_ranks(layer, self.task.num_questions) for layer in covariances])
        return [member_ranks if ok else None for member_ranks, ok in zip(ranks, finite, strict=True)]

    def _covariances(self, features: AnyArray) -> list[AnyArray]:
        """The covariance (S, d, d) of every layer, on the host, in the library of `features`.

        Another library's threads for the eigenvalues would wait for those of the agent's library, and the reverse.
        """
        edges = pairwise(accumulate(self.feature_dims, initial=0))
        return [array_api.to_device(covariance(features[..., start:stop]), "cpu") for start, stop in edges]


def ranks_by_member(layers: Sequence[Mapping[str, AnyArray]]) -> list[Ranks]:
    """Regroup ranks: from a mapping per layer, measure → (S,), to a mapping per member, measure → [a number per layer]."""
    by_measure = {name: np.stack([to_numpy(layer[name]) for layer in layers], axis=1).tolist() for name in layers[0]}
    members = len(next(iter(by_measure.values())))
    return [{name: rows[member] for name, rows in by_measure.items()} for member in range(members)]


def _are_finite(covariances: Sequence[AnyArray]) -> NDArray[np.bool_]:
    """(S,) whether the covariances of all layers, (S, d, d) each, are finite."""
    xp = array_api.array_namespace(*covariances)
    finite: NDArray[np.bool_] = np.all([to_numpy(xp.all(xp.isfinite(c), axis=(-2, -1))) for c in covariances], axis=0)
    return finite


def _zeros_where(mask: NDArray[np.bool_], covariances: AnyArray) -> AnyArray:
    """`covariances` (S, d, d) with zeros for the members of `mask` (S,)."""
    xp = array_api.array_namespace(covariances)
    return xp.where(xp.asarray(mask)[:, None, None], xp.zeros_like(covariances), covariances)


def _arrays_of(action: Action) -> tuple[AnyArray, AnyArray]:
    if not isinstance(action, dict) or set(action) != {"answers", "features"}:
        got = f"the keys {sorted(map(str, action))}" if isinstance(action, dict) else f"a {type(action).__name__}"
        raise ActionError(f"an action is a dict with the keys 'answers' and 'features', got {got}")
    return _as_array(action["answers"], "answers"), _as_array(action["features"], "features")


def _as_array(value: Any, name: str) -> AnyArray:
    if array_api.is_torch_array(value):
        return value.detach()
    if array_api.is_array_api_obj(value):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ActionError(f"{name} must be an array, got {type(value).__name__}: {error}") from None


def _check_shape(name: str, array: AnyArray, expected: tuple[int, ...]) -> None:
    if tuple(array.shape) != expected:
        raise ActionError(f"{name} must have shape {expected}, got {tuple(array.shape)}")


def _check_answers(answers: AnyArray, q: int) -> None:
    if not _is_dtype(answers, "integral"):
        raise ActionError(f"answers are whole numbers in [0, {q}), got dtype {answers.dtype}")
    try:
        low, high = int(answers.min()), int(answers.max())
    except NotImplementedError:  # torch has unsigned dtypes without comparisons
        raise ActionError(f"answers of dtype {answers.dtype} can't be compared by their library: use int64") from None
    if low < 0 or high >= q:
        raise ActionError(f"answers lie in [0, {q}), got {low if low < 0 else high}; blanks must be filled in")


def _is_dtype(array: AnyArray, kind: str) -> bool:
    if isinstance(array, np.ndarray) and array.dtype.kind not in "iuf":
        return False
    is_kind: bool = array_api.array_namespace(array).isdtype(array.dtype, kind)
    return is_kind


def _finite_or_none(loss: float | None) -> float | None:
    return float(loss) if loss is not None and np.isfinite(loss) else None
