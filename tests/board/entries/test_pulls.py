"""Pull requests in a fixture repository: what may be touched, what is taken, and what is said."""

import os
import subprocess
from pathlib import Path

import pytest

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.pulls import entry_of, take_entry
from grokbench.board.publishing.comment import comment
from tests.support.entries import good_runs, write


def git(folder: Path, *arguments: str) -> str:
    """Run git in the fixture repository."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    """Commit everything; the commit's hash."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one entry."""
    git(tmp_path, "init", "--quiet")
    write(tmp_path / "leaderboard" / "entries" / "first")
    (tmp_path / "code.py").write_text("1")
    commit(tmp_path)
    return tmp_path


def test_a_good_pull_request(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One new entry: its files come out as they are, and stand; the comment compares it with the others."""
    base = git(repository, "rev-parse", "HEAD")
    folder = write(repository / "leaderboard" / "entries" / "second", good_runs(around=500), title="<b>2nd</b> @all")
    head = commit(repository)
    assert entry_of(base, head, repository) == "second"
    assert entry_of(base, base, repository) is None
    taken = take_entry("second", head, repository, tmp_path_factory.mktemp("taken"))
    for path in folder.iterdir():
        assert (taken / path.name).read_bytes() == path.read_bytes()
    first = check_entry(repository / "leaderboard" / "entries" / "first")
    text = comment(check_entry(taken), [first])
    assert "faster than `first`" in text
    assert "**Score ×" in text
    text = comment(check_entry(write(repository / "leaderboard" / "entries" / "third", good_runs(luck=1))), [first])
    assert "not distinguishable from `first`" in text


def test_the_comment_on_a_bad_entry(repository: Path) -> None:
    """All findings, as text that is nothing but text."""
    folder = write(repository / "leaderboard" / "entries" / "bad")
    (folder / "<img src=x>.png").write_bytes(b"x")
    lines = (folder / "runs.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "runs.jsonl").write_bytes(b"".join(lines[2:]))
    text = comment(check_entry(folder), [])
    assert "3 findings, 20 runs are sound" in text
    assert "<img" not in text
    assert "doesn&#39;t belong to an entry" in text


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
    write(repository / "leaderboard" / "entries" / "second")
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("changed")
    with pytest.raises(ValueError, match=message):
        entry_of(base, commit(repository), repository)


def test_nothing_but_folders_stands_among_the_entries(repository: Path) -> None:
    """A link or file with an entry's name isn't passed over as no entry."""
    base = git(repository, "rev-parse", "HEAD")
    os.symlink("/etc", repository / "leaderboard" / "entries" / "second")
    with pytest.raises(ValueError, match="touches 'leaderboard/entries/second' too"):
        entry_of(base, commit(repository), repository)


def test_a_renamed_file_counts_on_both_sides(repository: Path) -> None:
    """Moving a file out of elsewhere into the entry touches elsewhere."""
    base = git(repository, "rev-parse", "HEAD")
    write(repository / "leaderboard" / "entries" / "second")
    (repository / "code.py").rename(repository / "leaderboard" / "entries" / "second" / "agent.py")
    with pytest.raises(ValueError, match=r"touches 'code\.py' too"):
        entry_of(base, commit(repository), repository)


def test_only_plain_files_are_taken(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No link, no program, no folder, nothing huge, nothing that climbs out; nothing is written then."""
    folder = write(repository / "leaderboard" / "entries" / "second")
    into = tmp_path_factory.mktemp("taken")

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            take_entry("second", commit(repository), repository, into)
        assert list(into.iterdir()) == []

    os.symlink("/etc/passwd", folder / "agent.py")
    refused("'agent.py' .mode 120000. doesn't belong")
    (folder / "agent.py").unlink()
    (folder / "agent.py").write_text("x")
    (folder / "agent.py").chmod(0o755)
    refused("mode 100755")
    (folder / "agent.py").unlink()
    (folder / "deep").mkdir()
    (folder / "deep" / "runs.jsonl").write_text("x")
    refused("'deep/runs.jsonl'")
    (folder / "deep" / "runs.jsonl").unlink()
    (folder / "entry.toml").write_text("#" * 20_000)
    refused("entry.toml has 20,000 bytes")
    with pytest.raises(ValueError, match="has no entry 'gone'"):
        take_entry("gone", "HEAD", repository, into)
