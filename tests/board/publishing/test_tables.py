"""Packing, the table, and text that must stay text."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from grokbench.board.entries.checks import check_all, check_entry
from grokbench.board.entries.form import Form
from grokbench.board.entries.submit import open_pull_request, pull_request, runs_to_submit
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.standings import standings
from grokbench.board.publishing.tables import board, drift, with_board, write_board
from grokbench.cli import main
from grokbench.results import scoring
from grokbench.results.markdown import inert
from grokbench.runs.records import RunRecord
from tests.support.entries import good_runs, write

LEADERBOARD = Path(__file__).resolve().parents[3] / "leaderboard"


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """A leaderboard of three entries, one of them twice as fast."""
    write(tmp_path / "entries" / "slow")
    write(tmp_path / "entries" / "same", good_runs(luck=1))
    write(tmp_path / "entries" / "fast", good_runs(around=500), title="Fast <img src=x> [a](http://b) @all #1")
    (tmp_path / "README.md").write_text("# Board\n\n<!-- board -->\n<!-- /board -->\n\nThe end.\n", encoding="utf-8")
    return tmp_path


def test_the_board_is_what_the_entries_amount_to(leaderboard: Path) -> None:
    """Twice as fast is first; two that can't be told apart share the second rank; the text around the table stays."""
    checked = check_all(leaderboard / "entries")
    assert drift(checked, leaderboard)
    write_board(checked, leaderboard)
    assert drift(checked, leaderboard) == []
    text = (leaderboard / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Board")
    assert text.endswith("The end.\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "pages/" in line]
    assert [row[0] for row in rows] == ["1", "2", "2"]
    assert "pages/fast.md" in rows[0][1]
    assert rows[0][5] == "20/20"
    (fast,) = [one for one in standings(checked) if one.entry.name == "fast"]
    assert rows[0][3] == f"×{fast.score:.2f}"
    low, high = fast.interval
    assert low < fast.score < high
    assert (leaderboard / "pages" / "fast.png").stat().st_size > 10_000
    text = text.replace("×", "x", 1)
    (leaderboard / "README.md").write_text(text, encoding="utf-8")
    assert drift(checked, leaderboard) == [leaderboard / "README.md"]


def test_a_refused_entry_is_left_out(leaderboard: Path) -> None:
    """It isn't in the table, and the others are."""
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    assert "pages/slow.md" not in board(check_all(leaderboard / "entries"))
    assert "pages/same.md" in board(check_all(leaderboard / "entries"))


def test_the_marks_must_be_there() -> None:
    """A README without them is refused, not overwritten."""
    with pytest.raises(ValueError, match="needs the lines"):
        with_board("# no marks", [])


@given(text=st.text(max_size=50))
def test_text_is_inert(text: str) -> None:
    """Nothing that HTML or Markdown would read as more than text is left, and no line or cell ends in it."""
    assert not set(inert(text)) & set("<>[]()`*_|\\\"'@:!~{}\n\r\t.")


def test_the_page_shows_hostile_text_as_text(leaderboard: Path) -> None:
    """A title full of tags and links."""
    checked = check_entry(leaderboard / "entries" / "fast")
    (one,) = standings([checked])
    assert "<img" not in page(one, [one])
    assert "](http://b)" not in page(one, [one])
    assert "Fast &#60;img src&#61;x&#62;" in page(one, [one])


def test_submitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From a folder of records to an entry that stands, and the commands that bring it."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for i, run in enumerate(good_runs()):
        (runs / f"{i}.json").write_text(json.dumps(run.model_dump(by_alias=True)), encoding="utf-8")
    arguments = [
        "grokbench",
        "submit",
        str(runs),
        "--name",
        "mine",
        "--title",
        "Mine",
        "--authors",
        "me",
        "--link",
        "https://x.org",
    ]
    arguments += ["--description", "d", "--settings-tried", "2", "--suite", "mini", "--leaderboard", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 0
    printed = capsys.readouterr().out
    assert "gh pr create" in printed
    assert "mine: stands, 22 sound runs, score ×" in printed
    assert not check_entry(tmp_path / "entries" / "mine").refused
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    assert "is there already" in capsys.readouterr().err


def test_what_cannot_be_submitted() -> None:
    """Missing runs are named; several agents must be chosen from."""
    runs = good_runs()
    with pytest.raises(ValueError, match=r"missing or unfinished: add_mod47-0.7-v1 seed 0\."):
        runs_to_submit(runs[1:], "mini", None)
    with pytest.raises(ValueError, match=r"runs of mlp, transformer: choose one"):
        runs_to_submit([*runs, *good_runs("mlp")], "mini", None)
    with pytest.raises(ValueError, match=r"no finished runs of 'MLP' on 'mini' here, but of mlp"):
        runs_to_submit(good_runs("mlp"), "mini", "MLP")
    assert len(runs_to_submit([*runs, *good_runs("mlp")], "mini", "mlp")) == 22
    older = [run.model_copy(update={"agent": run.agent.model_copy(update={"hash": "0" * 64})}) for run in runs]
    with pytest.raises(ValueError, match="different recipes of the same name"):
        runs_to_submit([*older, *runs], "mini", None)
    assert pull_request(Path("leaderboard/entries/x"), "t")[0] == ["git", "switch", "--create", "entry-x"]


def test_an_own_agent_is_packed_with_its_code(tmp_path: Path) -> None:
    """`agent.py` is the file that made the runs, and must still be it."""
    from grokbench.agents.recipes import find_recipe

    target = "tests.support.agents:AddingAgent"
    own = find_recipe(target)
    stated = {"name": own.name, "target": own.target, "hyperparameters": {}, "source": own.source, "hash": own.hash}
    runs = [run.model_copy(update={"agent": run.agent.model_copy(update=stated)}) for run in good_runs()]
    with pytest.raises(ValueError, match="--division open"):
        write(tmp_path / "own", runs, division="closed")
    folder = write(tmp_path / "own", runs, division="open")
    checked = check_entry(folder)
    assert not checked.refused
    assert checked.entry is not None
    assert checked.entry.target == "agent:AddingAgent"
    (folder / "agent.py").write_text("# another", encoding="utf-8")
    assert "made by another recipe or code" in str([str(f) for f in check_entry(folder).findings])
    changed = [run.model_copy(update={"agent": run.agent.model_copy(update={"source": "0" * 64})}) for run in runs]
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="has changed since"):
        write(tmp_path / "own", changed, division="open")


@pytest.mark.parametrize(("name", "model"), [("entry", Form), ("run", RunRecord)])
def test_the_committed_schemas_are_the_codes(name: str, model: type[BaseModel]) -> None:
    """`leaderboard/schemas/entry.schema.json` is what the code checks of a form, `run.schema.json` of a run's line."""
    committed = json.loads((LEADERBOARD / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert committed == model.model_json_schema()


def test_a_pull_request_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch with the entry alone, whatever else is staged, pushed; then `gh` is asked. Without `gh` nothing happens."""

    def git(*arguments: str, folder: Path = tmp_path / "here") -> str:
        return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    (tmp_path / "here").mkdir()
    git("init", "--quiet", "--bare", "there", folder=tmp_path)
    git("init", "--quiet")
    for name, value in (("user.name", "A"), ("user.email", "a@example.org")):
        git("config", name, value)
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    git("remote", "add", "origin", str(tmp_path / "there"))
    folder = Path("leaderboard/entries/mine")
    write(tmp_path / "here" / folder)
    (tmp_path / "here" / "other").touch()
    git("add", "other")
    monkeypatch.chdir(tmp_path / "here")
    commands = pull_request(folder, "A title")
    find = shutil.which
    monkeypatch.setattr("grokbench.board.entries.submit.shutil.which", lambda name: None if name == "gh" else find(name))
    assert not open_pull_request(commands)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    (tmp_path / "bin" / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert open_pull_request(commands)
    pushed = git("diff", "--name-only", "entry-mine~1", "entry-mine", folder=tmp_path / "there").split()
    assert pushed == [f"{folder}/{name}" for name in ("entry.toml", "recipe.toml", "runs.jsonl")]
    assert (tmp_path / "asked").read_text().splitlines()[:4] == ["pr", "create", "--title", "Entry: mine (A title)"]


def test_the_committed_leaderboard_stands() -> None:
    """Every entry passes, and the table says what they amount to."""
    checked = check_all(LEADERBOARD / "entries")
    assert [str(f) for one in checked for f in one.findings if f.refused] == []
    assert drift(checked, LEADERBOARD) == []
    assert "transformer" in scoring.reference().agents
