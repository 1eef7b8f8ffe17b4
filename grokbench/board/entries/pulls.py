"""The entry of a pull request, read out of git as data: nothing of the pull request is executed or checked out."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import Checked, check_entries, check_entry, entry_names, with_copies
from grokbench.board.entries.files import FILE_LIMITS, FORM
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.form import NAME_RULE, author_names, is_entry_name
from grokbench.board.entries.git import commit_of, git
from grokbench.errors import EntryError

ENTRIES = f"{LEADERBOARD}/entries"
PLAIN_FILES = ("100644", "100755")  # git's modes of a file that isn't a link; some systems call every file executable
MOST_PATHS = 5  # that an error message lists


@dataclass(frozen=True)
class PullRequest:
    """The checked entry of a pull request, and the leaderboard's other entries."""

    checked: Checked
    others: tuple[Checked, ...]


@dataclass(frozen=True)
class Blob:
    """A file of an entry in git."""

    file: str
    mode: str
    kind: str
    hash: str
    size: int


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
    repository = leaderboard.resolve().parent
    name = entry_of(base, head, repository=repository)
    if name is None:
        return None
    with TemporaryDirectory() as scratch:
        folder = take_entry(name, head, repository=repository, into=take or Path(scratch))
        checked = check_entry(folder, known_entries=entry_names(leaderboard / "entries"))
    others = tuple(other for other in check_entries(leaderboard=leaderboard) if other.name != name)
    checked = with_copies(checked, others)
    replaced = _replaced_entry(name, base, repository)
    if replaced is not None:
        checked = replace(checked, findings=(_replacement(checked, replaced), *checked.findings))
    return PullRequest(checked, others)


def entry_of(base: str, head: str, *, repository: Path) -> str | None:
    """The name of the entry that `head` brings over `base`, or None if it touches no entry.

    Raises:
        EntryError: it touches an entry and anything else, or the name isn't an entry's name.
    """
    changed = changed_paths(base, head, repository=repository)
    names = {path.split("/")[2] for path in changed if path.startswith(f"{ENTRIES}/")}
    if not names:
        return None
    outside = [path for path in changed if not any(path.startswith(f"{ENTRIES}/{name}/") for name in names)]
    if len(names) > 1 or outside:
        raise EntryError(_too_much(outside or list(names)))
    (name,) = names
    if not is_entry_name(name):
        raise EntryError(f"the folder of an entry has {NAME_RULE}, got {name!a}")
    return name


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


def take_entry(name: str, head: str, *, repository: Path, into: Path) -> Path:
    """Write the files that the entry has in the commit `head` into the folder `into/name`, and return that folder.

    Raises:
        EntryError: a file is no plain file, or too large. Nothing is written then.
    """
    if not is_entry_name(name):
        raise EntryError(f"the folder of an entry has {NAME_RULE}, got {name!a}")
    blobs = blobs_of(name, head, repository)
    if not blobs:
        raise EntryError(f"{head} has no entry {name!r}: a pull request that removes an entry needs a maintainer")
    for blob in blobs:
        _check_blob(blob)
    folder = into / name
    folder.mkdir(parents=True)
    for blob in blobs:
        command = ["git", "cat-file", "blob", blob.hash]
        content = subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout
        (folder / blob.file).write_bytes(content)
    return folder


def _too_much(paths: Sequence[str]) -> str:
    listed = ", ".join(ascii(path) for path in sorted(paths)[:MOST_PATHS])
    return (
        f"the pull request of an entry touches that entry's folder and nothing else, but this one touches {listed} too: "
        f"leave that out, or bring it in a pull request of its own"
    )


def blobs_of(name: str, head: str, repository: Path) -> list[Blob]:
    """The files that the entry has in the commit `head`; none if there is no such entry."""
    prefix = f"{ENTRIES}/{name}/"
    blobs = []
    for line in git(repository, "ls-tree", "-r", "-l", "-z", commit_of(head, repository), prefix).split("\0")[:-1]:
        attributes, path = line.split("\t", 1)
        mode, kind, blob_hash, size = attributes.split()
        blobs.append(Blob(path.removeprefix(prefix), mode, kind, blob_hash, int(size) if size.isdigit() else 0))
    return blobs


def _check_blob(blob: Blob) -> None:
    if blob.mode not in PLAIN_FILES or blob.kind != "blob" or blob.file not in FILE_LIMITS:
        allowed = ", ".join(FILE_LIMITS)
        raise EntryError(f"{blob.file!a} (mode {blob.mode}) doesn't belong to an entry: leave only plain {allowed}")
    if blob.size > FILE_LIMITS[blob.file]:
        raise EntryError(f"{blob.file} has {blob.size:,} bytes, more than {FILE_LIMITS[blob.file]:,}: shorten it")


def _replaced_entry(name: str, base: str, repository: Path) -> Checked | None:
    """The entry of this name that the base has; None: it is a new one."""
    if not blobs_of(name, base, repository):
        return None
    with TemporaryDirectory() as scratch:
        return check_entry(take_entry(name, base, repository=repository, into=Path(scratch)))


def _replacement(new: Checked, old: Checked) -> Finding:
    """Says that the entry replaces another. It is refused unless it keeps the authors, whose names anybody can write."""
    if old.entry is None:
        return Finding(FORM, "", "replaces an entry that can't be read", "let a maintainer decide")
    replaced = f"replaces the entry of {', '.join(old.entry.form.authors)}"
    if new.entry is None or author_names(old.entry.form) <= author_names(new.entry.form):
        return Finding(FORM, "", replaced, "a maintainer asks them before the merge", refused=False)
    return Finding(FORM, "", f"{replaced}, who aren't all its authors", "choose another name, or let a maintainer decide")


def _differing_paths(repository: Path, first: str, second: str) -> set[str]:
    command = ("diff-tree", "-r", "--name-only", "--no-renames", "-z", first, second)
    return set(git(repository, *command).split("\0")[:-1])
