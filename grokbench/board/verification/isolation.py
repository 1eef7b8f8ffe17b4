"""The choice of what keeps an entry's agent from this machine, and a trial of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grokbench.agents.recipes import find_recipe
from grokbench.board.verification.process import START_SECONDS, AgentProcess, Limits
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import container_command, sandboxed_command
from grokbench.board.verification.serve import MODULE
from grokbench.errors import RemoteError, VerificationError

SERVE = (sys.executable, "-m", MODULE)
TRIAL_SECONDS = 120.0


@dataclass(frozen=True)
class Isolation:
    """How the process of an entry's agent is started.

    Attributes:
        command: the command that starts it.
        sandboxed: whether it is kept from network and secrets.
        same_machine: whether it computes with this process's machine and versions. Only then must runs repeat to the bit.
    """

    command: tuple[str, ...]
    sandboxed: bool
    same_machine: bool

    @classmethod
    def choose(cls, home: Path, *, sandboxed: bool = True, image: str | None = None, seconds: float = 3_600.0) -> "Isolation":
        """A container of the image if there is one, else a sandbox of this machine, or none if `sandboxed` is False.

        A container ends by itself after the seconds of the agent's work and the longest start.

        Raises:
            VerificationError: no tool makes a sandbox on this machine, or the image can't have this name.
        """
        if image is not None:
            command = container_command(image, home, seconds=START_SECONDS + seconds)
            return cls(tuple(command), sandboxed=True, same_machine=False)
        if not sandboxed:
            return cls(SERVE, sandboxed=False, same_machine=True)
        sandbox = sandboxed_command(SERVE, home)
        if sandbox is None:
            raise VerificationError("no sandbox here: install bubblewrap, or allow user namespaces, or pass --no-sandbox")
        return cls(tuple(sandbox), sandboxed=True, same_machine=True)

    def try_imports(self, modules: Sequence[str], home: Path) -> None:
        """Import modules in a process like the agent's, so that one that isn't there isn't held against the entry.

        Raises:
            VerificationError: some can't be imported, or the process can't be started.
        """
        process = AgentProcess(self.command, home, limits=Limits(start_seconds=TRIAL_SECONDS))
        try:
            missing = process.ask({"imports": list(modules)})["missing"]
        except RemoteError as error:
            raise VerificationError(f"{self.command[0]} … can't import anything here ({error}): nothing was run") from None
        finally:
            process.close()
        if missing:
            raise VerificationError(f"the agent imports {', '.join(missing)}: install it where agents run; nothing was run")

    def try_baseline(self, home: Path) -> None:
        """Make a baseline's agent in the process, so that a failure afterwards is the entry's own.

        Raises:
            VerificationError: the process can't serve it.
        """
        baseline = find_recipe("mlp")
        trial = RemoteRecipe(
            name=baseline.name,
            target=baseline.target,
            hyperparameters=baseline.hyperparameters,
            command=self.command,
            folder=home,
            limits=Limits(start_seconds=TRIAL_SECONDS),
        )
        try:
            trial.make()
        except (OSError, RemoteError) as error:
            shown = " ".join(self.command[:2])
            raise VerificationError(f"{shown} … can't serve a baseline here ({error}): nothing was run") from None
