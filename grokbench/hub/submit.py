"""The pull request of a packed entry on the Hugging Face Hub: one commit with the entry's files alone."""

from pathlib import Path

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import FILE_LIMITS
from grokbench.board.entries.proposal import BODY
from grokbench.board.entries.pulls import keeps_authors, replaced_entry
from grokbench.errors import EntryError
from grokbench.hub.board import ENTRIES
from grokbench.hub.client import MAIN, Repository, has_contents
from grokbench.hub.pulls import HubCommit


def open_hub_pull_request(entry_folder: Path, title: str, repository: Repository) -> str:
    """Open a pull request with the entry, or bring an open one of the same user and entry up to date.

    So the same command goes on after whatever failed: a commit comes as a whole or not at all.

    Returns:
        What was done, for a person.

    Raises:
        EntryError: the repository has the entry already, or one of other authors under this name.
        HubError: the Hub refuses.
    """
    name, user = entry_folder.name, repository.user()
    base = HubCommit(repository.commits()[0].hash, repository)
    description = " ".join([BODY, *_replacement(entry_folder, base)])
    if _holds(base, entry_folder):
        raise EntryError(f"{repository.name} has this entry already: there is nothing to bring")
    start = f"Entry: {name} "
    request = next((each for each in repository.open_pull_requests(user) if each.title.startswith(start)), None)
    revision = MAIN if request is None else f"refs/pr/{request.number}"
    tip = base if request is None else HubCommit(repository.commits(revision)[0].hash, repository)
    if request is not None and _holds(tip, entry_folder):
        return f"pull request {request.number} of {repository.name} has this entry already"
    files = {f"{ENTRIES}/{name}/{file}": entry_folder / file for file in FILE_LIMITS if (entry_folder / file).exists()}
    removed = [path for blob in tip.blobs(name) if (path := f"{ENTRIES}/{name}/{blob.file}") not in files]
    done = repository.commit(
        files,
        removed,
        title=f"{start}({title})",
        description=description,
        revision=revision,
        parent=tip.hash,
        pull_request=request is None,
    )
    if request is not None:
        return f"pull request {request.number} of {repository.name} is brought up to date"
    return f"a pull request is opened: {done.address}"


def _replacement(entry_folder: Path, base: HubCommit) -> list[str]:
    """A sentence that says whose entry this one replaces; none for a new one.

    Raises:
        EntryError: it would replace an entry of other authors.
    """
    there = replaced_entry(entry_folder.name, [base])
    if there is None or there.entry is None:
        return []
    authors = ", ".join(there.entry.form.authors)
    if not keeps_authors(there.entry, check_entry(entry_folder).entry):
        raise EntryError(f"{base.repository.name} has an entry {entry_folder.name!r} of {authors}: choose another --name")
    return [f"It replaces the entry of {authors}."]


def _holds(commit: HubCommit, entry_folder: Path) -> bool:
    """Whether the commit has exactly these files."""
    prefix = f"{ENTRIES}/{entry_folder.name}/"
    here = {f"{prefix}{file}": entry_folder / file for file in FILE_LIMITS if (entry_folder / file).exists()}
    there = {path: file for path, file in commit.files.items() if path.startswith(prefix)}
    return here.keys() == there.keys() and all(has_contents(there[path], here[path].read_bytes()) for path in here)
