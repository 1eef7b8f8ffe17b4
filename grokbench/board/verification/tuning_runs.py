"""Re-execution of runs of an entry's tuning. Every such run trained alone, so it repeats alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from grokbench.board.entries.entry import Entry
from grokbench.board.entries.tuning_lines import RunLine
from grokbench.board.entries.verdicts import RepeatedTuning
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.runs.plan import Plan
from grokbench.runs.records import RunRecord
from grokbench.sweeps.tuning import RULES, Tuning, TuningKey, TuningRun, planned


@dataclass(frozen=True)
class TuningRuns:
    """Runs of a tuning that a salt chose, and their plans.

    Attributes:
        lines: the runs as the entry has them.
        plans: one for each of them.
    """

    lines: tuple[RunLine, ...] = ()
    plans: tuple[Plan, ...] = ()

    @staticmethod
    def choose(entry: Entry, tuning: Tuning | None, recipe: RemoteRecipe, count: int, *, salt: str) -> "TuningRuns":
        """`count` runs of the tuning, which nobody can foresee without the salt. There are none without a tuning."""
        if entry.tuning is None or tuning is None:
            return TuningRuns()

        def order(line: RunLine) -> bytes:
            return hashlib.sha256(f"{salt}\ntuning\n{line.key}".encode()).digest()

        lines = sorted(entry.tuning.runs, key=order)[:count]
        return TuningRuns(tuple(lines), tuple(_plan(line, tuning, recipe) for line in lines))

    def judge(self, entry: Entry, records: Sequence[RunRecord], *, same_machine: bool) -> RepeatedTuning | None:
        """How the runs came out; None where none were chosen.

        Args:
            entry: the entry.
            records: new records, among them those of the runs.
            same_machine: whether the records' provenance describes the machine that the agent ran on.
        """
        if entry.tuning is None or not self.lines:
            return None
        provenances = entry.tuning.space.provenances
        new = {_key(run): run for run in records if run.salt == RULES.salt and run.incomplete is None}
        repeated: list[TuningKey] = []
        differing: list[TuningKey] = []
        for line in self.lines:
            record = new.get(line.key)
            if record is None:
                continue
            if [(exam.train, exam.held_out) for exam in record.exams] == list(zip(line.train, line.held_out, strict=True)):
                repeated.append(line.key)
            elif same_machine and record.provenance.repeats(provenances[line.provenance]):
                differing.append(line.key)
        return RepeatedTuning(runs=[line.key for line in self.lines], repeated=repeated, differing=differing)


def _plan(line: RunLine, tuning: Tuning, recipe: RemoteRecipe) -> Plan:
    wanted = TuningRun(line.setting, tuning.points[line.setting], RULES.task(line.task, line.seed), line.seed)
    experiment = planned(tuning.space, wanted, RULES).experiment
    remote = replace(recipe, name=_name(line.setting), hyperparameters=experiment.recipe.plain_hyperparameters)
    return Plan((replace(experiment, recipe=remote),), (line.seed,))


def _name(setting: int) -> str:
    return f"setting{setting}"


def _key(run: RunRecord) -> TuningKey:
    return int(run.agent.name.removeprefix("setting")), run.task, run.seed
