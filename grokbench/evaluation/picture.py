"""What there is to see of one run: a line of text, or the table as pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.evaluation.protocol import Exam
from grokbench.tasks import Instance

SMALLEST_FRAME = 194  # pixels; smaller tables are drawn with larger cells


# Right and wrong on seen cells, right and wrong on held-out cells, no such question.
COLORS = np.array([[44, 123, 182], [171, 217, 233], [26, 150, 65], [215, 48, 39], [230, 230, 230]], dtype=np.uint8)


class Frame:
    """What there is to see of one member: its last exam and the answers it gave."""

    def __init__(self, exam: Exam | None = None, answers: NDArray[Any] | None = None) -> None:
        self.exam = exam
        self.answers = answers

    def line(self, instance: Instance) -> str:
        """The exam in one line of text."""
        task = instance.task
        if self.exam is None:
            return f"{task.id} seed {instance.seed}  step 0  nothing answered yet"
        exam, rank = (
            self.exam,
            "diverged" if self.exam.ranks is None else f"{self.exam.ranks['effective_rank'][-1]:.1f}",
        )
        train, held_out = exam.train / task.num_train, exam.held_out / task.num_held_out
        return (
            f"{task.id} seed {instance.seed}  step {exam.step}  "
            f"train {train:.1%}  held out {held_out:.1%}  effective rank {rank}"
        )

    def picture(self, instance: Instance) -> NDArray[np.uint8]:
        """The table in its true order as pixels, (height, width, 3)."""
        side = int(instance.places.max()) + 1
        right = np.zeros(instance.task.num_questions, bool) if self.answers is None else self.answers == instance.shown_answers
        kinds = np.full((side, side), len(COLORS) - 1)
        kinds[tuple(instance.places.T)] = 2 * ~instance.train + ~right
        scale = -(-SMALLEST_FRAME // side)
        return np.kron(COLORS[kinds], np.ones((scale, scale, 1), dtype=np.uint8))
