"""Verdicts: the results of re-executions, kept in `leaderboard/verdicts/<entry>.json`, the newest last.

A verdict holds for one digest of the entry's files. It lapses when any of them changes. Nothing in a verdict is secret.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from grokbench.board import LEADERBOARD
from grokbench.board.entries.entry import RunKey
from grokbench.board.entries.files import printable_name, read_plain_file
from grokbench.board.entries.findings import Finding, UnreadableFile
from grokbench.errors import EntryError
from grokbench.runs.provenance import Provenance
from grokbench.runs.schema import Strict

SLOWER_SIGNIFICANCE = 0.01  # level of the test that the new runs are slower than the claimed ones
VERDICTS_LIMIT = 1 << 20  # bytes of a verdict file
Steps = Annotated[int, Field(ge=1)]


class ComparedTimes(Strict):
    """min(T, budget) in steps, for the claimed and the new runs of a task."""

    claimed: Annotated[list[Steps], Field(min_length=1)]
    new: Annotated[list[Steps], Field(min_length=1)]

    def __str__(self) -> str:
        return f"claimed mean {mean(self.claimed):,.0f} steps, {len(self.new)} new runs {mean(self.new):,.0f}"


class Verdict(Strict):
    """The result of one re-execution.

    Attributes:
        digest: SHA-256 of the files that the entry had.
        salt: what chose the runs and the fresh instances, mixed with the digest.
        runs: the official runs that were repeated.
        repeated: those of them whose exams came out the same to the bit.
        differing: those that differ, though machine, versions, threads and code were the same.
        fresh: the times that were compared, by task.
        p: the probability that honest runs are so much slower by chance.
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
    p: Annotated[float, Field(ge=0, le=1)]
    failed: list[str]
    sandboxed: bool
    provenance: Provenance

    @property
    def passed(self) -> bool:
        """Whether every run ended, none differs, and the new runs aren't significantly slower."""
        return not (self.differing or self.failed) and self.p >= SLOWER_SIGNIFICANCE

    @property
    def problems(self) -> list[str]:
        """The runs that differ or failed, in words."""
        reason = "differs on the same machine, versions, threads and code"
        return [f"{task} seed {seed} {reason}" for task, seed in self.differing] + [f"failed: {run}" for run in self.failed]

    def __str__(self) -> str:
        names = [f"{task} seed {seed}" for task, seed in self.runs]
        lines = [
            f"run again: {', '.join(names)}; repeated to the bit: {len(self.repeated)} of {len(self.runs)}",
            *(f"{task}: {times}" for task, times in self.fresh.items()),
            *self.problems,
            f"p = {self.p:.4f} that honest runs are so much slower by chance (refused below {SLOWER_SIGNIFICANCE})",
            "" if self.sandboxed else "the agent ran without a sandbox",
            "passed" if self.passed else "NOT PASSED",
        ]
        return "\n".join(line for line in lines if line)


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
    path.write_text("[\n " + ",\n ".join(lines) + "\n]\n", encoding="utf-8")
    return path


def stray_verdicts(leaderboard: Path, entries: set[str]) -> list[tuple[str, Finding]]:
    """The files in the folder of verdicts that belong to no entry: a printable name and the finding for each."""
    folder = leaderboard / "verdicts"
    known = {f"{entry}.json" for entry in entries}
    strays = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    names = [f"verdicts/{printable_name(name)}" for name in strays]
    return [(name, Finding(name, "", "belongs to no entry", "leave only <entry>.json of the entries")) for name in names]
