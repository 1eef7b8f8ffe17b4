"""Pull requests on the Hugging Face Hub, read as data with the checks of those in git."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grokbench.board import LEADERBOARD
from grokbench.board.entries.files import FILE_LIMITS
from grokbench.board.entries.pulls import Blob, Change, PullRequest, check_change, entry_of
from grokbench.errors import EntryError
from grokbench.hub.board import ENTRIES
from grokbench.hub.client import MAIN, Repository

if TYPE_CHECKING:
    from huggingface_hub import RepoFile


@dataclass(frozen=True)
class HubCommit:
    """A commit of a repository on the Hub. Its files are listed once."""

    hash: str
    repository: Repository

    def __str__(self) -> str:
        return f"{self.repository.name} at {self.hash[:8]}"

    @cached_property
    def files(self) -> Mapping[str, "RepoFile"]:
        """All files by their paths."""
        return self.repository.files(self.hash)

    def blobs(self, name: str) -> list[Blob]:
        """The files of the entry; none if there is no such entry."""
        prefix = f"{ENTRIES}/{name}/"
        its = {path.removeprefix(prefix): file for path, file in self.files.items() if path.startswith(prefix)}
        return [Blob(file, there.blob_id, there.size) for file, there in its.items()]

    def read(self, name: str, blob: Blob) -> bytes:
        """The contents of a file. What is longer than the Hub said is refused."""
        return self.repository.read(f"{ENTRIES}/{name}/{blob.file}", self.hash, limit=FILE_LIMITS[blob.file])


@dataclass(frozen=True)
class Checkout:
    """The leaderboard in a checkout, as a base: an entry that is here already is replaced too."""

    leaderboard: Path

    def __str__(self) -> str:
        return str(self.leaderboard)

    def blobs(self, name: str) -> list[Blob]:
        """The files of the entry; none if there is no such entry."""
        folder = self.leaderboard / ENTRIES / name
        files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        return [Blob(path.name, "", path.stat().st_size) for path in files]

    def read(self, name: str, blob: Blob) -> bytes:
        """The contents of a file."""
        return (self.leaderboard / ENTRIES / name / blob.file).read_bytes()


def check_hub_pull_request(
    number: int, repository: Repository, *, leaderboard: Path = LEADERBOARD, take: Path | None = None
) -> PullRequest | None:
    """Check the entry that a pull request on the Hub brings, as CI does with those in git. None: it brings no entry.

    Args:
        number: the pull request's number.
        repository: the repository to which it goes.
        leaderboard: the folder of the leaderboard with the accepted entries.
        take: write the entry's files into a folder below this one and leave them there.

    Raises:
        EntryError: it touches an entry and something else, or brings files that no entry has.
        HubError: the Hub refuses, or has no such pull request.
    """
    change = change_of(f"refs/pr/{number}", repository)
    change = replace(change, bases=(*change.bases, Checkout(leaderboard)))
    return check_change(change, leaderboard=leaderboard, take=take)


def change_of(revision: str, repository: Repository) -> Change:
    """What a revision brings over the main branch: a path counts if its content is neither the base's nor the start's.

    Raises:
        EntryError: it has no commit in common with the main branch, or both have changed the same entry.
        HubError: the Hub refuses, or has no such revision.
    """
    base_commits, head_commits = ([commit.hash for commit in repository.commits(each)] for each in (MAIN, revision))
    # Down the main branch, whose order no pull request can forge.
    start = next((commit for commit in base_commits if commit in set(head_commits)), None)
    if start is None:
        raise EntryError(f"{revision} has no commit in common with the main branch of {repository.name}: open it anew")
    base, head = HubCommit(base_commits[0], repository), HubCommit(head_commits[0], repository)
    before = HubCommit(start, repository)
    paths = sorted(
        path
        for path in head.files.keys() | base.files.keys() | before.files.keys()
        if _hash(head, path) not in (_hash(base, path), _hash(before, path))
    )
    change = Change(paths, ENTRIES, (base,), head)
    name = entry_of(change)
    known = head.files.keys() | base.files.keys() | before.files.keys()
    its = [path for path in known if path.startswith(f"{ENTRIES}/{name}/")]
    if name and any(_hash(base, path) not in (_hash(before, path), _hash(head, path)) for path in its):
        raise EntryError(
            f"the main branch of {repository.name} has changed {name!r} since: close it, and submit the entry again"
        )
    return change


def _hash(commit: HubCommit, path: str) -> str | None:
    return commit.files[path].blob_id if path in commit.files else None
