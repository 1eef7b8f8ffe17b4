"""Verdicts: the results of re-executions, kept in `leaderboard/verdicts/<entry>.json`, the newest last.

A verdict holds for one digest of what it depends on (`digest_of`). It lapses when that changes. Nothing in it is secret.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from grokbench.board import LEADERBOARD
from grokbench.board.entries.entry import RunKey
from grokbench.board.entries.files import printable_name, read_plain_file
from grokbench.board.entries.findings import Finding, UnreadableFile
from grokbench.errors import EntryError
from grokbench.results import sequential
from grokbench.results.sequential import Decision, Look, TimesByTask
from grokbench.results.statistics import ratio_of_means
from grokbench.runs.provenance import Provenance
from grokbench.runs.schema import Strict
from grokbench.sweeps.tuning import TuningKey
from grokbench.tasks.ids import parse_id

SLOWEST_PACE = 1.75  # seconds of a step over those of AdamW's: a second pass that isn't declared costs nearly twice as much
VERDICTS_LIMIT = 1 << 20  # bytes of a verdict file
PositiveSteps = Annotated[int, Field(ge=1)]


class ComparedTimes(Strict):
    """min(T, budget) in steps of a task's runs: the claimed ones by seed, and the new ones by round or seed."""

    claimed: Annotated[list[PositiveSteps], Field(min_length=1)]
    new: Annotated[list[PositiveSteps], Field(min_length=1)]

    def __str__(self) -> str:
        return f"claimed mean {mean(self.claimed):,.0f} steps, {len(self.new)} new runs {mean(self.new):,.0f}"


class Pace(Strict):
    """Seconds of a step, medians of short runs: the entry's, and AdamW's on the same network, questions and machine."""

    entry_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    adamw_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @property
    def ratio(self) -> float:
        """How many times as long as AdamW's a step of the entry takes."""
        return self.entry_seconds / self.adamw_seconds

    @property
    def too_slow(self) -> bool:
        """Whether a step seems to make more passes than it declares."""
        return self.ratio > SLOWEST_PACE


class OtherFamily(Strict):
    """How the code of an entry did on a task of another family.

    Attributes:
        task: the task's id.
        right: the most right held-out answers at an exam.
        limit: the number of right answers that guessing hardly ever exceeds.
    """

    task: str
    right: Annotated[int, Field(ge=0)]
    limit: Annotated[int, Field(ge=0)]

    @property
    def at_chance(self) -> bool:
        """Whether the agent learned nothing there that guessing doesn't explain."""
        return self.right <= self.limit


class RepeatedTuning(Strict):
    """How runs of an entry's tuning came out, each named by its setting, task and seed.

    Attributes:
        runs: those that were repeated.
        repeated: those of them whose exams came out the same to the bit.
        differing: those that differ, though machine, versions, threads and code were the same.
    """

    runs: list[TuningKey]
    repeated: list[TuningKey]
    differing: list[TuningKey]


class Verdict(Strict):
    """The result of one re-execution.

    Attributes:
        digest: SHA-256 of what the re-execution depended on, as the entry had it.
        salt: what chose the runs and the fresh instances, mixed with the digest.
        runs: the official runs that were repeated.
        repeated: those of them whose exams came out the same to the bit.
        differing: those that differ, though machine, versions, threads and code were the same.
        fresh: the times on fresh instances and the claimed times, by task. `recomputed` gives the decision again.
        official: the times of all official runs when they were repeated, which they are if fresh runs contradict the claims.
        decision: what the new runs say about the claimed times.
        slower_p: `Look.slower` of the deciding look.
        too_fast_p: `Look.too_fast` of the deciding look.
        pace: seconds of a step; None for an agent of the entry's own, which has no network to compare with.
        other_family: the result on a task of another family; None for an entry without code, and for tasks that aren't tables.
        tuning: the repeated runs of the entry's tuning; None for an untuned entry.
        failed: the runs that didn't end, each with its reason.
        sandboxed: whether the agent was kept from network and secrets.
        provenance: machine, versions and code of the re-execution.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    salt: Annotated[str, Field(max_length=200)]
    runs: Annotated[list[RunKey], Field(min_length=1)]
    repeated: list[RunKey]
    differing: list[RunKey]
    fresh: dict[str, ComparedTimes]
    official: dict[str, ComparedTimes] = Field(default_factory=dict)
    decision: Decision
    slower_p: Annotated[float, Field(ge=0, le=1)]
    too_fast_p: Annotated[float, Field(ge=0, le=1)]
    pace: Pace | None
    other_family: OtherFamily | None
    tuning: RepeatedTuning | None = None
    failed: list[str]
    sandboxed: bool
    provenance: Provenance

    @property
    def rounds(self) -> int:
        """The number of rounds in which every task had a new run."""
        return min((len(times.new) for times in self.fresh.values()), default=0)

    @property
    def passed(self) -> bool:
        """Whether nothing is held against the entry."""
        return not self.problems

    @property
    def cut_short(self) -> bool:
        """Whether time ran out before the evidence decided, so that the times aren't confirmed."""
        return self.decision == Decision.UNDECIDED and self.rounds < sequential.MOST_ROUNDS

    @property
    def problems(self) -> list[str]:
        """Everything that is held against the entry, in words."""
        reason = "differs on the same machine, versions, threads and code"
        problems = [f"{task} seed {seed} {reason}" for task, seed in self.differing] + [f"failed: {run}" for run in self.failed]
        if self.tuning:
            problems += [f"setting {n} of the tuning on {task} seed {seed} {reason}" for n, task, seed in self.tuning.differing]
        if self.decision == Decision.CONTRADICTED:
            problems.append(f"new runs are slower than the claimed ones, or unsolved more often (p = {self.slower_p:.4f})")
        if self.pace and self.pace.too_slow:
            problems.append(f"a step takes {self.pace.ratio:.2f} times as long as AdamW's: declare passes_per_step")
        if self.other_family and self.other_family.at_chance:
            problems.append(f"at chance on {self.other_family.task}, so it solves a structure instead of learning")
        return problems

    @property
    def decision_text(self) -> str:
        """The decision with its rounds and p-values."""
        decision = f"{self.decision}, cut short" if self.cut_short else self.decision
        return f"{decision} after {self.rounds} rounds (p = {self.slower_p:.4f} slower, {self.too_fast_p:.4f} too fast)"

    @property
    def ratio_text(self) -> str:
        """The mean time of fresh runs over that of claimed runs, with its 95 % interval; empty without fresh runs."""
        if not self.fresh:
            return ""
        claimed, new = _claimed_and_new(self.fresh)
        ratio, low, high = ratio_of_means(list(claimed.values()), list(new.values()))
        return f"×{ratio:.2f} ({low:.2f}–{high:.2f})"

    def recomputed(self) -> Decision:
        """The decision, computed from the times."""
        return decide(last_look(self.fresh), self.official)

    def __str__(self) -> str:
        names = [f"{task} seed {seed}" for task, seed in self.runs]
        lines = [
            f"run again: {', '.join(names)}; repeated to the bit: {len(self.repeated)} of {len(self.runs)}",
            f"tuning: {len(self.tuning.repeated)} of {len(self.tuning.runs)} repeated to the bit" if self.tuning else "",
            *(f"{task}: {times}" for task, times in self.fresh.items()),
            f"claimed times: {self.decision_text}",
            f"mean time, fresh over claimed: {self.ratio_text}" if self.fresh else "",
            f"a step takes {self.pace.ratio:.2f} times as long as AdamW's" if self.pace else "",
            *self.problems,
            "" if self.sandboxed else "the agent ran without a sandbox",
            "passed" if self.passed else "NOT PASSED",
        ]
        return "\n".join(line for line in lines if line)


def last_look(fresh: Mapping[str, ComparedTimes]) -> Look:
    """The look at the rounds so far that decides, or the last one."""
    return sequential.last_look(*_claimed_and_new(fresh), _budgets(fresh))


def decide(look: Look, official: Mapping[str, ComparedTimes]) -> Decision:
    """The decision at a look, with the times of all official runs if they were repeated."""
    if look.decision != Decision.CONTRADICTED or not official:
        return look.decision
    return Decision.REPEATED if sequential.repeats(*_claimed_and_new(official), _budgets(official)) else Decision.CONTRADICTED


def _claimed_and_new(compared: Mapping[str, ComparedTimes]) -> tuple[TimesByTask, TimesByTask]:
    return {task: times.claimed for task, times in compared.items()}, {task: times.new for task, times in compared.items()}


def _budgets(tasks: Iterable[str]) -> dict[str, float]:
    return {task: parse_id(task).budget for task in tasks}


VERDICTS = TypeAdapter(Annotated[list[Verdict], Field(min_length=1, max_length=1_000)])


def verdict_file(leaderboard: Path, entry: str) -> Path:
    """The file of the verdicts on an entry, whether it exists or not."""
    return leaderboard / "verdicts" / f"{entry}.json"


def read_verdicts(leaderboard: Path, entry: str) -> tuple[tuple[Verdict, ...], list[Finding]]:
    """The verdicts on an entry, and what is wrong with their file.

    The finding refuses the entry, because a broken file must not hide a failure.
    """
    path = verdict_file(leaderboard, entry)
    if not path.exists() and not path.is_symlink():
        return (), []
    shown = f"verdicts/{path.name}"
    try:
        return tuple(VERDICTS.validate_json(read_plain_file(path, shown, limit=VERDICTS_LIMIT))), []
    except UnreadableFile as error:
        return (), [error.finding]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        return (), [Finding(shown, "", problem[:500], "restore the file that `grokbench verify --save` wrote")]


def save_verdict(verdict: Verdict, entry: str, *, leaderboard: Path = LEADERBOARD) -> Path:
    """Append a verdict to those on an entry, one on each line. Returns their file.

    Raises:
        EntryError: the file is there and can't be read.
    """
    earlier, findings = read_verdicts(leaderboard, entry)
    if findings:
        raise EntryError(f"{findings[0]}")
    path = verdict_file(leaderboard, entry)
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(each.model_dump(), ensure_ascii=False, allow_nan=False) for each in (*earlier, verdict)]
    path.write_text("[\n " + ",\n ".join(lines) + "\n]\n", encoding="utf-8", newline="\n")
    return path


def stray_verdicts(leaderboard: Path, entries: set[str]) -> list[tuple[str, Finding]]:
    """The files in the folder of verdicts that belong to no entry: a printable name and the finding for each."""
    folder = leaderboard / "verdicts"
    known = {f"{entry}.json" for entry in entries}
    strays = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    names = [f"verdicts/{printable_name(name)}" for name in strays]
    return [(name, Finding(name, "", "belongs to no entry", "leave only <entry>.json of the entries")) for name in names]
