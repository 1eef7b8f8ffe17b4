"""The leaderboard's commands as a person meets them: what they print, and their exit status."""

import html
import json
import re
import sys
from pathlib import Path

import pytest

from grokbench.cli import main
from grokbench.errors import EntryError
from tests.support.entries import change_runs, good_runs, write_good_entry


class Command:
    """Runs `grokbench` in this process, on one leaderboard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], leaderboard: Path) -> None:
        self.monkeypatch, self.capsys, self.leaderboard = monkeypatch, capsys, leaderboard

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit status, and everything printed to standard output and standard error."""
        self.monkeypatch.setattr(sys, "argv", ["grokbench", *arguments, "--leaderboard", str(self.leaderboard)])
        with pytest.raises(SystemExit) as status:
            main()
        printed = self.capsys.readouterr()
        assert isinstance(status.value.code, int)
        return status.value.code, printed.out + printed.err


@pytest.fixture
def grokbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], leaderboard: Path) -> Command:
    """The command, on a leaderboard of three entries."""
    return Command(monkeypatch, capsys, leaderboard)


def test_submit_packs_an_entry_and_shows_the_next_commands(grokbench: Command, tmp_path: Path) -> None:
    """A second time it does the same, and with another form it is an error of one line."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for number, run in enumerate(good_runs(luck=5)):
        (runs / f"{number}.json").write_text(json.dumps(run.model_dump(by_alias=True)), encoding="utf-8")
    form = "--name mine --title Mine --authors me --link https://x.org --description d --settings-tried 2 --suite mini"
    status, printed = grokbench("submit", str(runs), *form.split())
    assert status == 0
    assert "mine: accepted, 32 sound runs, score ×" in printed
    assert "gh pr create" in printed
    assert (grokbench.leaderboard / "entries" / "mine" / "runs.jsonl").is_file()
    assert grokbench("submit", str(runs), *form.split())[0] == 0
    status, printed = grokbench("submit", str(runs), *form.replace("Mine", "Other").split())
    assert status == 2
    assert "is there already" in printed


def test_check_prints_every_finding(grokbench: Command) -> None:
    """A refused entry gives status 1, an accepted one status 0."""
    assert grokbench("check", "slow")[0] == 0
    change_runs(grokbench.leaderboard / "entries" / "slow", lambda runs: [runs.pop(), runs.pop(0)])
    status, printed = grokbench("check", "slow", "fast")
    assert status == 1
    assert len(re.findall("is missing or can't be read", printed)) == 2
    assert "fast: accepted" in printed


def test_check_of_a_name_that_does_not_exist(grokbench: Command) -> None:
    """It isn't a refused entry."""
    status, printed = grokbench("check", "slwo")
    assert status == 2
    assert "there is no entry 'slwo'" in printed
    assert "did you mean 'slow'?" in printed
    assert "refused" not in printed


def test_board_writes_what_check_wants(grokbench: Command) -> None:
    """Without names, `check` also names the generated files that are out of date."""
    status, printed = grokbench("check")
    assert status == 1
    assert str(grokbench.leaderboard / "README.md") in printed
    assert grokbench("board")[0] == 0
    assert grokbench("check")[0] == 0


def test_board_names_the_entries_that_it_leaves_out(grokbench: Command) -> None:
    """And gives status 1."""
    (write_good_entry(grokbench.leaderboard / "entries" / "cut") / "runs.jsonl").write_bytes(b"")
    status, printed = grokbench("board")
    assert status == 1
    assert "left out: cut" in printed


def test_verify_of_a_name_that_does_not_exist(grokbench: Command) -> None:
    """One line, before anything runs."""
    status, printed = grokbench("verify", "fats", "--salt", "s")
    assert status == 2
    assert "did you mean 'fast'?" in printed


@pytest.mark.parametrize("problem", ["no such commit", "", "touches 'x' too"])
def test_pull_always_writes_the_comment(
    grokbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """An earlier comment that calls the entry consistent would stay otherwise."""

    def check(*_: object, **__: object) -> None:
        if problem:
            raise EntryError(problem)

    monkeypatch.setattr("grokbench.board.entries.git_pulls.check_pull_request", check)
    out = tmp_path / "comment.md"
    status, printed = grokbench("pull", "--base", "a", "--head", "b", "--out", str(out))
    assert status == (2 if problem else 0)
    text = html.unescape(out.read_text(encoding="utf-8"))
    assert "### No entry was checked" in text
    assert (problem or "brings no entry") in text
    assert (problem or "brings no entry") in printed
