"""The pull request of an entry, pushed to a bare repository beside the checkout."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from grokbench.board.entries.proposal import open_pull_request, pull_request_commands
from grokbench.errors import EntryError
from tests.support.entries import change_text, good_runs, write_good_entry

ENTRY = Path("leaderboard/entries/mine")
FILES = [f"{ENTRY}/{name}" for name in ("entry.toml", "recipe.toml", "runs.jsonl")]
FAKE_GH = """#!/bin/sh
echo "$@" >> "$ASKED"
if [ -n "$GH_ERROR" ]; then echo "$GH_ERROR" >&2; exit 1; fi
echo https://example.org/pull/1
"""


def git(*arguments: str, folder: Path) -> str:
    """The output of git."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an entry, of the bare repository `there` beside it. It is the current folder."""
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "A")
        monkeypatch.setenv(f"{name}_EMAIL", "a@example.org")
    git("init", "--quiet", "--bare", "--initial-branch=main", "there", folder=tmp_path)
    git("init", "--quiet", "--initial-branch=main", "here", folder=tmp_path)
    folder = tmp_path / "here"
    (folder / "code.py").write_text("1")
    git("add", "code.py", folder=folder)
    git("commit", "--quiet", "--message=first", folder=folder)
    git("remote", "add", "origin", str(tmp_path / "there"), folder=folder)
    git("push", "--quiet", "origin", "main", folder=folder)
    write_good_entry(folder / ENTRY)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def gh(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the arguments of every call of a `gh` that does nothing."""
    programs = here.parent / "bin"
    programs.mkdir()
    (programs / "gh").write_text(FAKE_GH)
    (programs / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(here.parent / "asked"))
    return here.parent / "asked"


def brought(here: Path, branch: str = "entry-mine") -> list[str]:
    """What the pushed branch changes, seen from the base."""
    return git("diff", "--name-only", f"main...{branch}", folder=here.parent / "there").split()


def state_of(here: Path) -> tuple[str, ...]:
    """All that a person sees of the checkout: the branches, what is checked out, staged and changed."""
    commands = ("branch --list", "rev-parse HEAD", "status --porcelain --branch", "diff --cached", "stash list")
    return tuple(git(*command.split(), folder=here) for command in commands)


def on_a_feature_branch(here: Path) -> None:
    """A branch with a commit of its own, a staged file and a changed one."""
    git("switch", "--quiet", "--create", "feature", folder=here)
    (here / "feature.py").write_text("x")
    git("add", "feature.py", folder=here)
    git("commit", "--quiet", "--message=feature", folder=here)
    (here / "staged.py").write_text("x")
    git("add", "staged.py", folder=here)
    (here / "code.py").write_text("changed")


def detached(here: Path) -> None:
    """No branch is checked out."""
    git("checkout", "--quiet", "--detach", folder=here)


def behind(here: Path) -> None:
    """The base has a commit that the checkout doesn't know."""
    git("clone", "--quiet", "there", "elsewhere", folder=here.parent)
    (here.parent / "elsewhere" / "code.py").write_text("2")
    git("commit", "--quiet", "--all", "--message=newer", folder=here.parent / "elsewhere")
    git("push", "--quiet", folder=here.parent / "elsewhere")


def ignored(here: Path) -> None:
    """A rule of the person's own ignores the runs, and line ends are converted."""
    (here / ".git" / "info" / "exclude").write_text("*.jsonl\n")
    git("config", "core.autocrlf", "true", folder=here)


def executable(here: Path) -> None:
    """The files are executable."""
    for path in (here / ENTRY).iterdir():
        path.chmod(0o755)


@pytest.mark.parametrize("circumstance", [on_a_feature_branch, detached, behind, ignored, executable])
def test_a_pull_request_has_the_entry_alone(here: Path, gh: Path, circumstance: Callable[[Path], None]) -> None:
    """On the base's tip, whatever is checked out, and nothing in the checkout changes."""
    circumstance(here)
    before = state_of(here)
    assert open_pull_request(ENTRY, "A title") == "https://example.org/pull/1"
    assert state_of(here) == before
    assert brought(here) == FILES
    there = here.parent / "there"
    assert git("rev-parse", "entry-mine~1", folder=there) == git("rev-parse", "main", folder=there)
    listed = git("ls-tree", "-r", "entry-mine", "--", str(ENTRY), folder=there).splitlines()
    assert {line.split()[0] for line in listed} == {"100644"}
    for name in FILES:
        shown = subprocess.run(["git", "show", f"entry-mine:{name}"], cwd=there, check=True, capture_output=True).stdout
        assert shown == (here / name).read_bytes()
    assert "pr create --base=main --head=entry-mine --title=Entry: mine (A title) --body=" in gh.read_text()


def test_a_push_that_was_refused_is_taken_up_again(here: Path, gh: Path) -> None:
    """The first time nothing is left behind."""
    hook = here.parent / "there" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho permission denied >&2\nexit 1\n")
    hook.chmod(0o755)
    before = state_of(here)
    with pytest.raises(EntryError, match=r"(?s)git push --quiet failed: .*permission denied.*run the same command again"):
        open_pull_request(ENTRY, "A title")
    assert not gh.exists()
    assert state_of(here) == before
    hook.unlink()
    open_pull_request(ENTRY, "A title")
    assert brought(here) == FILES


def test_a_pull_request_that_gh_refused_is_taken_up_again(here: Path, gh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch that was pushed stays. One that is open already is as good as a new one."""
    monkeypatch.setenv("GH_ERROR", "not logged in")
    with pytest.raises(EntryError, match="is pushed, but `gh pr create` failed: not logged in; mend this"):
        open_pull_request(ENTRY, "A title")
    tip = git("rev-parse", "entry-mine", folder=here.parent / "there")
    monkeypatch.setenv("GH_ERROR", 'a pull request for branch "entry-mine" already exists')
    assert "up to date" in open_pull_request(ENTRY, "A title")
    assert git("rev-parse", "entry-mine", folder=here.parent / "there") == tip
    assert len(gh.read_text().splitlines()) == 2


def test_a_changed_entry_is_a_further_commit(here: Path, gh: Path) -> None:
    """Nothing is forced, and a file that is gone is gone there too."""
    (here / ENTRY / "agent.py").write_text("x")
    open_pull_request(ENTRY, "A title")
    first = git("rev-parse", "entry-mine", folder=here.parent / "there")
    (here / ENTRY / "agent.py").unlink()
    change_text(here / ENTRY / "entry.toml", "Made up", "Made up anew")
    behind(here)
    open_pull_request(ENTRY, "A title")
    assert git("rev-parse", "entry-mine~1", folder=here.parent / "there") == first
    assert brought(here) == FILES


def test_a_branch_with_other_changes_is_left_alone(here: Path, gh: Path) -> None:
    """Its commits would be in the pull request."""
    on_a_feature_branch(here)
    git("push", "--quiet", "origin", "feature:entry-mine", folder=here)
    with pytest.raises(EntryError, match=r"the branch entry-mine on origin brings 'feature\.py' too: delete the branch"):
        open_pull_request(ENTRY, "A title")
    assert brought(here) == ["feature.py"]


def test_the_entry_of_other_people_is_left_alone(here: Path, gh: Path) -> None:
    """They have a pull request with the same name."""
    shutil.rmtree(here / ENTRY)
    write_good_entry(here / ENTRY, good_runs(luck=1), authors=["Someone else"])
    open_pull_request(ENTRY, "Theirs")
    tip = git("rev-parse", "entry-mine", folder=here.parent / "there")
    shutil.rmtree(here / ENTRY)
    write_good_entry(here / ENTRY)
    with pytest.raises(EntryError, match=r"on origin has the entry of Someone else: .*choose another --name"):
        open_pull_request(ENTRY, "Mine")
    assert git("rev-parse", "entry-mine", folder=here.parent / "there") == tip


def test_an_entry_that_the_base_has_is_not_brought(here: Path, gh: Path) -> None:
    """After its merge there is nothing left to do."""
    open_pull_request(ENTRY, "A title")
    git("update-ref", "refs/heads/main", "refs/heads/entry-mine", folder=here.parent / "there")
    with pytest.raises(EntryError, match="the branch main of origin has this entry already"):
        open_pull_request(ENTRY, "A title")


def test_a_fork_starts_from_the_project(here: Path, gh: Path) -> None:
    """Its own branch main may have commits that nobody else has."""
    shutil.copytree(here.parent / "there", here.parent / "project")
    git("remote", "add", "upstream", str(here.parent / "project"), folder=here)
    on_a_feature_branch(here)
    git("push", "--quiet", "origin", "feature:main", folder=here)
    open_pull_request(ENTRY, "A title")
    assert git("rev-parse", "entry-mine~1", folder=here.parent / "there") == git(
        "rev-parse", "main", folder=here.parent / "project"
    )


def test_without_gh_the_branch_is_pushed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is said."""
    find = shutil.which
    monkeypatch.setattr("grokbench.board.entries.proposal.shutil.which", lambda name: None if name == "gh" else find(name))
    assert open_pull_request(ENTRY, "A title") == "the branch entry-mine is pushed to origin: open a pull request from it"
    assert brought(here) == FILES


def test_a_checkout_without_origin(here: Path) -> None:
    """The error says what to do, and so it does where there is no checkout at all."""
    git("remote", "remove", "origin", folder=here)
    with pytest.raises(EntryError, match="no remote `origin` to push to"):
        open_pull_request(ENTRY, "A title")
    shutil.rmtree(here / ".git")
    with pytest.raises(EntryError, match="failed"):
        open_pull_request(ENTRY, "A title")


def test_the_commands_by_hand_bring_the_entry_alone(here: Path) -> None:
    """From a feature branch too. A title is never an option."""
    on_a_feature_branch(here)
    git("restore", "--", "code.py", folder=here)
    *commands, create = pull_request_commands(ENTRY, "--web")
    for command in commands:
        subprocess.run(command, cwd=here, check=True, capture_output=True)
    assert brought(here) == FILES
    assert create[3] == "--title=Entry: mine (--web)"
