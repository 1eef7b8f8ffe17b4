"""Entries by pull request on the Hub: from `submit` to a checked entry, and every failure on the way."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from grokbench.board.entries.checks import check_entry
from tests.hub.conftest import Command
from tests.support.entries import change_runs, good_runs, write_good_entry
from tests.support.hub_server import Dataset, HubServer
from tests.support.records import write_records

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client uploads in a way that httpx2 will drop
REPO = "owner/board"
TOKEN = "hf_ada"
FORM = ["--title", "Mine", "--link", "https://a.org", "--description", "Better", "--settings-tried", "3", "--suite", "mini"]
AGAIN = "run the same command again"


@pytest.fixture
def board(hub: HubServer) -> Dataset:
    """The repository of the board, without entries."""
    hub.datasets[REPO] = Dataset()
    hub.datasets[REPO].change({"README.md": b"---\n---\n", "data/runs.parquet": b"PAR1"})
    return hub.datasets[REPO]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of finished runs."""
    write_records(tmp_path / "runs", good_runs(around=700))
    return tmp_path / "runs"


@pytest.fixture
def submit(grokbench: Command, runs: Path) -> Command:
    """`grokbench submit` to the Hub."""

    def submit(*more: str, name: str = "mine", authors: Sequence[str] = ("A. Person",), **options: Any) -> tuple[int, str]:
        hub = ("--to", "hub", "--repo", REPO)
        return grokbench("submit", str(runs), "--name", name, "--authors", *authors, *FORM, *hub, *more, **options)

    return submit


def pull(grokbench: Command, *more: str, number: int = 1) -> tuple[int, str]:
    """`grokbench pull` from the Hub."""
    return grokbench("pull", "--from", "hub", "--repo", REPO, "--pr", str(number), *more)


def test_from_submit_to_a_checked_entry(
    submit: Command, grokbench: Command, board: Dataset, hub: HubServer, login: Callable[[str], None], tmp_path: Path
) -> None:
    """Nothing else by hand: one command opens the pull request, one checks it, and the files are the same to the byte."""
    login(TOKEN)
    status, printed = submit()
    assert status == 0, printed
    assert printed.endswith(f"a pull request is opened: {hub.endpoint}/datasets/{REPO}/discussions/1\n")
    assert [(each["title"], each["author"]) for each in board.pulls] == [("Entry: mine (Mine)", "ada")]
    head = board.find("refs/pr/1")
    assert head is not None
    assert head.description == "Packed with `grokbench submit`."
    status, printed = pull(grokbench, "--take", str(tmp_path / "taken"), "--out", str(tmp_path / "comment.md"))
    assert (status, printed) == (0, "")
    assert "mine" in (tmp_path / "comment.md").read_text()
    taken = check_entry(tmp_path / "taken" / "mine")
    assert taken.findings == ()
    for path in (tmp_path / "taken" / "mine").iterdir():
        assert path.read_bytes() == head.files[f"entries/mine/{path.name}"]
    assert {path for path in head.files if path.startswith("entries/")} == {
        f"entries/mine/{name}" for name in ("entry.toml", "recipe.toml", "runs.jsonl")
    }


def test_it_needs_no_checkout(submit: Command, board: Dataset, login: Callable[[str], None], tmp_path: Path) -> None:
    """The entry is packed into a new folder."""
    login(TOKEN)
    status, printed = submit(board=tmp_path / "new" / "leaderboard")
    assert status == 0, printed
    assert (tmp_path / "new" / "leaderboard" / "entries" / "mine" / "runs.jsonl").exists()


def test_the_same_command_again_changes_nothing(submit: Command, board: Dataset, login: Callable[[str], None]) -> None:
    """It finds its own pull request."""
    login(TOKEN)
    assert submit()[0] == 0
    status, printed = submit()
    assert (status, printed.splitlines()[-1]) == (0, f"pull request 1 of {REPO} has this entry already")
    assert len(board.pulls) == 1


def test_a_mended_entry_goes_to_the_same_pull_request(
    submit: Command, board: Dataset, login: Callable[[str], None], leaderboard: Path
) -> None:
    """As a further commit, and files that are gone go there too."""
    login(TOKEN)
    assert submit()[0] == 0
    board.change({"entries/mine/agent.py": b"x"}, ref="refs/pr/1")
    shutil.rmtree(leaderboard / "entries" / "mine")
    status, printed = submit("--license", "BSD-3-Clause")
    assert (status, printed.splitlines()[-1]) == (0, f"pull request 1 of {REPO} is brought up to date")
    head = board.find("refs/pr/1")
    assert head is not None
    assert b"BSD-3-Clause" in head.files["entries/mine/entry.toml"]
    assert "entries/mine/agent.py" not in head.files
    assert len(board.pulls) == 1


def test_a_pull_request_of_other_people_is_left_alone(
    submit: Command, board: Dataset, hub: HubServer, login: Callable[[str], None]
) -> None:
    """One of the same name by another user is no reason not to open one's own."""
    login("hf_eve")
    assert submit()[0] == 0
    login(TOKEN)
    assert submit()[0] == 0
    assert [each["author"] for each in board.pulls] == ["eve", "ada"]


def test_an_update_says_what_it_replaces(
    submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None], leaderboard: Path
) -> None:
    """The pull request and its check say whose entry it is; without a change there is nothing to bring."""
    login(TOKEN)
    assert submit()[0] == 0
    merged = board.find("refs/pr/1")
    assert merged is not None
    board.change(merged.files)
    board.pulls[0]["status"] = "merged"
    status, printed = submit()
    assert (status, "has this entry already: there is nothing to bring" in printed) == (2, True)
    shutil.rmtree(leaderboard / "entries" / "mine")
    assert submit("--license", "BSD-3-Clause")[0] == 0
    head = board.find("refs/pr/2")
    assert head is not None
    assert head.description == "Packed with `grokbench submit`. It replaces the entry of A. Person."
    status, printed = pull(grokbench, number=2)
    assert (status, "replaces the entry of" in printed) == (0, True)


def test_an_entry_of_other_people_is_not_replaced(
    submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None], leaderboard: Path
) -> None:
    """Neither by `submit`, nor by a pull request that was made otherwise."""
    login(TOKEN)
    assert submit()[0] == 0
    first = board.find("refs/pr/1")
    assert first is not None
    board.change(first.files)
    shutil.rmtree(leaderboard / "entries" / "mine")
    board.pulls.clear()
    status, printed = submit(authors=["E. Vil"])
    assert (status, "has an entry 'mine' of A. Person: choose another --name" in printed) == (2, True)
    assert board.pulls == []
    tip = board.find("main")
    assert tip is not None
    form = first.files["entries/mine/entry.toml"].replace(b"A. Person", b"E. Vil")
    board.add("refs/pr/1", {**tip.files, "entries/mine/entry.toml": form}, parent=tip.oid)
    shutil.rmtree(leaderboard / "entries" / "mine")
    status, printed = pull(grokbench)
    assert status == 1
    assert "who aren" in printed


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": b"x"}, "touches 'README.md' too"),
        ({"entries/other/entry.toml": b""}, "nothing else"),
        ({"entries/mine/evil.sh": b"x"}, "'evil.sh' (mode 100644) doesn't belong to an entry"),
        ({"entries/mine/entry.toml": b"x" * 20_000}, "entry.toml has 20,000 bytes, more than 16,384"),
        ({"entries/Mine/entry.toml": b""}, "nothing else"),
    ],
)
def test_what_no_entry_brings_is_refused(
    submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None], files: Any, message: str, tmp_path: Path
) -> None:
    """By the same rules as in git, and nothing is written."""
    login(TOKEN)
    assert submit()[0] == 0
    board.change(files, ref="refs/pr/1")
    status, printed = pull(grokbench, "--take", str(tmp_path / "taken"))
    assert (status, message in printed) == (2, True), printed
    assert not (tmp_path / "taken").exists()


def test_a_base_that_moved_on(submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None]) -> None:
    """What the main branch got meanwhile isn't the pull request's."""
    login(TOKEN)
    assert submit()[0] == 0
    board.change({"README.md": b"newer", "entries/other/entry.toml": b""})
    status, printed = pull(grokbench)
    assert status == 0, printed


def test_a_base_that_changed_the_same_entry(
    submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None]
) -> None:
    """A merge would mix the files of two entries, which nobody has checked."""
    login(TOKEN)
    assert submit()[0] == 0
    board.change({"entries/mine/tuning.jsonl": b""})
    status, printed = pull(grokbench)
    assert (status, "the main branch of owner/board has changed 'mine' since" in printed) == (2, True), printed


def test_a_merge_with_forged_dates(submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None]) -> None:
    """Its history names an old commit first, so that what it reverts would look untouched. The main branch's order counts."""
    old = board.find("main")
    assert old is not None
    board.change({"entries/other/entry.toml": b"", "README.md": b"newer"})
    login(TOKEN)
    assert submit()[0] == 0
    head = board.find("refs/pr/1")
    assert head is not None
    mine = {path: data for path, data in head.files.items() if path.startswith("entries/mine/")}
    merge = board.add("refs/pr/1", {**old.files, **mine}, parent=old.oid)
    merge.also.append(board.refs["main"])
    status, printed = pull(grokbench)
    assert (status, "touches 'README.md' too" in printed) == (2, True), printed


def test_an_entry_of_this_checkout_is_replaced_too(
    submit: Command, grokbench: Command, board: Dataset, login: Callable[[str], None], leaderboard: Path
) -> None:
    """One that was merged in git alone."""
    login(TOKEN)
    assert submit(authors=["E. Vil"])[0] == 0
    shutil.rmtree(leaderboard / "entries" / "mine")
    write_good_entry(leaderboard / "entries" / "mine", good_runs(luck=3))
    status, printed = pull(grokbench)
    assert (status, "who aren" in printed) == (1, True), printed


def test_a_check_that_broke_off_is_repeated(
    submit: Command, grokbench: Command, board: Dataset, hub: HubServer, login: Callable[[str], None], tmp_path: Path
) -> None:
    """Files are taken last, and the same files are there already the second time. Others are never overwritten."""
    login(TOKEN)
    assert submit()[0] == 0
    hub.fail(r"GET /datasets/owner/board/resolve/.*/runs\.jsonl", 0, times=1)
    taken = ("--take", str(tmp_path / "taken"))
    status, printed = pull(grokbench, *taken)
    assert (status, "the connection to the Hub failed" in printed) == (2, True), printed
    assert not (tmp_path / "taken").exists()
    assert pull(grokbench, *taken)[0] == 0
    assert pull(grokbench, *taken)[0] == 0
    (tmp_path / "taken" / "mine" / "entry.toml").write_text("edited")
    status, printed = pull(grokbench, *taken)
    assert (status, "is there already, with other contents" in printed) == (2, True), printed


def test_a_file_that_is_longer_than_the_hub_says(
    submit: Command, grokbench: Command, board: Dataset, hub: HubServer, login: Callable[[str], None]
) -> None:
    """Reading stops at the limit."""
    login(TOKEN)
    assert submit()[0] == 0
    hub.fail(r"GET /datasets/owner/board/resolve/.*/entry\.toml", 200, body="x" * 20_000)
    status, printed = pull(grokbench)
    assert (status, "entry.toml has more than 16,384 bytes" in printed) == (2, True), printed


def test_a_pull_request_without_an_entry(grokbench: Command, board: Dataset) -> None:
    """There is nothing to check, and no login is needed."""
    tip = board.find("main")
    assert tip is not None
    board.add("refs/pr/1", {**tip.files, "README.md": b"better"}, parent=tip.oid)
    assert pull(grokbench) == (0, "the pull request brings no entry\n")


def test_an_unrelated_history(grokbench: Command, board: Dataset) -> None:
    """A pull request without a common commit is refused."""
    board.add("refs/pr/1", {"entries/mine/entry.toml": b""}, parent=None)
    status, printed = pull(grokbench)
    assert (status, "has no commit in common with the main branch" in printed) == (2, True)


def test_an_entry_that_the_checks_refuse_is_not_submitted(
    submit: Command, board: Dataset, login: Callable[[str], None], leaderboard: Path
) -> None:
    """Before anything is asked of the Hub."""
    login(TOKEN)
    assert submit()[0] == 0
    folder = leaderboard / "entries" / "mine"

    def lie(runs: list[dict[str, Any]]) -> None:
        runs[0]["outcome"]["steps_to_generalize"] = 5

    change_runs(folder, lie)
    assert check_entry(folder).refused


FAILURES = {
    "no login": (None, None, 0, "there is no login to the Hub", "`hf auth login`"),
    "a bad login": ("hf_stale", None, 0, "the Hub doesn't accept your login", "`hf auth login`"),
    "not allowed": (
        TOKEN,
        "POST .*/commit/",
        403,
        "doesn't allow this to your login (No ... here",
        "a token that may write",
    ),
    "a conflict": (TOKEN, "POST .*/commit/", 409, "owner/board has changed meanwhile", AGAIN),
    "a limit": (
        TOKEN,
        "POST .*/commit/",
        429,
        "the Hub's rate limit is reached",
        f"wait 7 seconds and {AGAIN}",
    ),
    "a broken connection": (TOKEN, "POST .*/commit/", 0, "the connection to the Hub failed", AGAIN),
    "a broken upload": (TOKEN, "PUT /large/", 0, "the connection to the Hub failed", AGAIN),
    "a failure there": (TOKEN, "POST .*/commit/", 503, "the Hub has a failure of its own (503)", "wait and run"),
    "too large": (TOKEN, "POST .*/commit/", 413, "the Hub refuses this (413", f"mend it and {AGAIN}"),
    "nonsense": (TOKEN, "GET .*/commits/", 200, "the client of the Hub failed: JSONDecodeError", AGAIN),
}


@pytest.mark.parametrize(("token", "request_", "status", "problem", "remedy"), FAILURES.values(), ids=FAILURES)
def test_failures(
    submit: Command,
    board: Dataset,
    hub: HubServer,
    login: Callable[[str], None],
    leaderboard: Path,
    token: str | None,
    request_: str | None,
    status: int,
    problem: str,
    remedy: str,
) -> None:
    """One line says what is kept and what to do. No token is in it, even if the Hub repeats it; the same command goes on."""
    if token:
        login(token)
    if request_:
        headers = {"Retry-After": "7", "X-Error-Message": f"No {token} here"}
        hub.fail(request_, status, headers=headers, body="<html>", times=20)
    code, printed = submit()
    error = printed.splitlines()[-1]
    assert code == 2
    assert problem in error
    assert f"; the entry is packed in {leaderboard / 'entries' / 'mine'}: " in error
    assert remedy in error
    assert str(token) not in printed
    assert board.pulls == []
    hub.faults.clear()
    login(TOKEN)
    assert submit()[0] == 0
    assert len(board.pulls) == 1


def test_a_repository_that_is_missing(submit: Command, hub: HubServer, login: Callable[[str], None]) -> None:
    """The message says how one is made."""
    login(TOKEN)
    code, printed = submit()
    assert code == 2
    assert f"there is no dataset {REPO} on the Hub that your login may see" in printed
    assert f"`grokbench export --to hub --repo {REPO}`" in printed


def test_a_pull_request_that_is_missing(grokbench: Command, board: Dataset) -> None:
    """With its number."""
    status, printed = pull(grokbench, number=5)
    assert status == 2
    assert "owner/board doesn't have this on the Hub" in printed
    assert "nothing is written: check --repo, and the number of the pull request" in printed


def test_offline_is_respected(
    submit: Command, board: Dataset, hub: HubServer, login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request is made."""
    login(TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    code, printed = submit()
    assert (code, "HF_HUB_OFFLINE is set" in printed) == (2, True), printed
    assert hub.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "hub"), "belong together"),
        (("--repo", REPO), "belong together"),
        (("--to", "hub", "--repo", "board"), "--repo takes OWNER/NAME"),
        (("--to", "hub", "--repo", "a/b/c"), "--repo takes OWNER/NAME"),
        (("--to", "hub", "--repo", REPO, "--open-pr"), "choose one of them"),
    ],
)
def test_options_that_make_no_sense(grokbench: Command, runs: Path, options: Sequence[str], message: str) -> None:
    """One line, before anything is packed."""
    code, printed = grokbench("submit", str(runs), "--name", "mine", "--authors", "A", *FORM, *options)
    assert (code, message in printed, printed.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(
    "options", [(), ("--base", "a"), ("--from", "hub", "--repo", REPO), ("--base", "a", "--head", "b", "--pr", "1")]
)
def test_a_pull_request_must_be_named(grokbench: Command, options: Sequence[str]) -> None:
    """In git or on the Hub, but not in both."""
    code, printed = grokbench("pull", *options)
    assert (code, "name a pull request" in printed) == (2, True)


def test_without_the_extra(submit: Command, monkeypatch: pytest.MonkeyPatch, leaderboard: Path) -> None:
    """The command names it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, printed = submit()
    assert (code, "pip install -e '.[hub]'" in printed) == (2, True)
