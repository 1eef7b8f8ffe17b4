"""A dataset repository on the Hugging Face Hub, through the client's own login.

The client finds the login by itself (`hf auth login`, or HF_TOKEN). No token is read here, and none reaches a message.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from grokbench.errors import HUB_EXTRA, GrokbenchError, HubError, MissingExtraError

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

MAIN = "main"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}")
LONGEST_WORDS = 200  # characters of the Hub's own words in a message
AGAIN = "run the same command again"
NO_REPOSITORY = "RepoNotFound"  # what the Hub says of a repository that is missing, or hidden from this login


class PullRequestInfo(NamedTuple):
    """An open pull request: its number and its title."""

    number: int
    title: str


class Repository:
    """A dataset repository. Every method raises HubError with one line, which says what is kept and what to do.

    Args:
        name: OWNER/NAME.
        kept: what a failure leaves, for the message: "the entry is kept in …".

    Raises:
        MissingExtraError: `huggingface_hub` isn't installed.
        HubError: no repository can have this name.
    """

    def __init__(self, name: str, *, kept: str) -> None:
        try:
            from huggingface_hub import HfApi
        except ModuleNotFoundError:
            raise MissingExtraError(f"the Hugging Face Hub needs the package huggingface_hub: {HUB_EXTRA}") from None
        if not NAME.fullmatch(name):
            raise HubError(f"--repo takes OWNER/NAME, the name of a dataset on the Hub, got {name[:100]!a}")
        self.name, self.kept = name, kept
        self._api = HfApi(library_name="grokbench")

    def user(self) -> str:
        """The name of the user who is logged in."""
        with self._one_line():
            from huggingface_hub import get_token

            if get_token() is None:
                raise HubError(f"there is no login to the Hub; {self.kept}: `hf auth login`, then {AGAIN}")
            return str(self._api.whoami()["name"])

    def create(self) -> None:
        """Make the repository if there is none."""
        with self._one_line():
            self._api.create_repo(self.name, repo_type="dataset", exist_ok=True)

    def commits(self, revision: str = MAIN) -> list[str]:
        """The hashes of the commits that lead to a revision, the newest first."""
        with self._one_line():
            return [
                commit.commit_id for commit in self._api.list_repo_commits(self.name, repo_type="dataset", revision=revision)
            ]

    def files(self, revision: str = MAIN) -> dict[str, "RepoFile"]:
        """The files at a revision by their paths."""
        with self._one_line():
            from huggingface_hub import RepoFile

            tree = self._api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type="dataset")
            return {node.path: node for node in tree if isinstance(node, RepoFile)}

    def read(self, path: str, revision: str) -> bytes:
        """The contents of a file at a revision. Nothing stays in the client's cache."""
        with self._one_line(), TemporaryDirectory() as scratch:
            there = self._api.hf_hub_download(self.name, path, repo_type="dataset", revision=revision, cache_dir=scratch)
            return Path(there).read_bytes()

    def open_pull_requests(self, author: str) -> list[PullRequestInfo]:
        """The open pull requests of an author."""
        with self._one_line():
            found = self._api.get_repo_discussions(self.name, author=author, repo_type="dataset")
            return [PullRequestInfo(each.num, each.title) for each in found if each.is_pull_request and each.status == "open"]

    def commit(
        self,
        added: Mapping[str, Path],
        removed: Sequence[str],
        *,
        title: str,
        description: str = "",
        revision: str = MAIN,
        parent: str | None = None,
        pull_request: bool = False,
    ) -> Any:
        """Upload files in one commit, which comes as a whole or not at all. The client shows its progress.

        Args:
            added: the files by their paths in the repository.
            removed: paths that go.
            title: the commit's first line, and the title of its pull request.
            description: what follows.
            revision: where the commit goes.
            parent: the commit on which it must build; the Hub refuses it if `revision` has moved on.
            pull_request: whether it opens a pull request to `revision`.

        Returns:
            The client's `CommitInfo`.
        """
        with self._one_line():
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            operations = [CommitOperationAdd(path, file) for path, file in added.items()]
            return self._api.create_commit(
                self.name,
                [*operations, *(CommitOperationDelete(path, is_folder=False) for path in removed)],
                repo_type="dataset",
                commit_message=title,
                commit_description=description,
                revision=None if pull_request else revision,
                parent_commit=parent,
                create_pr=pull_request,
            )

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn whatever the client raises into one line."""
        try:
            yield
        except GrokbenchError:
            raise
        except Exception as error:
            problem, remedy = _told(error, self.name)
            raise HubError(f"{problem}; {self.kept}: {remedy}") from None


def _told(error: BaseException, name: str) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    response = getattr(error, "response", None)
    while response is None and not isinstance(error, OfflineModeIsEnabled) and error.__cause__ is not None:
        error = error.__cause__  # the client wraps a failure in the middle of an upload or a download
        response = getattr(error, "response", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", f"unset it and {AGAIN}"
    if response is not None:
        return _refused(response.status_code, response.headers, name, _words(getattr(error, "server_message", None)))
    if isinstance(error, (ValueError, LookupError, TypeError)):  # a name that the client refuses, or an answer it can't read
        return f"the client of the Hub failed: {type(error).__name__}{_words(error)}", AGAIN
    return f"the connection to the Hub failed ({type(error).__name__})", AGAIN


def _refused(status: int, headers: Mapping[str, str], name: str, words: str) -> tuple[str, str]:
    """The same for an answer of the Hub."""
    if headers.get("X-Error-Code") == NO_REPOSITORY:
        remedy = f"check --repo, or make it with `grokbench export --to hub --repo {name}`"
        return f"there is no dataset {name} on the Hub that your login may see", remedy
    if status == 401:
        return "the Hub doesn't accept your login", f"`hf auth login`, then {AGAIN}"
    if status == 403:
        return (
            f"the Hub doesn't allow this to your login{words}",
            "use a token that may write, or ask the owner of the repository",
        )
    if status == 404:
        return f"{name} doesn't have this on the Hub{words}", "check the number of the pull request"
    if status in (409, 412):
        return f"{name} has changed meanwhile{words}", AGAIN
    if status == 429:
        seconds = headers.get("Retry-After", "")
        return "the Hub's rate limit is reached", f"wait{f' {seconds} seconds' if seconds.isdigit() else ''} and {AGAIN}"
    if status >= 500:
        return f"the Hub has a failure of its own ({status})", f"wait and {AGAIN}"
    return f"the Hub refuses this ({status}{words})", f"mend it and {AGAIN}"


def _words(message: object) -> str:
    """What the Hub or its client says, in brackets and without the token, which a server could repeat."""
    from huggingface_hub import get_token

    said = " ".join(str(message or "").split())
    token = get_token()
    if token:
        said = said.replace(token, "...")
    return f" ({ascii(said[:LONGEST_WORDS])[1:-1]})" if said else ""
