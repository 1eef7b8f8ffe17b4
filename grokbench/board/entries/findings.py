"""Findings: what is wrong with an entry, and what to do about it."""

from dataclasses import dataclass

from grokbench.errors import EntryError


@dataclass(frozen=True)
class Finding:
    """A problem of an entry.

    Attributes:
        file: the file that has the problem, relative to the entry's folder.
        run: the run that has it, such as "add_mod47-0.7-v1 seed 3", or empty.
        problem: what is wrong.
        remedy: what to do about it.
        refused: whether the leaderboard refuses the entry for it. Otherwise the finding is a note for the reviewer.
    """

    file: str
    run: str
    problem: str
    remedy: str
    refused: bool = True

    def __str__(self) -> str:
        place = f"{self.file}: {self.run}" if self.run else self.file
        text = f"{'error' if self.refused else 'note'}: {place}: {self.problem}; {self.remedy}"
        return "".join(c if c.isprintable() else " " for c in text)  # the text may quote the entry


class UnreadableFile(EntryError):
    """A file of an entry that can't be read or isn't what it should be. `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding
