"""The entry of a pull request, read as data: nothing of the pull request is executed or checked out.

A `Change` is all that is asked of the place where the pull request was opened: git (`git_pulls`) or the Hugging Face Hub
(`grokbench.hub.pulls`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from grokbench.board.entries.checks import Checked, check_entries, check_entry, entry_names, with_copies
from grokbench.board.entries.entry import Entry
from grokbench.board.entries.files import FILE_LIMITS, FORM, contents
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.form import NAME_RULE, author_names, is_entry_name
from grokbench.errors import EntryError

PLAIN_FILES = ("100644", "100755")  # git's modes of a file that isn't a link; some systems call every file executable
MOST_PATHS = 5  # that an error message lists


@dataclass(frozen=True)
class Blob:
    """A file of an entry in a commit.

    Attributes:
        file: its name in the entry's folder.
        hash: the hash by which its contents are found.
        size: in bytes.
        mode: git's mode.
        kind: git's kind of object.
    """

    file: str
    hash: str
    size: int
    mode: str = PLAIN_FILES[0]
    kind: str = "blob"


class Commit(Protocol):
    """A state of the repository in which the entries lie. Its text names it in errors."""

    def blobs(self, name: str) -> list[Blob]:
        """The files of the entry `name`; none if there is no such entry."""

    def read(self, name: str, blob: Blob) -> bytes:
        """The contents of one of them."""


@dataclass(frozen=True)
class Change:
    """What a pull request brings.

    Attributes:
        paths: the paths that a merge would change, sorted.
        entries: the folder of the entries in these paths.
        bases: the states that it goes to: an entry that one of them has is replaced.
        head: the state that it brings.
    """

    paths: Sequence[str]
    entries: str
    bases: Sequence[Commit]
    head: Commit


@dataclass(frozen=True)
class PullRequest:
    """The checked entry of a pull request, and the leaderboard's other entries."""

    checked: Checked
    others: tuple[Checked, ...]


def check_change(change: Change, *, leaderboard: Path, take: Path | None = None) -> PullRequest | None:
    """Check the entry that a pull request brings. None: it brings no entry.

    Args:
        change: the pull request.
        leaderboard: the folder of the leaderboard with the accepted entries.
        take: write the entry's files into a folder below this one and leave them there.

    Raises:
        EntryError: the pull request touches an entry and something else, or brings files that no entry has. Nothing is taken.
    """
    name = entry_of(change)
    if name is None:
        return None
    with TemporaryDirectory() as scratch:
        folder = take_entry(name, change.head, into=Path(scratch))
        checked = check_entry(folder, known_entries=entry_names(leaderboard / "entries"))
        others = tuple(other for other in check_entries(leaderboard=leaderboard) if other.name != name)
        checked = with_copies(checked, others)
        replaced = replaced_entry(name, change.bases)
        if replaced is not None:
            checked = replace(checked, findings=(_replacement(checked, replaced), *checked.findings))
        if take is not None:
            _copy_entry(folder, take / name)
    return PullRequest(checked, others)


def _copy_entry(folder: Path, to: Path) -> None:
    """Copy an entry to a new folder. One that has the same files already is as good."""
    if not to.exists():
        shutil.copytree(folder, to)
        return
    if contents(folder) != contents(to):
        raise EntryError(f"{to} is there already, with other contents: remove it, and run the same command again")


def entry_of(change: Change) -> str | None:
    """The name of the entry that the pull request brings, or None if it touches no entry.

    Raises:
        EntryError: it touches an entry and anything else, or the name isn't an entry's name.
    """
    inside = [path.removeprefix(f"{change.entries}/") for path in change.paths if path.startswith(f"{change.entries}/")]
    names = {path.partition("/")[0] for path in inside}
    if not names:
        return None
    outside = [path for path in change.paths if not any(path.startswith(f"{change.entries}/{name}/") for name in names)]
    if len(names) > 1 or outside:
        raise EntryError(_too_much(outside or list(names)))
    (name,) = names
    if not is_entry_name(name):
        raise EntryError(f"the folder of an entry has {NAME_RULE}, got {name!a}")
    return name


def take_entry(name: str, commit: Commit, *, into: Path) -> Path:
    """Write the files that the entry has in the commit into the folder `into/name`, and return that folder.

    Raises:
        EntryError: a file is no plain file, or too large. Nothing is written then.
    """
    if not is_entry_name(name):
        raise EntryError(f"the folder of an entry has {NAME_RULE}, got {name!a}")
    blobs = commit.blobs(name)
    if not blobs:
        raise EntryError(f"{commit} has no entry {name!r}: a pull request that removes an entry needs a maintainer")
    for blob in blobs:
        _check_blob(blob)
    contents = {blob.file: commit.read(name, blob) for blob in blobs}
    folder = into / name
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return folder


def replaced_entry(name: str, bases: Sequence[Commit]) -> Checked | None:
    """The entry of this name that the first of the bases has; None: it is a new one."""
    base = next((base for base in bases if base.blobs(name)), None)
    if base is None:
        return None
    with TemporaryDirectory() as scratch:
        return check_entry(take_entry(name, base, into=Path(scratch)))


def keeps_authors(old: Entry, new: Entry | None) -> bool:
    """Whether the authors of an entry are among those of the one that replaces it. What can't be read is refused elsewhere."""
    return new is None or author_names(old.form) <= author_names(new.form)


def _too_much(paths: Sequence[str]) -> str:
    listed = ", ".join(ascii(path) for path in sorted(paths)[:MOST_PATHS])
    return (
        f"the pull request of an entry touches that entry's folder and nothing else, but this one touches {listed} too: "
        f"leave that out, or bring it in a pull request of its own"
    )


def _check_blob(blob: Blob) -> None:
    if blob.mode not in PLAIN_FILES or blob.kind != "blob" or blob.file not in FILE_LIMITS:
        allowed = ", ".join(FILE_LIMITS)
        raise EntryError(f"{blob.file!a} (mode {blob.mode}) doesn't belong to an entry: leave only plain {allowed}")
    if blob.size > FILE_LIMITS[blob.file]:
        raise EntryError(f"{blob.file} has {blob.size:,} bytes, more than {FILE_LIMITS[blob.file]:,}: shorten it")


def _replacement(new: Checked, old: Checked) -> Finding:
    """Says that the entry replaces another. It is refused unless it keeps the authors, whose names anybody can write."""
    if old.entry is None:
        return Finding(FORM, "", "replaces an entry that can't be read", "let a maintainer decide")
    replaced = f"replaces the entry of {', '.join(old.entry.form.authors)}"
    if keeps_authors(old.entry, new.entry):
        return Finding(FORM, "", replaced, "a maintainer asks them before the merge", refused=False)
    return Finding(FORM, "", f"{replaced}, who aren't all its authors", "choose another name, or let a maintainer decide")
