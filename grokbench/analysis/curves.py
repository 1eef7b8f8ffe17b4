"""A run record as arrays over its exams, and the numbers that statements about the run need."""

from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import numpy as np

from grokbench.analysis.patterns import Fit, fit
from grokbench.analysis.series import FloatArray
from grokbench.analysis.stages import MINIMAL_RISE, Delay, Stretch, delayed_generalization, rank_falls, surges
from grokbench.errors import CurveError
from grokbench.runs.records import ExamRecord, RunRecord

EFFECTIVE_RANK = "effective_rank"
NUMERICAL_RANK = "deep_grokking_rank_code"  # the rank that the code of "Deep Grokking" computes
GENERALIZED = 0.5  # held-out accuracy far above chance in every study
TUNNEL = 0.75  # of the width: "Deep Grokking" counts a layer of 400 units as tunnel if its rank is below 300


@dataclass(frozen=True)
class MetricCurve:
    """A metric that the agent reported, with a number for each layer.

    Attributes:
        steps: (M,) the exams at which the metric was reported.
        values: (M, L) the metric of each of L layers.
    """

    steps: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class RankChange:
    """The rank of a layer at an earlier step and at the end of the run."""

    start: float
    end: float


@dataclass(frozen=True)
class Curves:
    """The curves of one run: T exams, L layers whose features the agent reports.

    A method that takes `measure` and `layer` reads that rank measure of that layer, by default the last layer's effective rank.

    Example:
        >>> curves = Curves(grokbench.run("transformer", "add_mod47-0.7").record)  # doctest: +SKIP
        >>> curves.delay, curves.num_rank_falls()  # doctest: +SKIP
    """

    record: RunRecord

    @cached_property
    def exams(self) -> list[ExamRecord]:
        """The exams before the run diverged. A run that diverged at once keeps its first exam."""
        return list(takewhile(lambda exam: not exam.diverged, self.record.exams)) or self.record.exams[:1]

    @cached_property
    def steps(self) -> FloatArray:
        """The steps of the exams, (T,)."""
        return np.array([exam.step for exam in self.exams], dtype=float)

    @cached_property
    def train(self) -> FloatArray:
        """Train accuracy, (T,)."""
        return np.array([exam.train for exam in self.exams]) / self.record.parsed_task().num_train

    @cached_property
    def held_out(self) -> FloatArray:
        """Held-out accuracy, (T,)."""
        return np.array([exam.held_out for exam in self.exams]) / self.record.parsed_task().num_held_out

    def rank(self, measure: str = EFFECTIVE_RANK) -> FloatArray:
        """A rank measure of every layer, (T, L). It is 0 if the run diverged at once.

        Between two exams that measure ranks it is interpolated along the logarithm of the step.

        Raises:
            CurveError: no exam measured ranks, as in runs with sparse exams.
        """
        measured = [(exam.step, exam.ranks[measure]) for exam in self.exams if exam.ranks]
        if not measured and self.exams and not self.exams[0].diverged:
            raise CurveError("these exams measured no ranks: make the run with full exams")
        if not measured:
            return np.zeros((len(self.exams), len(self.record.agent.feature_dims or [0])))
        steps, ranks = (np.array(values, dtype=float) for values in zip(*measured, strict=True))  # (R,), (R, L)
        return np.stack([np.interp(np.log(self.steps), np.log(steps), layer) for layer in ranks.T], axis=1)

    def metric(self, name: str) -> MetricCurve:
        """The metric of this name at the exams that have it."""
        exams = [(exam.step, exam.metrics[name]) for exam in self.exams if exam.metrics and name in exam.metrics]
        return MetricCurve(
            steps=np.array([step for step, _ in exams], dtype=float),
            values=np.array([layers for _, layers in exams], dtype=float),
        )

    @property
    def final_train(self) -> float:
        """Train accuracy at the end."""
        return float(self.train[-1])

    @property
    def final_held_out(self) -> float:
        """Held-out accuracy at the end."""
        return float(self.held_out[-1])

    @property
    def steps_to_memorize(self) -> int | None:
        """The first step with train accuracy at the protocol's threshold, None if there is none."""
        return self.record.outcome.steps_to_memorize

    def first_step_at(self, accuracy: float) -> float | None:
        """The first step with this held-out accuracy or more, None if there is none."""
        reached = self.steps[self.held_out >= accuracy]
        return float(reached[0]) if len(reached) else None

    @cached_property
    def delay(self) -> Delay | None:
        """How late the run generalizes, None if it isn't late."""
        return delayed_generalization(self.steps, train=self.train, held_out=self.held_out)

    @property
    def generalizes_at_once(self) -> bool:
        """Whether the run ends above `GENERALIZED` and got there without delay."""
        return self.delay is None and self.final_held_out >= GENERALIZED

    @cached_property
    def surges(self) -> list[Stretch]:
        """The surges of held-out accuracy."""
        return surges(self.steps, self.held_out)

    @cached_property
    def halfway_step(self) -> float | None:
        """The step with held-out accuracy halfway from its level at memorization to its best.

        None if the run never memorizes.
        """
        if self.steps_to_memorize is None:
            return None
        best = np.maximum.accumulate(self.held_out)
        start = best[self.steps == self.steps_to_memorize][0]
        return float(self.steps[np.argmax(best >= (start + best[-1]) / 2)])

    @property
    def settled(self) -> bool:
        """Whether held-out accuracy has surged and has stopped rising.

        It has stopped if it gained less than a minimal surge over the last fifth of the steps.
        """
        before = self.held_out[self.steps <= 0.8 * self.steps[-1]]
        return len(self.surges) > 0 and self.final_held_out - float(before[-1]) < MINIMAL_RISE

    @cached_property
    def fit(self) -> Fit:
        """Two patterns fitted to the run's accuracies."""
        return fit(self.steps, train=self.train, held_out=self.held_out)

    def num_rank_falls(self, measure: str = EFFECTIVE_RANK, *, layer: int = -1) -> int:
        """The number of falls of a layer's rank; a rise separates two falls."""
        return len(rank_falls(self.steps, self.rank(measure)[:, layer]))

    def rank_change_since_surge(self, measure: str = EFFECTIVE_RANK, *, layer: int = -1) -> RankChange:
        """A layer's rank where the first surge of held-out accuracy starts, and at the end. The run must have a surge."""
        rank = self.rank(measure)[:, layer]
        start = np.interp(np.log(self.surges[0].start), np.log(self.steps), rank)
        return RankChange(start=float(start), end=float(rank[-1]))

    def rank_change_since_memorizing(self, measure: str = EFFECTIVE_RANK, *, layer: int = -1) -> RankChange:
        """A layer's rank at memorization, and at the end. A run that never memorizes starts at its first exam."""
        rank = self.rank(measure)[:, layer]
        start = rank[self.steps == self.steps_to_memorize] if self.steps_to_memorize else rank[:1]
        return RankChange(start=float(start[0]), end=float(rank[-1]))

    def rank_lag(self, measure: str = EFFECTIVE_RANK, *, layer: int = -1) -> float | None:
        """How many times `halfway_step` a layer's rank takes for half of its fall since the first surge.

        None if the rank doesn't fall or the run never memorizes.
        """
        change = self.rank_change_since_surge(measure, layer=layer)
        has_half_fallen = self.rank(measure)[:, layer] <= (change.start + change.end) / 2
        reached = has_half_fallen & (self.steps >= self.surges[0].start)
        if self.halfway_step is None or change.end >= change.start or not reached.any():
            return None
        return float(self.steps[np.argmax(reached)]) / self.halfway_step

    def tunnel(self, width: int, *, measure: str = NUMERICAL_RANK) -> int:
        """The number of last hidden layers in a row with a final rank below `TUNNEL` times `width`."""
        final_ranks = self.rank(measure)[-1]
        return len(list(takewhile(lambda rank: rank < TUNNEL * width, reversed(final_ranks))))
