"""What is measured on a study's runs: curves over steps, and the numbers that statements are about."""

from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from grokbench.analysis.patterns import Fit, fit
from grokbench.analysis.stages import MINIMAL_RISE, Delay, Stretch, delayed_generalization, rank_falls, surges
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs.records import ExamRecord, RunRecord

Array = NDArray[np.float64]
NUMERICAL = "deep_grokking_rank_code"
GENERALIZED = 0.5  # held out, far above the chance of any study
TUNNEL = 0.75  # of the width: "Deep Grokking" counts a layer of 400 units as tunnel where its rank is below 300


@dataclass(frozen=True)
class Curves:
    """One run, exam by exam: T exams, L layers shown."""

    record: RunRecord

    @cached_property
    def exams(self) -> list[ExamRecord]:
        """The exams up to where the run diverged, if it did; one that diverged at once has the first one alone."""
        return list(takewhile(lambda exam: exam.ranks is not None, self.record.exams)) or self.record.exams[:1]

    @cached_property
    def steps(self) -> Array:
        """(T,) the steps of the exams."""
        return np.array([exam.step for exam in self.exams], dtype=float)

    @cached_property
    def train(self) -> Array:
        """(T,) train accuracy."""
        return np.array([exam.train for exam in self.exams]) / self.record.parsed_task().num_train

    @cached_property
    def held_out(self) -> Array:
        """(T,) held-out accuracy."""
        return np.array([exam.held_out for exam in self.exams]) / self.record.parsed_task().num_held_out

    def rank(self, measure: str = "effective_rank") -> Array:
        """(T, L) a rank of every layer, 0 where it diverged at once."""
        layers = len(self.record.agent.feature_dims or [0])
        return np.array([exam.ranks[measure] if exam.ranks else [0.0] * layers for exam in self.exams])

    def metrics(self, name: str) -> tuple[Array, Array]:
        """The metric of this name: the steps (t,) at which it was, and a number per layer (t, layers)."""
        found = [(exam.step, exam.metrics[name]) for exam in self.exams if exam.metrics and name in exam.metrics]
        return np.array([step for step, _ in found], dtype=float), np.array([numbers for _, numbers in found], dtype=float)

    @property
    def final(self) -> float:
        """Held-out accuracy at the end."""
        return float(self.held_out[-1])

    @property
    def memorized(self) -> float | None:
        """The first step with train accuracy at the protocol's threshold."""
        return self.record.outcome.steps_to_memorize

    @cached_property
    def delay(self) -> Delay | None:
        """How late it generalized, None if not late."""
        return delayed_generalization(self.steps, self.train, self.held_out)

    @property
    def at_once(self) -> bool:
        """Whether it generalizes, to `GENERALIZED` at least, and not long after it has memorized."""
        return self.delay is None and self.final >= GENERALIZED

    @cached_property
    def surges(self) -> list[Stretch]:
        """The surges of held-out accuracy."""
        return surges(self.steps, self.held_out)

    @property
    def stages(self) -> int:
        """The number of surges of held-out accuracy."""
        return len(self.surges)

    @cached_property
    def half(self) -> float | None:
        """The step at which held-out accuracy is halfway from where it is at memorization to its best."""
        if self.memorized is None:
            return None
        best = np.maximum.accumulate(self.held_out)
        start = best[self.steps == self.memorized][0]
        return float(self.steps[np.argmax(best >= (start + best[-1]) / 2)])

    @cached_property
    def fit(self) -> Fit:
        """Two patterns fitted to it."""
        return fit(self.steps, self.train, self.held_out)

    def falls(self, measure: str = "effective_rank", layer: int = -1) -> int:
        """How often a layer's rank falls, with rises between."""
        return len(rank_falls(self.steps, self.rank(measure)[:, layer]))

    @property
    def settled(self) -> bool:
        """Whether held-out accuracy has risen, and by less than a surge since the end was 1.25 times the step."""
        before = self.held_out[self.steps <= self.steps[-1] / float(PROTOCOL.confirmation)]
        return self.stages > 0 and self.final - float(before[-1]) < MINIMAL_RISE

    def rank_as_it_generalizes(self, measure: str = "effective_rank", layer: int = -1) -> tuple[float, float]:
        """A layer's rank where the first surge of held-out accuracy starts, and at the end."""
        rank = self.rank(measure)[:, layer]
        start = self.surges[0].start
        return float(np.interp(np.log(start), np.log(self.steps), rank)), float(rank[-1])

    def rank_lag(self, measure: str = "effective_rank", layer: int = -1) -> float | None:
        """When a layer's rank is halfway to where it ends from where it was as the first surge started, over `half`."""
        start, end = self.rank_as_it_generalizes(measure, layer)
        reached = (self.rank(measure)[:, layer] <= (start + end) / 2) & (self.steps >= self.surges[0].start)
        if self.half is None or end >= start or not reached.any():
            return None
        return float(self.steps[np.argmax(reached)]) / self.half

    def rank_around(self, measure: str = "effective_rank", layer: int = -1) -> tuple[float, float]:
        """A layer's rank at memorization (or first) and at the end."""
        rank = self.rank(measure)[:, layer]
        start = rank[self.steps == self.memorized] if self.memorized else rank[:1]
        return float(start[0]), float(rank[-1])

    def tunnel(self, width: int, measure: str = NUMERICAL) -> int:
        """The number of last hidden layers in a row whose rank at the end is below `TUNNEL` of the width."""
        length = 0
        for rank in reversed(self.rank(measure)[-1]):
            if rank >= TUNNEL * width:
                break
            length += 1
        return length
