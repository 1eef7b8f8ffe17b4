"""The pull request of a packed entry: one commit on the base's tip, made without the work tree, the index or a local branch.

So it doesn't matter what is checked out or staged, and nothing is left behind by a push that is refused. The same command
takes it up again: a branch that was pushed before is kept, and gets a further commit if the entry has changed.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import FILE_LIMITS
from grokbench.board.entries.git import git
from grokbench.board.entries.git_pulls import ENTRIES, GitCommit, changed_paths
from grokbench.board.entries.pulls import Blob, keeps_authors, replaced_entry
from grokbench.errors import EntryError

BODY = "Packed with `grokbench submit`."
AGAIN = "mend this and run the same command again"


@dataclass(frozen=True)
class Target:
    """Where the pull request goes.

    Attributes:
        remote: the remote whose default branch is the base: `upstream` where there is one, else `origin`.
        branch: that branch.
        tip: its last commit.
    """

    remote: str
    branch: str
    tip: str


def open_pull_request(entry_folder: Path, title: str) -> str:
    """Push a branch with the entry alone and open its pull request, with `gh` where it is installed.

    Returns:
        What was done, for a person.

    Raises:
        EntryError: a command failed, or the branch is there and holds something else. Nothing local has changed.
    """
    repository = _repository_of(entry_folder)
    target = _target(repository)
    branch = f"entry-{entry_folder.name}"
    push_entry(entry_folder, branch, target, repository=repository)
    if shutil.which("gh") is None:
        return f"the branch {branch} is pushed to origin: open a pull request from it"
    return _created(branch, target, f"Entry: {entry_folder.name} ({title})", repository)


def pull_request_commands(entry_folder: Path, title: str) -> list[list[str]]:
    """The commands with which a person does the same by hand, in the checkout."""
    name = entry_folder.name
    branch, message = f"entry-{name}", f"Entry: {name}"
    return [
        ["git", "fetch", "origin", "main"],
        ["git", "switch", "--create", branch, "FETCH_HEAD"],
        ["git", "add", "--force", "--", str(entry_folder)],
        ["git", "commit", f"--message={message}", "--", str(entry_folder)],
        ["git", "push", "--set-upstream", "origin", branch],
        ["gh", "pr", "create", f"--title={message} ({title})", f"--body={BODY}"],
    ]


def push_entry(entry_folder: Path, branch: str, target: Target, *, repository: Path) -> None:
    """Push the entry as one commit to the branch on `origin`.

    Raises:
        EntryError: the push is refused, or the branch holds something else.
    """
    pushed = _remote_tip(repository, "origin", f"refs/heads/{branch}")
    if pushed is not None:
        _fetch(repository, "origin", branch)
        _check_pushed(pushed, target, entry_folder, branch, repository)
    parent = target.tip if pushed is None or _is_ancestor(pushed, target.tip, repository) else pushed
    tree = _tree_with_entry(entry_folder, parent, repository)
    if tree == git(repository, "rev-parse", f"{parent}^{{tree}}").strip():
        if parent == target.tip:
            raise EntryError(f"the branch {target.branch} of {target.remote} has this entry already: there is nothing to bring")
        return
    commit = git(repository, "commit-tree", "-p", parent, "-m", f"Entry: {entry_folder.name}", tree).strip()
    try:
        git(repository, "push", "--quiet", "origin", f"{commit}:refs/heads/{branch}")
    except EntryError as error:
        raise EntryError(f"{error}; {AGAIN}") from None


def _repository_of(entry_folder: Path) -> Path:
    """The checkout whose leaderboard the entry lies in."""
    repository = entry_folder.resolve().parents[2]
    top = git(repository, "rev-parse", "--show-toplevel").strip()
    if Path(top) != repository or entry_folder.resolve().parent != repository / ENTRIES:
        raise EntryError(f"{entry_folder} isn't in {ENTRIES} of a checkout: run this at the top of a clone")
    return repository


def _target(repository: Path) -> Target:
    remotes = git(repository, "remote").split()
    if "origin" not in remotes:
        raise EntryError("the checkout has no remote `origin` to push to: git remote add origin <your fork>")
    remote = "upstream" if "upstream" in remotes else "origin"
    answer = git(repository, "ls-remote", "--symref", remote, "HEAD")
    found = re.search(r"^ref: refs/heads/(\S+)\tHEAD\n([0-9a-f]{40,64})\tHEAD$", answer, re.MULTILINE)
    if found is None:
        raise EntryError(f"the remote {remote} has no default branch to bring an entry to")
    _fetch(repository, remote, found[1])
    return Target(remote, found[1], found[2])


def _remote_tip(repository: Path, remote: str, reference: str) -> str | None:
    answer = git(repository, "ls-remote", remote, reference).split()
    return answer[0] if answer else None


def _fetch(repository: Path, remote: str, branch: str) -> None:
    git(repository, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, f"refs/heads/{branch}")


def _is_ancestor(commit: str, of: str, repository: Path) -> bool:
    return git(repository, "merge-base", commit, of, allowed=(0, 1)).strip() == commit


def _check_pushed(pushed: str, target: Target, entry_folder: Path, branch: str, repository: Path) -> None:
    """Refuse a branch on `origin` that holds more than this entry, or an entry of other people."""
    name = entry_folder.name
    remedy = f"delete the branch {branch} on origin, or choose another --name"
    foreign = [path for path in changed_paths(target.tip, pushed, repository=repository) if not _is_of(path, name)]
    if foreign:
        raise EntryError(f"the branch {branch} on origin brings {foreign[0]!a} too: {remedy}")
    there = replaced_entry(name, [GitCommit(pushed, repository)])
    if there and there.entry and not keeps_authors(there.entry, check_entry(entry_folder).entry):
        raise EntryError(f"the branch {branch} on origin has the entry of {', '.join(there.entry.form.authors)}: {remedy}")


def _is_of(path: str, name: str) -> bool:
    return path.startswith(f"{ENTRIES}/{name}/")


def _tree_with_entry(entry_folder: Path, parent: str, repository: Path) -> str:
    """The hash of the parent's tree in which the entry is as it lies in the folder, byte by byte."""
    name = entry_folder.name
    removed = [f"0 {blob.hash}\t{ENTRIES}/{name}/{blob.file}" for blob in GitCommit(parent, repository).blobs(name)]
    added = [_written(entry_folder / file, repository) for file in FILE_LIMITS if (entry_folder / file).exists()]
    lines = [*removed, *(f"100644 {blob.hash}\t{ENTRIES}/{name}/{blob.file}" for blob in added)]
    with TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(repository, "read-tree", parent, environment=index)
        git(repository, "update-index", "-z", "--index-info", stdin="".join(f"{line}\0" for line in lines), environment=index)
        return git(repository, "write-tree", environment=index).strip()


def _written(path: Path, repository: Path) -> Blob:
    """The file as an object in git. No filter changes its line ends."""
    written = git(repository, "hash-object", "-w", "--no-filters", "--", str(path.resolve())).strip()
    return Blob(path.name, written, path.stat().st_size)


def _created(branch: str, target: Target, title: str, repository: Path) -> str:
    """Open the pull request with `gh`. One that is open for the branch already is as good."""
    owner = re.search(r"github\.com[:/]([A-Za-z0-9-]+)/", git(repository, "remote", "get-url", "origin"))
    head = f"{owner[1]}:{branch}" if owner else branch
    command = ["gh", "pr", "create", f"--base={target.branch}", f"--head={head}", f"--title={title}", f"--body={BODY}"]
    done = subprocess.run(command, cwd=repository, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode and "already exists" not in done.stderr:
        raise EntryError(f"the branch {branch} is pushed, but `gh pr create` failed: {done.stderr.strip()[:300]}; {AGAIN}")
    return done.stdout.strip() or f"the pull request of {branch} is up to date"
