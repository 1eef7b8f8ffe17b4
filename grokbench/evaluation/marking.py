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
from grokbench.evaluation.protocol import Exam, Outcome, Protocol, Ranks, protocol_of
from grokbench.evaluation.ranks import AnyArray, all_ranks, covariance
from grokbench.tasks import Instance


@dataclass(frozen=True)
class Marks:
    """The marks of one member's answers, features and logits.

    Attributes:
        train: right answers on the training questions.
        held_out: right answers on the held-out questions.
        finite: whether the features are finite.
        ranks: for every measure a number per layer; None where they weren't measured or the features aren't finite.
        losses: mean cross-entropy on training and on held-out questions, in nats; None without logits.
    """

    train: int
    held_out: int
    finite: bool
    ranks: Ranks | None
    losses: tuple[float, float] | None


class Examiner:
    """Marks the exams of S instances of one task. Every instance is a member with its own outcome.

    Attributes:
        instances: the instance of every member.
        task: the task of all instances.
        feature_dims: the widths of the layers that the agent shows.
        outcomes: the outcome of every member's exams so far.
    """

    def __init__(self, instances: Sequence[Instance], feature_dims: Sequence[int], protocol: Protocol | None = None) -> None:
        self.instances = list(instances)
        self.task = self.instances[0].task
        self.feature_dims = checked_feature_dims(feature_dims)
        self.protocol = protocol or protocol_of(self.task)
        self.outcomes = [Outcome() for _ in self.instances]
        self._keys = lru_cache(maxsize=4)(self._make_keys)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_keys"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keys = lru_cache(maxsize=4)(self._make_keys)  # of the copy, whose members may be on another device

    def steps_to_next_exam(self, member: int) -> int:
        """The number of steps that `member` takes before its next exam; 0 after its run has ended."""
        outcome = self.outcomes[member]
        if outcome.end:
            return 0
        return self.protocol.next_exam(outcome.step, self.protocol.horizon(self.task)) - outcome.step

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
            action: answers (len(members), N), features (len(members), N, Σd), and logits (len(members), N, q) if there are any.
            members: indices into `instances`.
            losses: the training loss that the agent reports for each of them.
            metrics: the other numbers that the agent reports for each of them.

        Raises:
            ActionError: the action has wrong keys, shapes, dtypes or values; no outcome has changed.
        """
        arrays = self._checked(action, leading=(len(members),))
        reports = zip(losses or [None] * len(members), metrics or [None] * len(members), strict=True)
        marked = list(zip(members, self._marks(arrays, members), reports, strict=True))
        return [self._advance(member, marks, *report) for member, marks, report in marked]

    def mark_member(self, action: Action, member: int = 0, *, loss: float | None = None, metrics: Ranks | None = None) -> Exam:
        """Mark the next exam of one member, from arrays without a leading axis: answers (N,), features (N, Σd), logits (N, q).

        Raises:
            ActionError: as `mark` does, with shapes that have no leading axis.
        """
        arrays = {name: array[None] for name, array in self._checked(action, leading=()).items()}
        (marks,) = self._marks(arrays, [member])
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
            train_loss=marks.losses[0] if marks.losses else None,
            held_out_loss=marks.losses[1] if marks.losses else None,
            diverged=not marks.finite,
        )
        self.outcomes[member] = self.protocol.advance(outcome, exam, self.task)
        return exam

    def _checked(self, action: Action, *, leading: tuple[int, ...]) -> dict[str, AnyArray]:
        """The answers (*leading, N), the features (*leading, N, Σd), and the logits (*leading, N, q) if there are any."""
        arrays = _arrays_of(action)
        n, q = self.task.num_questions, self.task.num_symbols
        shapes = {"answers": (*leading, n), "features": (*leading, n, sum(self.feature_dims)), "logits": (*leading, n, q)}
        for name, array in arrays.items():
            _check_shape(name, array, shapes[name])
            if name != "answers" and not _is_dtype(array, "real floating"):
                raise ActionError(f"{name} are floating-point numbers, got dtype {array.dtype}")
        _check_answers(arrays["answers"], q)
        return arrays

    def _marks(self, arrays: Mapping[str, AnyArray], members: Sequence[int]) -> Iterator[Marks]:
        train, held_out = self._count_right(arrays["answers"], tuple(members)).tolist()
        finite, ranks = self._finite_and_ranks(arrays["features"], members)
        losses = self._losses(arrays["logits"], tuple(members)) if "logits" in arrays else [None] * len(members)
        return map(Marks, train, held_out, finite, ranks, losses)

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

    def _losses(self, logits: AnyArray, members: tuple[int, ...]) -> list[tuple[float, float] | None]:
        """The mean cross-entropy of every member on training and on held-out questions; None where it isn't finite."""
        xp = array_api.array_namespace(logits)
        right_answers, train = self._keys(members, array_api.device(logits), xp)
        precise = xp.astype(logits, xp.float64)
        with np.errstate(invalid="ignore"):  # infinite logits give NaN, which is no loss
            shifted = precise - xp.max(precise, axis=-1, keepdims=True)  # (S, N, q)
        right = xp.take_along_axis(shifted, right_answers[..., None], axis=-1)[..., 0]  # (S, N)
        losses = xp.log(xp.sum(xp.exp(shifted), axis=-1)) - right  # (S, N)
        sums = [xp.sum(xp.where(part, losses, xp.zeros_like(losses)), axis=-1) for part in (train, ~train)]
        means = to_numpy(xp.stack(sums, axis=-1)) / np.array([self.task.num_train, self.task.num_held_out])  # (S, 2)
        return [
            (float(of_train), float(of_held_out)) if np.isfinite((of_train, of_held_out)).all() else None
            for of_train, of_held_out in means
        ]

    def _finite_and_ranks(self, features: AnyArray, members: Sequence[int]) -> tuple[list[bool], list[Ranks | None]]:
        """Whether the features (S, N, Σd) of every member are finite, and their ranks where the exam measures them."""
        due = [i for i, member in enumerate(members) if self.protocol.measures_ranks(self.outcomes[member].exams)]
        if not due:
            return _finite_members(features).tolist(), [None] * len(members)
        measured = self._ranks(features if len(due) == len(members) else features[due])
        ranks = dict(zip(due, measured, strict=True))
        others = _finite_members(features) if len(due) < len(members) else np.ones(len(members), bool)
        finite = [ranks[i] is not None if i in ranks else bool(others[i]) for i in range(len(members))]
        return finite, [ranks.get(i) for i in range(len(members))]

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


def check_logits(answers: Any, logits: Any) -> None:
    """Check that every answer, (…, N), has the largest of its question's logits, (…, N, q). NaN passes.

    Their shapes must have been checked.

    Raises:
        ActionError: an answer hasn't, so answers and logits don't come from the same weights.
    """
    logits = _as_array(logits, "logits")
    xp = array_api.array_namespace(logits)
    index = xp.astype(xp.asarray(_as_array(answers, "answers"), device=array_api.device(logits)), xp.int64)[..., None]
    chosen = xp.take_along_axis(logits, index, axis=-1)[..., 0]
    if bool(xp.any(chosen < xp.max(logits, axis=-1))):
        raise ActionError("every answer must be the symbol with the largest logit, so that the same weights give both")


def _finite_members(features: AnyArray) -> NDArray[np.bool_]:
    """(S,) whether the features (S, N, Σd) are finite."""
    xp = array_api.array_namespace(features)
    with np.errstate(over="ignore", invalid="ignore"):
        finite: NDArray[np.bool_] = np.isfinite(to_numpy(xp.sum(features, axis=(-2, -1))))
    if not finite.all():  # a sum of finite numbers may overflow, so look at every one
        finite = to_numpy(xp.all(xp.isfinite(features), axis=(-2, -1)))
    return finite


def _are_finite(covariances: Sequence[AnyArray]) -> NDArray[np.bool_]:
    """(S,) whether the covariances of all layers, (S, d, d) each, are finite."""
    xp = array_api.array_namespace(*covariances)
    finite: NDArray[np.bool_] = np.all([to_numpy(xp.all(xp.isfinite(c), axis=(-2, -1))) for c in covariances], axis=0)
    return finite


def _zeros_where(mask: NDArray[np.bool_], covariances: AnyArray) -> AnyArray:
    """`covariances` (S, d, d) with zeros for the members of `mask` (S,)."""
    xp = array_api.array_namespace(covariances)
    return xp.where(xp.asarray(mask)[:, None, None], xp.zeros_like(covariances), covariances)


def _arrays_of(action: Action) -> dict[str, AnyArray]:
    if not isinstance(action, dict) or set(action) - {"logits"} != {"answers", "features"}:
        got = f"the keys {sorted(map(str, action))}" if isinstance(action, dict) else f"a {type(action).__name__}"
        raise ActionError(f"an action is a dict with the keys 'answers' and 'features', and 'logits' if wanted, got {got}")
    return {name: _as_array(value, name) for name, value in action.items()}


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
