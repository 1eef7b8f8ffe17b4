"""A callback that keeps what it is told."""

from typing_extensions import override

from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Run
from grokbench.runs.records import RunRecord


class Silent(Callback):
    """Prints nothing; remembers why runs ended, and messages."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.messages: list[str] = []

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        self.ends.append(reason)

    @override
    def on_message(self, message: str) -> None:
        self.messages.append(message)
