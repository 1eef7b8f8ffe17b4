"""A dataset repository on the Hugging Face Hub, through the client's own login.

The client finds the login by itself (`hf auth login`, or HF_TOKEN). No token is read here, and none reaches a message.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grokbench.errors import EntryError, GrokbenchError, HubError, MissingExtraError, install

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

MAIN = "main"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}")
LONGEST_WORDS = 200  # characters of the Hub's own words in a message
AGAIN = "run the same command again"


class CommitInfo(NamedTuple):
    """A commit: its hash and the first line of its message."""

    hash: str
    title: str


class Pushed(NamedTuple):
    """What an upload made: the hash of the commit that is there now, and the address to look at."""

    hash: str
    address: str


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
            raise MissingExtraError(f"the Hugging Face Hub needs the package huggingface_hub: {install('hub')}") from None
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

    def commits(self, revision: str = MAIN) -> list[CommitInfo]:
        """The commits that lead to a revision, the newest first; at least one."""
        with self._one_line():
            found = self._api.list_repo_commits(self.name, repo_type="dataset", revision=revision)
            commits = [CommitInfo(str(commit.commit_id), str(commit.title)) for commit in found]
            if not commits:
                raise ValueError(f"no commits at {revision}")
            return commits

    def files(self, revision: str = MAIN) -> dict[str, "RepoFile"]:
        """The files at a revision by their paths."""
        with self._one_line():
            from huggingface_hub import RepoFile

            tree = self._api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type="dataset")
            files = {node.path: node for node in tree if isinstance(node, RepoFile)}
            if not all(isinstance(path, str) and isinstance(file.size, int) for path, file in files.items()):
                raise ValueError("a file without a path or a size")
            return files

    def read(self, path: str, revision: str, *, limit: int) -> bytes:
        """The contents of a file at a revision. It never touches the disk, whose paths a server could choose.

        Raises:
            EntryError: it has more than `limit` bytes, whatever the Hub says of its size.
        """
        with self._one_line():
            from huggingface_hub import get_session, hf_hub_url
            from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

            url = hf_hub_url(self.name, path, repo_type="dataset", revision=revision, endpoint=self._api.endpoint)
            content = bytearray()
            with get_session().stream("GET", url, headers=build_hf_headers(library_name="grokbench")) as response:
                if response.is_error:
                    response.read()
                hf_raise_for_status(response)
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise EntryError(f"{path} has more than {limit:,} bytes: shorten it")
            return bytes(content)

    def open_pull_requests(self, author: str) -> list[PullRequestInfo]:
        """The open pull requests of an author."""
        with self._one_line():
            found = self._api.get_repo_discussions(self.name, author=author, repo_type="dataset")
            mine = [each for each in found if each.is_pull_request and each.status == "open" and each.author == author]
            return [PullRequestInfo(each.num, each.title) for each in mine]

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
    ) -> Pushed:
        """Upload files in one commit, which comes as a whole or not at all. The client shows its progress.

        Args:
            added: the files by their paths in the repository.
            removed: paths that go.
            title: the commit's first line, and the title of its pull request.
            description: what follows.
            revision: where the commit goes.
            parent: the commit on which it must build; the Hub refuses it if `revision` has moved on.
            pull_request: whether it opens a pull request to `revision`.
        """
        with self._one_line():
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            operations = [CommitOperationAdd(path, file) for path, file in added.items()]
            done = self._api.create_commit(
                self.name,
                [*operations, *(CommitOperationDelete(path, is_folder=False) for path in removed)],
                repo_type="dataset",
                commit_message=title,
                commit_description=description,
                revision=None if pull_request else revision,
                parent_commit=parent,
                create_pr=pull_request,
            )
            return Pushed(str(done.oid), _shown(done.pr_url or done.commit_url))

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


def has_contents(file: "RepoFile", content: bytes) -> bool:
    """Whether a file on the Hub has these contents, by its hash: nothing is downloaded."""
    if file.lfs is not None:
        return file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return file.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _told(error: BaseException, name: str) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    response = getattr(error, "response", None)
    while response is None and not isinstance(error, OfflineModeIsEnabled) and error.__cause__ is not None:
        error = error.__cause__  # the client wraps a failure in the middle of an upload or a download
        response = getattr(error, "response", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", f"unset it and {AGAIN}"
    if isinstance(error, RepositoryNotFoundError):
        remedy = f"check --repo, or make it with `grokbench export --to hub --repo {name}`"
        return f"there is no dataset {name} on the Hub that your login may see", remedy
    if response is not None:
        return _refused(response.status_code, response.headers, name, _words(getattr(error, "server_message", None)))
    if isinstance(error, (ValueError, LookupError, TypeError)):  # a name that the client refuses, or an answer it can't read
        return f"the client of the Hub failed: {type(error).__name__}{_words(error)}", AGAIN
    return f"the connection to the Hub failed ({type(error).__name__})", AGAIN


def _refused(status: int, headers: Mapping[str, str], name: str, words: str) -> tuple[str, str]:
    """The same for an answer of the Hub."""
    if status == 401:
        return "the Hub doesn't accept your login", f"`hf auth login`, then {AGAIN}"
    if status == 403:
        return (
            f"the Hub doesn't allow this to your login{words}",
            "use a token that may write, or ask the owner of the repository",
        )
    if status == 404:
        return f"{name} doesn't have this on the Hub{words}", "check --repo, and the number of the pull request"
    if status in (409, 412):
        return f"{name} has changed meanwhile{words}", AGAIN
    if status == 429:
        seconds = headers.get("Retry-After", "")
        return "the Hub's rate limit is reached", f"wait{f' {seconds} seconds' if seconds.isdigit() else ''} and {AGAIN}"
    if status >= 500:
        return f"the Hub has a failure of its own ({status})", f"wait and {AGAIN}"
    return f"the Hub refuses this ({status}{words})", f"mend it and {AGAIN}"


def _words(message: object) -> str:
    """What the Hub or its client says, in brackets."""
    said = _shown(" ".join(str(message or "").split()))
    return f" ({said})" if said else ""


def _shown(text: str) -> str:
    """Text of a server that may be printed: short, in ASCII, and without the token, which a server could repeat."""
    from huggingface_hub import get_token

    token = get_token()
    return ascii((text.replace(token, "...") if token else text)[:LONGEST_WORDS])[1:-1]
