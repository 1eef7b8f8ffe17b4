"""Who is told what happens to runs."""

from typing import Protocol

from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.plan import Cell


class Watcher(Protocol):
    """Is told what happens to every run."""

    def sat(self, cell: Cell, seed: int, exam: Exam, outcome: Outcome) -> None:
        """An exam was sat."""

    def ended(self, cell: Cell, seed: int, how: str) -> None:
        """A run left: generalised, censored, diverged, failed, stopped, or held by another process."""

    def noted(self, message: str) -> None:
        """Something happened that a person should know."""
