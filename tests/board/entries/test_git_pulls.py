"""Pull requests in a small repository: what they may touch, which files are taken, and what is checked."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries import pulls
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.entry import entry_folder
from grokbench.board.entries.files import FILE_LIMITS, stray_files
from grokbench.board.entries.git_pulls import GitCommit, change_of, check_pull_request
from grokbench.errors import EntryError
from tests.support.entries import good_runs, write_good_entry


def entry_of(base: str, head: str, *, repository: Path) -> str | None:
    """The name of the entry that a commit brings over another."""
    return pulls.entry_of(change_of(base, head, repository=repository))


def take_entry(name: str, head: str, *, repository: Path, into: Path) -> Path:
    """Write the entry's files, as a commit has them."""
    return pulls.take_entry(name, GitCommit(head, repository), into=into)


def git(folder: Path, *arguments: str) -> str:
    """The output of git in the repository."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    """Commit everything; the commit's hash."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one entry."""
    git(tmp_path, "init", "--quiet")
    write_good_entry(tmp_path / "leaderboard" / "entries" / "first")
    (tmp_path / "code.py").write_text("1")
    commit(tmp_path)
    return tmp_path


@pytest.fixture
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder outside the repository."""
    return tmp_path_factory.mktemp("taken")


def second(repository: Path) -> Path:
    """Write a second entry."""
    return write_good_entry(repository / "leaderboard" / "entries" / "second", good_runs(around=500))


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """A repository without entries, for what depends on paths alone."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1")
    commit(tmp_path)
    return tmp_path


def stub(repository: Path, name: str = "second") -> Path:
    """Write a folder with an empty form."""
    folder = repository / "leaderboard" / "entries" / name
    folder.mkdir(parents=True)
    (folder / "entry.toml").touch()
    return folder


def test_a_pull_request_with_one_entry_is_checked(repository: Path, taken: Path) -> None:
    """Its files are taken from git byte by byte. The checkout doesn't have them."""
    base = git(repository, "rev-parse", "HEAD")
    folder = second(repository)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    head = commit(repository)
    git(repository, "checkout", "--quiet", base)
    pull = check_pull_request(base, head, leaderboard=repository / "leaderboard", take=taken)
    assert pull is not None
    assert (pull.checked.name, pull.checked.findings) == ("second", ())
    assert [other.name for other in pull.others] == ["first"]
    assert {path.name: path.read_bytes() for path in (taken / "second").iterdir()} == contents


def test_copied_runs_are_noted(repository: Path) -> None:
    """The entry is compared with those of the base."""
    base = git(repository, "rev-parse", "HEAD")
    write_good_entry(repository / "leaderboard" / "entries" / "second")
    head = commit(repository)
    git(repository, "checkout", "--quiet", base)
    pull = check_pull_request(base, head, leaderboard=repository / "leaderboard")
    assert pull is not None
    assert "has the same exams as in 'first'" in str(pull.checked.findings[0])


def test_a_pull_request_without_an_entry(repository: Path) -> None:
    """There is nothing to check."""
    base = git(repository, "rev-parse", "HEAD")
    (repository / "code.py").write_text("2")
    assert check_pull_request(base, commit(repository), leaderboard=repository / "leaderboard") is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("code.py", "touches 'code.py' too"),
        ("leaderboard/README.md", "touches 'leaderboard/README.md' too"),
        ("leaderboard/entries/first/entry.toml", "nothing else"),
        ("leaderboard/entries/other/entry.toml", "nothing else"),
        (".github/workflows/x.yml", "nothing else"),
    ],
)
def test_an_entry_comes_alone(repository: Path, path: str, message: str) -> None:
    """Its pull request touches one entry's folder and nothing else."""
    base = git(repository, "rev-parse", "HEAD")
    second(repository)
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("changed")
    with pytest.raises(EntryError, match=message):
        entry_of(base, commit(repository), repository=repository)


def test_a_link_in_place_of_an_entry_is_refused(repository: Path) -> None:
    """It isn't passed over as if the pull request had no entry."""
    base = git(repository, "rev-parse", "HEAD")
    os.symlink("/etc", repository / "leaderboard" / "entries" / "second")
    with pytest.raises(EntryError, match="touches 'leaderboard/entries/second' too"):
        entry_of(base, commit(repository), repository=repository)


def test_a_renamed_file_counts_on_both_sides(repository: Path) -> None:
    """Moving a file from elsewhere into the entry touches elsewhere."""
    base = git(repository, "rev-parse", "HEAD")
    (repository / "code.py").rename(second(repository) / "agent.py")
    with pytest.raises(EntryError, match=r"touches 'code\.py' too"):
        entry_of(base, commit(repository), repository=repository)


def add_link(folder: Path) -> None:
    """Add a link to a file outside."""
    os.symlink("/etc/passwd", folder / "agent.py")


def add_folder(folder: Path) -> None:
    """Add a file in a folder."""
    (folder / "deep").mkdir()
    (folder / "deep" / "runs.jsonl").write_text("x")


def add_capitals(folder: Path) -> None:
    """Add a file that is another one where case doesn't count."""
    (folder / "Runs.jsonl").write_text("x")


def add_large_file(folder: Path) -> None:
    """Make the form too large."""
    (folder / "entry.toml").write_text("#" * 20_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_link, r"'agent.py' \(mode 120000\) doesn't belong"),
        (add_folder, "'deep/runs.jsonl'"),
        (add_large_file, "entry.toml has 20,000 bytes"),
    ],
)
def test_only_plain_files_are_taken(repository: Path, taken: Path, change: Callable[[Path], None], message: str) -> None:
    """Anything else is an error, and then nothing is written."""
    change(second(repository))
    with pytest.raises(EntryError, match=message):
        take_entry("second", commit(repository), repository=repository, into=taken)
    assert list(taken.iterdir()) == []


def test_a_removed_entry_needs_a_maintainer(repository: Path, taken: Path) -> None:
    """There are no files to check."""
    with pytest.raises(EntryError, match="has no entry 'gone'"):
        take_entry("gone", "HEAD", repository=repository, into=taken)


def test_an_entry_that_is_brought_again_is_no_copy_of_itself(repository: Path) -> None:
    """It is compared with the other entries alone."""
    base = git(repository, "rev-parse", "HEAD")
    with (repository / "leaderboard" / "entries" / "first" / "entry.toml").open("a") as file:
        file.write("# changed\n")
    pull = check_pull_request(base, commit(repository), leaderboard=repository / "leaderboard")
    assert pull is not None
    assert (pull.checked.name, pull.others) == ("first", ())
    assert [finding.problem for finding in pull.checked.findings] == ["replaces the entry of A. Nonymous"]


def test_what_the_base_got_meanwhile_is_no_change(stubs: Path) -> None:
    """The pull request is compared with the commit that it started from."""
    start = git(stubs, "rev-parse", "HEAD")
    stub(stubs)
    head = commit(stubs)
    git(stubs, "checkout", "--quiet", start)
    (stubs / "code.py").write_text("2")
    assert entry_of(commit(stubs), head, repository=stubs) == "second"


def test_a_reproduction_is_one_of_an_entry_of_the_base(repository: Path) -> None:
    """The pull request can't bring the original too."""
    base = git(repository, "rev-parse", "HEAD")
    write_good_entry(repository / "leaderboard" / "entries" / "second", good_runs(luck=1), reproduces="frist")
    head = commit(repository)
    git(repository, "checkout", "--quiet", base)
    pull = check_pull_request(base, head, leaderboard=repository / "leaderboard")
    assert pull is not None
    assert "it reproduces 'frist', which isn't another entry" in str(pull.checked.findings[0])


@pytest.mark.parametrize("name", ["Second", "a", "\u202esecond"])
def test_a_folder_that_no_entry_can_have(stubs: Path, name: str) -> None:
    """Its name is shown in ASCII."""
    base = git(stubs, "rev-parse", "HEAD")
    stub(stubs, name)
    with pytest.raises(EntryError) as error:
        entry_of(base, commit(stubs), repository=stubs)
    assert "the folder of an entry has small letters" in str(error.value)
    assert str(error.value).isascii()


@pytest.mark.parametrize("name", [b"\xff.toml", b"new\nline", b"tab\t", b'"quoted"'])
def test_hostile_file_names_are_refused(stubs: Path, taken: Path, name: bytes) -> None:
    """Bytes that aren't UTF-8, and what git would quote, neither raise another error nor hide the file."""
    base = git(stubs, "rev-parse", "HEAD")
    folder = stub(stubs)
    Path(os.fsdecode(bytes(folder) + b"/" + name)).touch()
    head = commit(stubs)
    assert entry_of(base, head, repository=stubs) == "second"
    with pytest.raises(EntryError, match=r"doesn't belong to an entry") as error:
        take_entry("second", head, repository=stubs, into=taken)
    assert str(error.value).isprintable()
    assert list(taken.iterdir()) == []


def test_a_file_at_its_limit_is_taken(stubs: Path, taken: Path) -> None:
    """With contents that aren't text."""
    content = b"\xff\r\n\0" * (FILE_LIMITS["entry.toml"] // 4)
    (stub(stubs) / "entry.toml").write_bytes(content)
    folder = take_entry("second", commit(stubs), repository=stubs, into=taken)
    assert len(content) == FILE_LIMITS["entry.toml"]
    assert (folder / "entry.toml").read_bytes() == content


def test_only_some_paths_are_listed(stubs: Path) -> None:
    """A pull request may touch thousands."""
    base = git(stubs, "rev-parse", "HEAD")
    stub(stubs)
    for number in range(20):
        (stubs / f"{number}.py").touch()
    with pytest.raises(EntryError) as error:
        entry_of(base, commit(stubs), repository=stubs)
    assert str(error.value).count(".py") == 5


def test_an_unknown_commit_is_an_error_of_one_line(stubs: Path) -> None:
    """With what to do."""
    with pytest.raises(EntryError, match=r"there is no commit '0{40}' here: fetch it"):
        entry_of("0" * 40, "HEAD", repository=stubs)


def merge(folder: Path, other: str) -> str:
    """Merge a commit into the one that is checked out; the merge's hash."""
    git(folder, "merge", "--quiet", "--no-edit", "--strategy-option=theirs", other)
    return git(folder, "rev-parse", "HEAD")


def test_a_merge_of_the_base_into_the_pull_request_brings_nothing(stubs: Path) -> None:
    """The base moved on and got another entry; the pull request has merged it."""
    start = git(stubs, "rev-parse", "HEAD")
    stub(stubs, "other-entry")
    base = commit(stubs)
    git(stubs, "checkout", "--quiet", start)
    stub(stubs)
    commit(stubs)
    assert entry_of(base, merge(stubs, base), repository=stubs) == "second"


def test_what_the_base_has_from_another_pull_request_is_no_change(stubs: Path) -> None:
    """The branch grew on another entry's branch, whose commits the base got as a single new one."""
    start = git(stubs, "rev-parse", "HEAD")
    stub(stubs, "other-entry")
    commit(stubs)
    stub(stubs)
    head = commit(stubs)
    git(stubs, "checkout", "--quiet", start)
    (stubs / "code.py").write_text("2")
    stub(stubs, "other-entry")
    assert entry_of(commit(stubs), head, repository=stubs) == "second"


def test_histories_that_cross_bring_one_entry(stubs: Path) -> None:
    """Both sides merged each other's older commits, so that they have two last commits in common."""
    start = git(stubs, "rev-parse", "HEAD")
    stub(stubs, "other-entry")
    first_base = commit(stubs)
    git(stubs, "checkout", "--quiet", start)
    stub(stubs, "earlier")
    first_head = commit(stubs)
    stub(stubs)
    commit(stubs)
    head = merge(stubs, first_base)
    git(stubs, "checkout", "--quiet", first_base)
    base = merge(stubs, first_head)
    assert len(git(stubs, "merge-base", "--all", base, head).split()) == 2
    assert entry_of(base, head, repository=stubs) == "second"


def test_commits_without_a_common_one_are_an_error(stubs: Path) -> None:
    """With what to do."""
    base = git(stubs, "rev-parse", "HEAD")
    git(stubs, "checkout", "--quiet", "--orphan", "alone")
    stub(stubs)
    with pytest.raises(EntryError, match="no commit in common with its base: begin a branch"):
        entry_of(base, commit(stubs), repository=stubs)


@pytest.mark.parametrize("revision", ["--output=planted", "--upload-pack=touch planted", "-p", "--all", "", "HEAD..HEAD"])
def test_a_revision_is_never_an_option(stubs: Path, taken: Path, revision: str) -> None:
    """Git would write a file for some of them."""
    for base, head in ((revision, "HEAD"), ("HEAD", revision)):
        with pytest.raises(EntryError, match="there is no commit"):
            entry_of(base, head, repository=stubs)
    with pytest.raises(EntryError, match="there is no commit"):
        take_entry("second", revision, repository=stubs, into=taken)
    assert not list(stubs.glob("*planted*"))


@pytest.mark.parametrize("name", ["../second", "--upload-pack=x", "", "."])
def test_a_name_is_never_a_path(stubs: Path, taken: Path, name: str) -> None:
    """No file is written outside the given folder."""
    with pytest.raises(EntryError, match="the folder of an entry has small letters"):
        take_entry(name, "HEAD", repository=stubs, into=taken)


def replaced(repository: Path, **form: Any) -> str:
    """The findings on a pull request that brings the entry `first` again with this form."""
    base = git(repository, "rev-parse", "HEAD")
    folder = repository / "leaderboard" / "entries" / "first"
    shutil.rmtree(folder)
    write_good_entry(folder, good_runs(around=500), **form)
    pull = check_pull_request(base, commit(repository), leaderboard=repository / "leaderboard")
    assert pull is not None
    return "\n".join(map(str, pull.checked.findings))


def test_an_entry_of_the_same_authors_is_replaced_with_a_note(repository: Path) -> None:
    """More authors, and other capitals, are no other authors."""
    found = replaced(repository, authors=["a.  NONYMOUS", "Another"])
    assert found == "note: entry.toml: replaces the entry of A. Nonymous; a maintainer asks them before the merge"


@pytest.mark.parametrize("authors", [["Someone else"], ["A. Nonymou"], ["A. Nonymous and others"]])
def test_an_entry_of_other_authors_is_not_replaced(repository: Path, authors: list[str]) -> None:
    """Their agreement is a maintainer's to find out."""
    found = replaced(repository, authors=authors)
    assert "error: entry.toml: replaces the entry of A. Nonymous, who aren't all its authors; choose another name" in found


def test_an_entry_that_can_not_be_read_is_not_replaced_silently(repository: Path) -> None:
    """Its authors aren't known."""
    (repository / "leaderboard" / "entries" / "first" / "entry.toml").write_text("broken")
    commit(repository)
    assert "error: entry.toml: replaces an entry that can't be read; let a maintainer decide" in replaced(repository)


@pytest.mark.parametrize("name", ["con", "nul", "aux", "prn", "com1", "lpt9", "Second", "second.", "x" * 42])
def test_a_name_has_the_same_verdict_at_home(stubs: Path, name: str) -> None:
    """No system may fail to check it out. `submit`, `check` and CI say so."""
    base = git(stubs, "rev-parse", "HEAD")
    folder = stub(stubs, name)
    assert "the folder's name isn't an entry's name" in [finding.problem for finding in stray_files(folder)]
    with pytest.raises(EntryError, match="an entry's name has small letters"):
        entry_folder(stubs / "leaderboard", name)
    with pytest.raises(EntryError, match="the folder of an entry has small letters"):
        entry_of(base, commit(stubs), repository=stubs)


@pytest.mark.parametrize("change", [add_link, add_folder, add_large_file, add_capitals])
def test_files_have_the_same_verdict_at_home(repository: Path, taken: Path, change: Callable[[Path], None]) -> None:
    """What CI doesn't take, the check at home refuses."""
    folder = second(repository)
    change(folder)
    assert check_entry(folder).refused
    with pytest.raises(EntryError):
        take_entry("second", commit(repository), repository=repository, into=taken)


def test_an_executable_file_has_the_same_verdict_at_home(repository: Path, taken: Path) -> None:
    """Some systems call every file executable. It is taken as a plain file."""
    folder = second(repository)
    for path in folder.iterdir():
        path.chmod(0o755)
    head = commit(repository)
    assert "100755" in git(repository, "ls-tree", "-r", head)
    copy = take_entry("second", head, repository=repository, into=taken)
    assert check_entry(folder).findings == check_entry(copy).findings == ()
    assert not any(os.access(path, os.X_OK) for path in copy.iterdir())
