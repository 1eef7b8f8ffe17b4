"""Runs with made-up curves, for tests of analysis and of studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grokbench.analysis.curves import NUMERICAL_RANK, Curves
from grokbench.evaluation.protocol import PROTOCOL, Exam
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.provenance import current_provenance
from grokbench.runs.records import Cost, make_record
from grokbench.studies.settings import Setting

FIRST_STEP = 5
LAYERS = 2


@dataclass(frozen=True)
class Shape:
    """The levels of a run's curves at points that are evenly spaced in log-steps, from the first exam to the budget.

    `numerical` has the levels of the numerical rank. By default it is like the other ranks.
    """

    train: Sequence[float]
    held_out: Sequence[float]
    rank: Sequence[float]
    numerical: Sequence[float] | None = None

    def knot(self, position: float, *, budget: int) -> float:
        """The step of a point, or of a place between two points: 0 is the first point."""
        return float(FIRST_STEP * (budget / FIRST_STEP) ** (position / (len(self.train) - 1)))


MEMORIZES = [0.1, 0.99, 1, 1, 1, 1, 1, 1, 1]
LATE = Shape(MEMORIZES, [0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.8, 0.9, 0.9], [90, 90, 80, 80, 70, 60, 40, 30, 30])
AT_ONCE = Shape(MEMORIZES, [0.1, 0.88, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [50] * 9)
TWO_STAGES = Shape(MEMORIZES, [0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9], [90, 80, 50, 80, 80, 80, 80, 30, 30])
STILL_RISING = Shape(MEMORIZES, [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4, 0.8], LATE.rank)
NEVER = Shape(MEMORIZES, [0.1] * 9, LATE.rank)
UNFITTED = Shape([0.1] * 9, [0.05] * 9, LATE.rank)


def make_curves(setting: Setting, shape: Shape, *, seed: int = 0, diverged_at: int | None = None) -> Curves:
    """A run of a setting with these curves and an exam at every step of the protocol's grid up to the budget.

    Args:
        setting: The task and the recipe.
        shape: The curves; both layers have the same ranks.
        seed: The run's seed.
        diverged_at: The last exam's step, at which the features aren't finite.
    """
    experiment = setting.experiment
    last = experiment.task.budget if diverged_at is None else diverged_at
    steps = [step for step in PROTOCOL.grid(PROTOCOL.horizon(experiment.task)).steps if step <= last]
    knots = [shape.knot(position, budget=experiment.task.budget) for position in range(len(shape.train))]
    train, held_out, rank, numerical = (
        np.interp(np.log(steps), np.log(knots), levels)
        for levels in (shape.train, shape.held_out, shape.rank, shape.numerical or shape.rank)
    )
    by_measure = {measure: numerical if measure == NUMERICAL_RANK else rank for measure in MEASURES}
    exams = [
        Exam(
            step,
            round(float(train[i]) * experiment.task.num_train),
            round(float(held_out[i]) * experiment.task.num_held_out),
            _ranks(by_measure, i) if PROTOCOL.measures_ranks(i) and step != diverged_at else None,
            metrics={"weight_norm": [10 / (1 + i), 1.0, 1.0]} | ({"probe": [0.25, 0.75]} if i % 10 == 0 else {}),
            diverged=step == diverged_at,
        )
        for i, step in enumerate(steps)
    ]
    record = make_record(
        experiment.task,
        experiment.recipe,
        feature_dims=(200,) * LAYERS,
        seed=seed,
        salt="",
        fingerprint="",
        cohort=[seed],
        exams=exams,
        cost=Cost(steps=steps[-1], examples=None, flops=None, parameters=7, seconds=60.0),
        provenance=current_provenance("cpu", None),
        incomplete=None,
    )
    return Curves(record)


def _ranks(by_measure: Mapping[str, NDArray[np.float64]], exam: int) -> dict[str, list[float]]:
    return {measure: [float(levels[exam])] * LAYERS for measure, levels in by_measure.items()}
