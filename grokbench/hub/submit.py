"""The pull request of a packed entry on the Hugging Face Hub: one commit with the entry's files alone."""

from pathlib import Path

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import FILE_LIMITS
from grokbench.board.entries.form import author_names
from grokbench.board.entries.pulls import replaced_entry
from grokbench.errors import EntryError
from grokbench.hub.board import ENTRIES
from grokbench.hub.client import MAIN, Repository
from grokbench.hub.pulls import HubCommit

PACKED = "Packed with `grokbench submit`."


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
    description = " ".join([PACKED, *_replacement(entry_folder, base)])
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
    there, here = replaced_entry(entry_folder.name, [base]), check_entry(entry_folder).entry
    if there is None or there.entry is None or here is None:
        return []
    authors = ", ".join(there.entry.form.authors)
    if not author_names(there.entry.form) <= author_names(here.form):
        raise EntryError(f"{base.repository.name} has an entry {here.name!r} of {authors}: choose another --name")
    return [f"It replaces the entry of {authors}."]


def _holds(commit: HubCommit, entry_folder: Path) -> bool:
    """Whether the commit has exactly these files."""
    here = {file: (entry_folder / file).read_bytes() for file in FILE_LIMITS if (entry_folder / file).exists()}
    sizes = {blob.file: blob.size for blob in commit.blobs(entry_folder.name)}
    if sizes != {file: len(content) for file, content in here.items()}:
        return False
    return all(commit.read(entry_folder.name, blob) == here[blob.file] for blob in commit.blobs(entry_folder.name))
