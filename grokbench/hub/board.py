"""The board as one folder that `datasets.load_dataset` reads, and on the Hugging Face Hub.

The folder is a leaderboard itself: `grokbench check --leaderboard FOLDER` finds whether it is whole.
"""

import re
import shutil
from pathlib import Path

from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.parquet import DATA
from grokbench.board.publishing.publish import Published, publish
from grokbench.errors import EntryError
from grokbench.hub.client import Repository

README, ENTRIES, VERDICTS = "README.md", "entries", "verdicts"
FOLDERS = (ENTRIES, VERDICTS, DATA, "pages", "schemas")
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
    if folder.resolve() == leaderboard.resolve():
        raise EntryError(f"{folder} is the leaderboard itself: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if strays := sorted(path.name for path in folder.iterdir() if path.name not in (README, *FOLDERS)):
        raise EntryError(f"{folder} has other files ({', '.join(map(ascii, strays[:3]))}): choose an empty folder")
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for entry in (each.name for each in checked if not each.refused):
        shutil.copytree(leaderboard / ENTRIES / entry, folder / ENTRIES / entry)
        verdicts = leaderboard / VERDICTS / f"{entry}.json"
        if verdicts.exists():
            (folder / VERDICTS).mkdir(exist_ok=True)
            shutil.copy(verdicts, folder / VERDICTS)
    (folder / ENTRIES).mkdir(exist_ok=True)
    text = (leaderboard / README).read_text(encoding="utf-8")
    (folder / README).write_text(OUTER_LINK.sub(r"\1", text), encoding="utf-8", newline="\n")
    published = publish(folder)
    refused = (each.name for each in checked if each.refused)
    return Published((*refused, *published.refused), published.parquet)


def push_board(folder: Path, repository: Repository) -> str:
    """Bring the repository to what an exported folder has, in one commit. The repository is made if there is none.

    Returns:
        What was done, for a person.

    Raises:
        HubError: the Hub refuses, or the repository has entries that the folder lacks.
    """
    repository.user()
    repository.create()
    (tip, *_), there = repository.commits(), repository.files()
    here = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    removed = sorted(path for path in there if path.partition("/")[0] in FOLDERS and path not in here)
    if lost := sorted({path.split("/")[1] for path in removed if path.startswith(f"{ENTRIES}/")} - _entries(here)):
        raise EntryError(
            f"{repository.name} has entries that are not in this leaderboard: {', '.join(map(ascii, lost[:3]))}. Nothing was "
            f"pushed: bring them here first, from its pull request or its {ENTRIES}/"
        )
    done = repository.commit(here, removed, title="Board", parent=tip)
    if done.oid == tip:
        return f"{repository.name} has all of it already"
    return f"pushed: {done.commit_url}"


def _entries(paths: dict[str, Path]) -> set[str]:
    """The names of the entries that have a file among the paths."""
    return {path.split("/")[1] for path in paths if path.startswith(f"{ENTRIES}/")}
