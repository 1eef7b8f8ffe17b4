"""The picture of one run: the last exam as a line of text, or every question as a pixel."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.evaluation.protocol import Exam
from grokbench.tasks import Instance

MIN_PIXELS = 194  # the smallest side of a picture; questions of smaller tables get several pixels
EVEN = 2  # video players expect sides of an even number of pixels

# Right and wrong training questions, right and wrong held-out questions, no question.
QUESTION_COLORS = np.array([[44, 123, 182], [171, 217, 233], [26, 150, 65], [215, 48, 39], [230, 230, 230]], dtype=np.uint8)
NO_QUESTION = 4


@dataclass(frozen=True, eq=False)
class Frame:
    """The last exam of one member and its answers, (N,). Both are None before the first exam."""

    exam: Exam | None = None
    answers: NDArray[Any] | None = None

    def line(self, instance: Instance) -> str:
        """The exam in one line of text."""
        task = instance.task
        if self.exam is None:
            return f"{task.id} seed {instance.seed}  step 0  nothing answered yet"
        rank = f"  effective rank {self.exam.ranks['effective_rank'][-1]:.1f}" if self.exam.ranks else ""
        return (
            f"{task.id} seed {instance.seed}  step {self.exam.step}  "
            f"train {self.exam.train / task.num_train:.1%}  held out {self.exam.held_out / task.num_held_out:.1%}"
            f"{'  diverged' if self.exam.diverged else rank}"
        )

    def picture(self, instance: Instance) -> NDArray[np.uint8]:
        """The table in its true order as pixels, (height, width, 3). Both sides are even."""
        side = int(instance.places.max()) + 1
        kinds = np.full((side, side), NO_QUESTION)
        kinds[tuple(instance.places.T)] = self._kinds(instance)
        multiple = EVEN if side % EVEN else 1
        scale = multiple * ceil(MIN_PIXELS / (side * multiple))
        return np.kron(QUESTION_COLORS[kinds], np.ones((scale, scale, 1), dtype=np.uint8))

    def _kinds(self, instance: Instance) -> NDArray[np.int64]:
        """(N,) the index in `QUESTION_COLORS` of every question. Before the first exam every answer counts as wrong."""
        right = np.zeros(len(instance.train), bool) if self.answers is None else self.answers == instance.shown_answers
        train = instance.train
        kinds: NDArray[np.int64] = np.select([train & right, train & ~right, ~train & right, ~train & ~right], range(4))
        return kinds
