"""Pull requests in git: which paths a merge would change, and the files of an entry in a commit."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from grokbench.board import LEADERBOARD
from grokbench.board.entries.git import commit_of, git
from grokbench.board.entries.pulls import Blob, Change, PullRequest, check_change
from grokbench.errors import EntryError

ENTRIES = f"{LEADERBOARD}/entries"


@dataclass(frozen=True)
class GitCommit:
    """A commit of a clone, by a name that git knows."""

    revision: str
    repository: Path

    def __str__(self) -> str:
        return self.revision

    def blobs(self, name: str) -> list[Blob]:
        """The files that the entry has in the commit; none if there is no such entry."""
        prefix = f"{ENTRIES}/{name}/"
        blobs = []
        command = ("ls-tree", "-r", "-l", "-z", commit_of(self.revision, self.repository), prefix)
        for line in git(self.repository, *command).split("\0")[:-1]:
            attributes, path = line.split("\t", 1)
            mode, kind, blob_hash, size = attributes.split()
            blobs.append(Blob(path.removeprefix(prefix), blob_hash, int(size) if size.isdigit() else 0, mode, kind))
        return blobs

    def read(self, name: str, blob: Blob) -> bytes:
        """The contents of a file, byte by byte."""
        command = ["git", "cat-file", "blob", blob.hash]
        return subprocess.run(command, cwd=self.repository, check=True, capture_output=True).stdout


def check_pull_request(
    base: str, head: str, *, leaderboard: Path = LEADERBOARD, take: Path | None = None
) -> PullRequest | None:
    """Check the entry that the commit `head` brings over `base`, as CI does. None: it brings no entry.

    Args:
        base: the commit that the pull request goes to.
        head: the commit that it brings.
        leaderboard: the folder of the leaderboard, in a clone that has both commits.
        take: write the entry's files into a folder below this one and leave them there.

    Raises:
        EntryError: the pull request touches an entry and something else, or brings files that no entry has.
    """
    return check_change(change_of(base, head, repository=leaderboard.resolve().parent), leaderboard=leaderboard, take=take)


def change_of(base: str, head: str, *, repository: Path) -> Change:
    """What the commit `head` brings over `base`.

    Raises:
        EntryError: a commit isn't there, or the two have none in common.
    """
    paths = changed_paths(base, head, repository=repository)
    return Change(paths, ENTRIES, (GitCommit(base, repository),), GitCommit(head, repository))


def changed_paths(base: str, head: str, *, repository: Path) -> list[str]:
    """The paths that a merge of `head` into `base` brings, sorted.

    A path counts if its content in `head` is neither what `base` has nor what both started from. So nothing counts that the
    base got meanwhile, whether or not `head` has merged it, or that the base has from another pull request.

    Raises:
        EntryError: a commit isn't there, or the two have none in common.
    """
    base, head = commit_of(base, repository), commit_of(head, repository)
    starts = git(repository, "merge-base", "--all", base, head, allowed=(0, 1)).split()
    if not starts:
        raise EntryError("the pull request has no commit in common with its base: begin a branch at the base's tip")
    differences = [_differing_paths(repository, commit, head) for commit in (base, *starts)]
    return sorted(set.intersection(*differences))


def _differing_paths(repository: Path, first: str, second: str) -> set[str]:
    command = ("diff-tree", "-r", "--name-only", "--no-renames", "-z", first, second)
    return set(git(repository, *command).split("\0")[:-1])
