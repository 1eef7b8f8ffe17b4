"""Marking: the one place where an agent's answers meet the held-out ones. Used by the environments and the runner alike.

Answers and features may be numpy arrays or tensors on any device. They are marked where they live; what crosses to the
host is two counts per seed and one d×d covariance per layer.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import array_api_compat as arrays
import numpy as np
from numpy.typing import NDArray

from grokbench.agents.agent import Action, Observation, checked_feature_dims
from grokbench.agents.trees import to_numpy
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome, Protocol, Ranks
from grokbench.evaluation.ranks import all_ranks, covariance
from grokbench.tasks import Instance


class Examiner:
    """Sets and marks the exams of several instances of one task, each with a clock of its own.

    Attributes:
        instances: the S instances.
        outcomes: what each instance's exams amount to so far.
    """

    def __init__(self, instances: Sequence[Instance], feature_dims: Sequence[int], protocol: Protocol = PROTOCOL) -> None:
        self.instances = list(instances)
        self.task = self.instances[0].task
        self.feature_dims = checked_feature_dims(feature_dims)
        self.protocol = protocol
        self.outcomes = [Outcome() for _ in self.instances]
        self._keys = lru_cache(maxsize=4)(self._make_keys)

    def steps_to_next_exam(self, member: int) -> int:
        """The number of steps that `member` takes before its next exam; 0 once its run has ended."""
        outcome = self.outcomes[member]
        if outcome.end:
            return 0
        return self.protocol.next_exam(outcome.step, self.task.budget) - outcome.step

    def observation(self, member: int) -> Observation:
        """What the agent of `member` may see, in arrays of its own: inputs (N, 2), targets (N,), updates ()."""
        instance = self.instances[member]
        return {
            "inputs": instance.shown_inputs.copy(),
            "targets": instance.targets.copy(),
            "steps_to_next_exam": np.int64(self.steps_to_next_exam(member)),
        }

    def observations(self, members: Sequence[int]) -> Observation:
        """Those of several members, stacked: a leading axis before each array."""
        each = [self.observation(member) for member in members]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def mark(
        self,
        action: Action,
        members: Sequence[int],
        losses: Sequence[float | None] | None = None,
        metrics: Sequence[Ranks] | None = None,
    ) -> list[Exam]:
        """Mark one exam for each of `members` and move their outcomes on; each keeps its loss and metrics.

        `action["answers"]` has shape (len(members), N), `action["features"]` (len(members), N, Σd).

        Raises:
            ValueError: wrong keys, shape, dtype or range; nothing has changed then.
        """
        answers, features = self._checked(action, len(members))
        seen, held_out = self._count(answers, tuple(members))
        ranks = self._ranks(features)
        losses = losses if losses is not None else [None] * len(members)
        exams = []
        for i, member in enumerate(members):
            step = self.outcomes[member].step + self.steps_to_next_exam(member)
            exam = Exam(
                step, int(seen[i]), int(held_out[i]), ranks[i], _finite(losses[i]), metrics[i] or None if metrics else None
            )
            self.outcomes[member] = self.protocol.advance(self.outcomes[member], exam, self.task)
            exams.append(exam)
        return exams

    def _checked(self, action: Action, members: int) -> tuple[Any, Any]:
        if not isinstance(action, dict) or set(action) != {"answers", "features"}:
            found = f"the keys {sorted(map(str, action))}" if isinstance(action, dict) else f"a {type(action).__name__}"
            raise ValueError(f"an action is a dict with the keys 'answers' and 'features', got {found}")
        answers, features = (_as_array(action[name], name) for name in ("answers", "features"))
        n, q, width = self.task.num_questions, self.task.num_symbols, sum(self.feature_dims)
        _check_shape("answers", answers, (members, n))
        _check_shape("features", features, (members, n, width))
        if not _is_dtype(answers, "integral"):
            raise ValueError(f"answers are whole numbers in [0, {q}), got dtype {answers.dtype}")
        if not _is_dtype(features, "real floating"):
            raise ValueError(f"features are floating-point numbers, got dtype {features.dtype}")
        try:
            low, high = int(answers.min()), int(answers.max())
        except NotImplementedError:  # torch can hold unsigned numbers, but not compare them
            raise ValueError(f"answers of dtype {answers.dtype} can't be compared by their library; use int64") from None
        if low < 0 or high >= q:
            raise ValueError(f"answers lie in [0, {q}), got {low if low < 0 else high}; blanks must be filled in")
        return answers, features

    def _count(self, answers: Any, members: tuple[int, ...]) -> NDArray[np.int64]:
        """Right answers on seen and on held-out cells: (2, members)."""
        xp = arrays.array_namespace(answers)
        key, seen = self._keys(members, arrays.device(answers), xp)
        right = answers == key
        counts = xp.stack([xp.sum(xp.astype(right & part, xp.int64), axis=-1) for part in (seen, ~seen)])
        return to_numpy(counts)

    def _make_keys(self, members: tuple[int, ...], device: Any, xp: Any) -> tuple[Any, Any]:
        instances = [self.instances[member] for member in members]
        key = np.stack([instance.shown_answers for instance in instances])
        seen = np.stack([instance.train for instance in instances])
        return xp.asarray(key, device=device), xp.asarray(seen, device=device)

    def _ranks(self, features: Any) -> list[dict[str, list[float]] | None]:
        """Per member every measure for every layer, or None where its features aren't finite."""
        edges = pairwise(accumulate(self.feature_dims, initial=0))
        # On the host in the library they came in: two libraries' threads in turn would keep each other waiting.
        layers = [arrays.to_device(covariance(features[..., start:stop]), "cpu") for start, stop in edges]
        xp = arrays.array_namespace(*layers)
        finite = np.all([to_numpy(xp.all(xp.isfinite(layer), axis=(-2, -1))) for layer in layers], axis=0)
        if not finite.all():
            layers = [xp.where(xp.asarray(finite)[:, None, None], layer, xp.zeros_like(layer)) for layer in layers]
        ranks = [{name: to_numpy(rank) for name, rank in all_ranks(layer, self.task.num_questions).items()} for layer in layers]
        return [
            {name: [float(layer[name][i]) for layer in ranks] for name in ranks[0]} if finite[i] else None
            for i in range(len(finite))
        ]


def _as_array(value: Any, name: str) -> Any:
    if arrays.is_torch_array(value):
        return value.detach()
    if arrays.is_array_api_obj(value):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, got {type(value).__name__}: {error}") from None


def _check_shape(name: str, array: Any, expected: tuple[int, ...]) -> None:
    if tuple(array.shape) != expected:
        raise ValueError(f"{name} must have shape {expected}, got {tuple(array.shape)}")


def _is_dtype(array: Any, kind: str) -> bool:
    if isinstance(array, np.ndarray) and array.dtype.kind not in "iuf":
        return False
    answer: bool = arrays.array_namespace(array).isdtype(array.dtype, kind)
    return answer


def _finite(loss: float | None) -> float | None:
    return float(loss) if loss is not None and np.isfinite(loss) else None
