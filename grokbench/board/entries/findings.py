"""What may be wrong with an entry, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something about an entry: what, in which file, at which run, and what to do about it.

    Attributes:
        refused: whether the entry can't stand so; otherwise it is only worth a look.
    """

    file: str
    run: str
    problem: str
    remedy: str
    refused: bool = True

    def __str__(self) -> str:
        place = f"{self.file}: {self.run}" if self.run else self.file
        text = f"{'error' if self.refused else 'note'}: {place}: {self.problem}; {self.remedy}"
        return "".join(c if c.isprintable() else " " for c in text)  # it may quote the entry


class Unreadable(ValueError):
    """A file that can't be taken; its argument is the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding
