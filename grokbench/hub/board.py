"""The board as one folder that `datasets.load_dataset` reads, and on the Hugging Face Hub.

The folder is a leaderboard itself: `grokbench check --leaderboard FOLDER` finds whether it is whole.
"""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.parquet import DATA
from grokbench.board.publishing.publish import TABLES, Published, publish_checked
from grokbench.errors import EntryError
from grokbench.hub.client import Repository, has_contents

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

README, ENTRIES, VERDICTS = "README.md", "entries", "verdicts"
FOLDERS = (ENTRIES, VERDICTS, DATA, "pages", "schemas")
MARK = ".exported"  # a file in every exported folder, which nobody else writes
MOST_README = 1 << 20  # bytes
PUSHED = "The board of grokbench"  # the title of every push
OUTER_LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")  # to a file outside the leaderboard's folder


def export_board(folder: Path, *, leaderboard: Path = LEADERBOARD) -> Published:
    """Write the accepted entries with their verdicts, the tables, pages, schemas and data to a folder.

    Args:
        folder: a new or empty folder, or an earlier export, which is written again.
        leaderboard: the folder of the leaderboard.

    Raises:
        EntryError: there is no leaderboard, or the folder has other files.
        MissingExtraError: the extra `hub` isn't installed.
    """
    checked = check_entries(leaderboard=leaderboard)
    _check_place(folder, leaderboard)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for name in FOLDERS:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    (folder / ENTRIES).mkdir()
    for entry in (each.name for each in checked if not each.refused):
        shutil.copytree(leaderboard / ENTRIES / entry, folder / ENTRIES / entry)
        verdicts = leaderboard / VERDICTS / f"{entry}.json"
        if verdicts.exists():
            (folder / VERDICTS).mkdir(exist_ok=True)
            shutil.copy(verdicts, folder / VERDICTS)
    refused = [each.name for each in checked if each.refused]
    exported = check_entries(leaderboard=folder)
    # An entry that reproduces a refused one is refused without it, and so on.
    while more := [each.name for each in exported if each.refused]:
        for name in more:
            shutil.rmtree(folder / ENTRIES / name)
            (folder / VERDICTS / f"{name}.json").unlink(missing_ok=True)
        refused += more
        exported = check_entries(leaderboard=folder)
    text = (leaderboard / README).read_text(encoding="utf-8")
    (folder / README).write_text(OUTER_LINK.sub(r"\1", text), encoding="utf-8", newline="\n")
    return Published(tuple(refused), publish_checked(exported, folder).parquet)


def _check_place(folder: Path, leaderboard: Path) -> None:
    """Refuse a folder that has files of other people."""
    if leaderboard.resolve().is_relative_to(folder.resolve()):
        raise EntryError(f"{folder} holds the leaderboard itself: choose another folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    strays = [name for name in there if name not in (README, MARK, *FOLDERS)] if MARK in there else there
    if strays:
        raise EntryError(f"{folder} has other files ({', '.join(map(ascii, strays[:3]))}): choose an empty folder")


def push_board(folder: Path, repository: Repository) -> str:
    """Bring the repository to what an exported folder has, in one commit. The repository is made if there is none.

    Returns:
        What was done, for a person.

    Raises:
        EntryError: the repository isn't a board, or has entries or verdicts that the folder lacks.
        HubError: the Hub refuses.
    """
    repository.user()
    repository.create()
    commits = repository.commits()
    tip = commits[0].hash
    there = repository.files(tip)
    here = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    del here[MARK]
    _check_is_board(there, tip, repository)
    last = next((commit.hash for commit in commits if commit.title == PUSHED), None)
    _check_nothing_is_lost(there, repository.files(last) if last else {}, here, repository.name)
    removed = sorted(path for path in there if path.partition("/")[0] in FOLDERS and path not in here)
    done = repository.commit(here, removed, title=PUSHED, parent=tip)
    return f"{repository.name} has all of it already" if done.hash == tip else f"pushed: {done.address}"


def _check_is_board(there: dict[str, "RepoFile"], tip: str, repository: Repository) -> None:
    """Refuse a repository with files that isn't a board, because a push removes what no board has."""
    if not any(path.partition("/")[0] in (README, *FOLDERS) for path in there):
        return
    text = repository.read(README, tip, limit=MOST_README) if README in there else b""
    if f"<!-- {TABLES} -->".encode() not in text:
        raise EntryError(f"{repository.name} isn't a board, and a push would remove its files: name another --repo")


def _check_nothing_is_lost(
    there: dict[str, "RepoFile"], pushed: dict[str, "RepoFile"], here: dict[str, Path], name: str
) -> None:
    """Refuse to overwrite or remove entries and verdicts that came to the repository after the last push."""
    lost = set()
    for path, file in there.items():
        kept = path.split("/")[0] in (ENTRIES, VERDICTS)
        is_new = path not in pushed or pushed[path].blob_id != file.blob_id
        if kept and is_new and not (path in here and has_contents(file, here[path].read_bytes())):
            lost.add(path.split("/")[1].removesuffix(".json"))
    if lost:
        raise EntryError(
            f"{name} has entries or verdicts that came after the last push and are not in this board: "
            f"{', '.join(map(ascii, sorted(lost)[:3]))}. Nothing was pushed: bring them here first, or mend what `grokbench "
            f"check` refuses"
        )
