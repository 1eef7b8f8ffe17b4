"""Calls of git, which fail with one line. Words from outside become hashes first, so that none is taken for an option."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from grokbench.errors import EntryError

LONGEST_ERROR = 300  # characters of git's own words in a message


def git(
    repository: Path,
    *arguments: str,
    allowed: Sequence[int] = (0,),
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """The output of git, in which a byte of a file name that isn't UTF-8 is a lone surrogate.

    Args:
        repository: the folder in which it runs.
        arguments: the subcommand with its arguments.
        allowed: the exit statuses that are no errors.
        stdin: what it reads.
        environment: variables beside those of this process.

    Raises:
        EntryError: another exit status.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        check=False,
        capture_output=True,
        input=stdin,
        env=os.environ | dict(environment or {}),
        encoding="utf-8",
        errors="surrogateescape",
    )
    if done.returncode not in allowed:
        raise EntryError(f"git {' '.join(arguments[:2])} failed: {done.stderr.strip()[:LONGEST_ERROR]}")
    return done.stdout


def commit_of(revision: str, repository: Path) -> str:
    """The hash of the commit that a person names.

    Raises:
        EntryError: there is none.
    """
    command = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    found = git(repository, *command, allowed=(0, 1, 128)).strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", found):
        raise EntryError(f"there is no commit {revision[:80]!a} here: fetch it, or name another one")
    return found
