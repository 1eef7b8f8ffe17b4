"""Verdicts: what re-executions of an entry found, kept in `leaderboard/verdicts/<entry>.json`, the newest last.

A verdict says of which contents it speaks, so that it lapses when any file of the entry changes. Nothing in one is secret.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from grokbench.board.entries.files import read_plain
from grokbench.board.entries.findings import Finding, Unreadable
from grokbench.runs.provenance import Provenance
from grokbench.runs.schema import Count, Strict

LEVEL = 0.01  # of the test that the new runs are slower
LARGEST = 1 << 20  # bytes
Steps = Annotated[int, Field(ge=1)]
RunKey = tuple[str, Count]  # task and seed


class Times(Strict):
    """min(T, budget) of a task's claimed runs and of its new ones."""

    claimed: Annotated[list[Steps], Field(min_length=1)]
    new: Annotated[list[Steps], Field(min_length=1)]

    def __str__(self) -> str:
        return f"claimed mean {mean(self.claimed):,.0f} steps, {len(self.new)} new runs {mean(self.new):,.0f}"


class Verdict(Strict):
    """What one re-execution found.

    Attributes:
        digest: of the contents that the entry had.
        salt: what chose the cells and the fresh instances, mixed with the digest.
        runs: the official runs that were run again.
        repeated: of them, those whose exams came out the same to the bit.
        differing: those that didn't, though machine, versions, threads and code were the same.
        fresh: the times compared, per task.
        p: how likely honest runs are to be so much slower by chance.
        failed: what didn't run to its end, and why.
        sandboxed: whether the agent was kept from network and secrets.
        where: the machine and versions.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    salt: Annotated[str, Field(max_length=200)]
    runs: Annotated[list[RunKey], Field(min_length=1)]
    repeated: list[RunKey]
    differing: list[RunKey]
    fresh: dict[str, Times]
    p: Annotated[float, Field(ge=0, le=1)]
    failed: list[str]
    sandboxed: bool
    provenance: Provenance

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the entry."""
        return not (self.differing or self.failed) and self.p >= LEVEL

    @property
    def problems(self) -> list[str]:
        """What speaks against it beside p."""
        words = "differs on the same machine, versions, threads and code"
        return [f"{task} seed {seed} {words}" for task, seed in self.differing] + [f"failed: {what}" for what in self.failed]

    def __str__(self) -> str:
        names = [f"{task} seed {seed}" for task, seed in self.runs]
        lines = [
            f"run again: {', '.join(names)}; repeated to the bit: {len(self.repeated)} of {len(self.runs)}",
            *(f"{task}: {times}" for task, times in self.fresh.items()),
            *self.problems,
            f"p = {self.p:.4f} that honest runs come out so much slower (refused below {LEVEL})",
            "" if self.sandboxed else "the agent ran without a sandbox",
            "passed" if self.passed else "NOT PASSED",
        ]
        return "\n".join(line for line in lines if line)


VERDICTS = TypeAdapter(Annotated[list[Verdict], Field(min_length=1, max_length=1_000)])


def verdict_file(leaderboard: Path, entry: str) -> Path:
    """Where the verdicts on an entry stand."""
    return leaderboard / "verdicts" / f"{entry}.json"


def read_verdicts(leaderboard: Path, entry: str) -> tuple[tuple[Verdict, ...], list[Finding]]:
    """The verdicts on an entry, and what is wrong with their file.

    That refuses the entry: a broken file must not hide a failure.
    """
    path = verdict_file(leaderboard, entry)
    if not path.exists() and not path.is_symlink():
        return (), []
    shown = f"verdicts/{path.name}"
    try:
        return tuple(VERDICTS.validate_json(read_plain(path, shown, LARGEST))), []
    except Unreadable as error:
        return (), [error.finding]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        return (), [Finding(shown, "", problem[:500], "take the file as `grokbench verify --save` wrote it")]


def save_verdict(leaderboard: Path, entry: str, verdict: Verdict) -> Path:
    """Put a verdict behind the others on the entry, a line each.

    Raises:
        ValueError: the file that is there can't be read.
    """
    earlier, findings = read_verdicts(leaderboard, entry)
    if findings:
        raise ValueError(f"{findings[0]}")
    path = verdict_file(leaderboard, entry)
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(one.model_dump(), ensure_ascii=False, allow_nan=False) for one in (*earlier, verdict)]
    path.write_text("[\n " + ",\n ".join(lines) + "\n]\n", encoding="utf-8")
    return path


def strays(leaderboard: Path, entries: set[str]) -> list[tuple[str, Finding]]:
    """What doesn't belong into the folder of verdicts: a name to show, and the finding."""
    folder = leaderboard / "verdicts"
    known = {f"{entry}.json" for entry in entries}
    found = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    names = [f"verdicts/{ascii(name)[1:-1][:80]}" for name in found]
    return [(name, Finding(name, "", "is no entry's", "leave only <entry>.json of the entries that stand")) for name in names]
