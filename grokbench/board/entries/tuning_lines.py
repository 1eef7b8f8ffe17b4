"""The lines of `tuning.jsonl`, the tuning of an entry: what was varied, and the right answers at every exam of all runs.

The first line states the space and the machines. Every other line is a run; they are sorted by setting, task and seed. The
protocol fixes the steps of the exams, so a line has counts alone. Ranks are left out: no choice depends on them.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from grokbench.board.entries.files import Record, canonical, read_line
from grokbench.errors import EntryError, ProtocolError
from grokbench.evaluation.protocol import PROTOCOL, Exam
from grokbench.runs.provenance import Provenance
from grokbench.runs.records import MOST_EXAMS
from grokbench.runs.schema import StoredCount, Strict
from grokbench.sweeps.space import Family
from grokbench.sweeps.tuning import TuningKey
from grokbench.tasks import Task

WITHOUT_RANKS = replace(PROTOCOL, exams_per_rank=0)
MOST_MACHINES = 1_000
MOST_RUNS = 10_000
Counts = Annotated[list[StoredCount], Field(max_length=MOST_EXAMS)]
PACK_TUNING_AGAIN = "pack the entry again with `grokbench submit --tuning`"


class SpaceLine(Strict):
    """The first line.

    Attributes:
        published: the hyperparameters of the published setting.
        family: the family of the optimizer.
        own: the lowest and the highest value of the method's own hyperparameters.
        provenances: the machines, versions and code that made the runs.
    """

    published: dict[str, Any]
    family: Family
    own: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]]
    provenances: Annotated[list[Provenance], Field(max_length=MOST_MACHINES)]


class RunLine(Strict):
    """A run.

    Attributes:
        setting: the number of the setting; 0 is the published one.
        task: the task's id.
        seed: the run's seed.
        fingerprint: that of its salted instance.
        provenance: which of the machines made it, counted from 0.
        train: the right answers on training questions at every exam.
        held_out: the right answers on held-out questions at every exam.
        diverged: whether the features weren't finite at the last exam.
        steps_to_generalize: T in steps; None if there is none.
    """

    setting: StoredCount
    task: str
    seed: StoredCount
    fingerprint: str
    provenance: StoredCount
    train: Counts
    held_out: Counts
    diverged: bool
    steps_to_generalize: StoredCount | None

    @property
    def key(self) -> TuningKey:
        """Setting, task and seed."""
        return self.setting, self.task, self.seed

    def exams(self, task: Task) -> list[Exam]:
        """The exams, on the steps of the protocol.

        Raises:
            ProtocolError: there are more exams than steps, or not as many counts of one kind as of the other.
        """
        steps = WITHOUT_RANKS.grid(WITHOUT_RANKS.horizon(task)).steps
        if not 0 < len(self.train) == len(self.held_out) <= len(steps):
            raise ProtocolError(f"{len(self.train)} and {len(self.held_out)} counts don't fit {len(steps)} exams")
        last = len(self.train) - 1
        return [
            Exam(step, train, held_out, None, diverged=self.diverged and number == last)
            for number, (step, train, held_out) in enumerate(zip(steps, self.train, self.held_out, strict=False))
        ]


@dataclass(frozen=True)
class PackedTuning:
    """The lines of the file.

    Attributes:
        space: the first line.
        runs: the others.
    """

    space: SpaceLine
    runs: tuple[RunLine, ...]

    @property
    def content(self) -> bytes:
        """The file."""
        return "".join(f"{canonical(line)}\n" for line in (self.space, *self.runs)).encode()


def read_tuning(content: bytes) -> PackedTuning:
    """The lines of a file.

    Raises:
        EntryError: a line can't be read, or they aren't in order.
    """
    first, *lines, rest = content.split(b"\n") if content.count(b"\n") else (content, b"?")
    if rest:
        raise EntryError("doesn't end with a line break: it may be cut short")
    if len(lines) > MOST_RUNS:
        raise EntryError(f"has {len(lines):,} lines, more than {MOST_RUNS:,}")
    space = _read_line(SpaceLine, first, 1)
    runs = tuple(_read_line(RunLine, line, number) for number, line in enumerate(lines, start=2))
    keys = [run.key for run in runs]
    if keys != sorted(set(keys)):
        raise EntryError("isn't sorted by setting, task and seed, each once")
    return PackedTuning(space, runs)


def _read_line(kind: type[Record], line: bytes, number: int) -> Record:
    try:
        return read_line(kind, line)
    except ValueError as error:
        raise EntryError(f"line {number}: {str(error)[:300]}") from None
