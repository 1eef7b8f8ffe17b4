"""A pull request's entry, taken out of git as data: nothing else of the pull request is looked at, nothing is executed."""

import subprocess
from pathlib import Path

from grokbench.board.entries.files import LARGEST
from grokbench.board.entries.form import NAME

ENTRIES = "leaderboard/entries"
PLAIN_FILE = "100644"


def entry_of(base: str, head: str, repository: Path) -> str | None:
    """The name of the entry that head brings over base; None if it touches no entry.

    Raises:
        ValueError: it touches an entry and anything else, or the name isn't one.
    """
    changed = _git(repository, "diff", "--name-only", "--no-renames", "-z", f"{base}...{head}").split("\0")[:-1]
    names = {path.split("/")[2] for path in changed if path.startswith(f"{ENTRIES}/")}
    if not names:
        return None
    outside = [path for path in changed if not any(path.startswith(f"{ENTRIES}/{name}/") for name in names)]
    if len(names) > 1 or outside:
        listed = ", ".join(ascii(path) for path in sorted(outside or names)[:5])
        raise ValueError(
            f"an entry's pull request touches that entry's folder and nothing else; this one touches {listed} too: "
            f"leave that out, or bring it as a pull request of its own"
        )
    (name,) = names
    if not NAME.fullmatch(name):
        raise ValueError(f"an entry's folder has small letters, digits and hyphens in its name, got {name!a}")
    return name


def take_entry(name: str, head: str, repository: Path, into: Path) -> Path:
    """Write the entry's files, as head has them, into the folder `into/name`.

    Raises:
        ValueError: a file in there is no plain file, or larger than it may be; nothing is written then.
    """
    listed = _git(repository, "ls-tree", "-r", "-l", "-z", head, f"{ENTRIES}/{name}/").split("\0")[:-1]
    if not listed:
        raise ValueError(f"{head} has no entry {name!r}: a pull request that removes one needs a maintainer")
    blobs = {}
    for line in listed:
        about, path = line.split("\t", 1)
        mode, kind, blob, size = about.split()
        file = path.removeprefix(f"{ENTRIES}/{name}/")
        if mode != PLAIN_FILE or kind != "blob" or file not in LARGEST:
            raise ValueError(f"{file!a} (mode {mode}) doesn't belong to an entry: leave only plain {', '.join(LARGEST)}")
        if int(size) > LARGEST[file]:
            raise ValueError(f"{file} has {int(size):,} bytes, more than {LARGEST[file]:,}")
        blobs[file] = blob
    folder = into / name
    folder.mkdir(parents=True)
    for file, blob in blobs.items():
        content = subprocess.run(["git", "cat-file", "blob", blob], cwd=repository, check=True, capture_output=True).stdout
        (folder / file).write_bytes(content)
    return folder


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repository, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {' '.join(arguments[:2])} failed: {done.stderr.strip()[:300]}")
    return done.stdout
