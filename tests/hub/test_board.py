"""The board as a folder and on the Hub: what is written, what `datasets` reads, and what is never lost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing import parquet
from grokbench.board.publishing.publish import stale_files
from grokbench.errors import EntryError
from grokbench.hub.board import export_board
from tests.hub.conftest import Command
from tests.support.entries import good_runs, write_good_entry
from tests.support.hub_server import Dataset, HubServer
from tests.support.verdicts import add_verdict

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client uploads in a way that httpx2 will drop
REPO = "owner/board"
LOAD = """
import json, sys
from datasets import load_dataset
print(json.dumps([len(load_dataset(sys.argv[1], name, split="train")) for name in ("runs", "exams", "table")]))
"""


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their paths."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_is_a_leaderboard_of_the_accepted_entries(leaderboard: Path, tmp_path: Path) -> None:
    """It is whole by the leaderboard's own check, has no link that leads out of it, and is written again in place."""
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    readme = leaderboard / "README.md"
    readme.write_text(readme.read_text() + "\nSee [the rules](../docs/rules.md) and [a page](pages/fast.md).\n")
    folder = tmp_path / "export"
    for _ in range(2):
        assert export_board(folder, leaderboard=leaderboard).refused == ("slow",)
        checked = check_entries(leaderboard=folder)
        assert [each.name for each in checked] == ["fast", "same"]
        assert stale_files(checked, folder) == []
        (folder / "pages" / "gone.md").touch()
    text = (folder / "README.md").read_text()
    assert "See the rules and [a page](pages/fast.md)." in text
    assert len(parquet.read_rows(parquet.files(folder)["table"])) == 2


def test_verdicts_come_along(leaderboard: Path, tmp_path: Path) -> None:
    """Those of the accepted entries."""
    add_verdict(leaderboard, "fast")
    export_board(tmp_path / "export", leaderboard=leaderboard)
    assert (tmp_path / "export" / "verdicts" / "fast.json").read_bytes() == (
        leaderboard / "verdicts" / "fast.json"
    ).read_bytes()


@pytest.mark.parametrize("names", [["thesis.tex"], ["README.md", "data"]])
def test_no_file_of_other_people_is_overwritten(leaderboard: Path, tmp_path: Path, names: list[str]) -> None:
    """The folder must be new, empty, or an export, even if its files are called like those of an export."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("x")
    with pytest.raises(EntryError, match="has other files"):
        export_board(folder, leaderboard=leaderboard)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_the_leaderboard_is_not_overwritten(leaderboard: Path) -> None:
    """Neither by its own name nor by that of a folder around it."""
    for folder in (leaderboard, leaderboard.parent):
        with pytest.raises(EntryError, match="holds the leaderboard itself"):
            export_board(folder, leaderboard=leaderboard)
    assert (leaderboard / "entries" / "fast").is_dir()


def test_a_reproduction_of_a_refused_entry_is_left_out_too(leaderboard: Path, tmp_path: Path) -> None:
    """So an export is always whole by itself."""
    write_good_entry(leaderboard / "entries" / "again", good_runs(luck=9), authors=["B. Else"], reproduces="slow")
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    assert export_board(tmp_path / "export", leaderboard=leaderboard).refused == ("slow", "again")
    assert [each.name for each in check_entries(leaderboard=tmp_path / "export")] == ["fast", "same"]


def test_the_command_says_where_the_board_is(grokbench: Command, tmp_path: Path) -> None:
    """Without a place it asks for one."""
    status, printed = grokbench("export", str(tmp_path / "export"))
    assert (status, printed) == (
        0,
        f'{tmp_path / "export"} is written: datasets.load_dataset("{tmp_path / "export"}", "runs")\n',
    )
    assert grokbench("export") == (2, "grokbench: say where the board goes: a folder, or --to hub with --repo\n")
    status, printed = grokbench("export", "--to", "hub")
    assert (status, printed.count("\n")) == (2, 1)


def test_a_pushed_board_is_the_exported_one(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], tmp_path: Path
) -> None:
    """File by file, Parquet through the storage for large files, with bars. A second time there is nothing to do."""
    login("hf_owner")
    enable_progress_bars()
    status, printed = grokbench("export", str(tmp_path / "export"), "--to", "hub", "--repo", REPO)
    assert status == 0, printed
    assert f"pushed: {hub.endpoint}/datasets/{REPO}/commit/" in printed
    assert "exams.parquet: 100%" in printed
    disable_progress_bars()
    dataset = hub.datasets[REPO]
    tip = dataset.find("main")
    assert tip is not None
    assert {path: data for path, data in tip.files.items() if path != ".gitattributes"} == {
        path: data for path, data in contents(tmp_path / "export").items() if path != ".exported"
    }
    assert len(hub.large) >= 3
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert (status, printed.splitlines()[-1]) == (0, f"{REPO} has all of it already")
    assert dataset.find("main") is tip


def test_what_the_board_no_longer_has_goes(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], leaderboard: Path
) -> None:
    """Pages and files of entries, but nothing that people put beside them."""
    login("hf_owner")
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    hub.datasets[REPO].change({"pages/gone.md": b"x", "notes.md": b"x"})
    shutil.rmtree(leaderboard / "entries" / "slow")
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    tip = hub.datasets[REPO].find("main")
    assert tip is not None
    assert "notes.md" in tip.files
    assert not {"pages/gone.md", "pages/slow.md", "entries/slow/runs.jsonl"} & set(tip.files)


@pytest.mark.parametrize("path", ["entries/merged/entry.toml", "entries/fast/entry.toml", "verdicts/fast.json"])
def test_what_was_merged_there_is_not_lost(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], leaderboard: Path, path: str
) -> None:
    """A new entry, an update, or a verdict: the push is refused until the same is here too."""
    login("hf_owner")
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    tip = hub.datasets[REPO].change({path: b"[]"})
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert status == 2
    name = path.split("/")[1].removesuffix(".json")
    assert f"came after the last push and are not in this board: '{name}'. Nothing was pushed" in printed
    assert hub.datasets[REPO].find("main") is tip


def test_another_dataset_is_left_alone(grokbench: Command, hub: HubServer, login: Callable[[str], None]) -> None:
    """A push removes what no board has, so the repository must be one, or empty."""
    login("hf_owner")
    hub.datasets[REPO] = Dataset()
    tip = hub.datasets[REPO].change({"README.md": b"# Mine", "data/train.parquet": b"PAR1"})
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert (status, "owner/board isn't a board, and a push would remove its files" in printed) == (2, True)
    assert hub.datasets[REPO].find("main") is tip


def test_datasets_reads_it_from_the_hub(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], tmp_path: Path
) -> None:
    """Every configuration by its name, in a process with an empty cache and no login."""
    login("hf_owner")
    assert grokbench("export", str(tmp_path / "export"), "--to", "hub", "--repo", REPO)[0] == 0
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", LOAD, REPO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = parquet.files(tmp_path / "export")
    assert json.loads(done.stdout) == [len(parquet.read_rows(files[name])) for name in ("runs", "exams", "table")]


def test_somebody_pushes_at_the_same_time(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], leaderboard: Path, tmp_path: Path
) -> None:
    """The commit is refused, and the same command takes it up again, with the new commit below it."""
    login("hf_owner")
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    write_good_entry(leaderboard / "entries" / "new", good_runs(luck=7))
    dataset = hub.datasets[REPO]
    hub.fail(f"POST /api/datasets/{REPO}/commit/main", -1, before=lambda: dataset.change({"notes.md": b"x"}))
    status, printed = grokbench("export", str(tmp_path / "e"), "--to", "hub", "--repo", REPO)
    assert status == 2
    assert "owner/board has changed meanwhile" in printed
    assert f"the board is kept in {tmp_path / 'e'}: run the same command again" in printed
    assert grokbench("export", str(tmp_path / "e"), "--to", "hub", "--repo", REPO)[0] == 0
    tip = dataset.find("main")
    assert tip is not None
    assert {"notes.md", "entries/new/runs.jsonl"} <= set(tip.files)


def test_without_the_extra_the_command_names_it(grokbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For a folder and for the Hub."""
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    status, printed = grokbench("export", str(tmp_path / "e"))
    assert (status, "pip install -e '.[hub]'" in printed) == (2, True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert (status, "pip install -e '.[hub]'" in printed) == (2, True)
    assert not (tmp_path / "e").exists()


def test_a_leaderboard_elsewhere_stays_as_it_is(grokbench: Command, leaderboard: Path, tmp_path: Path) -> None:
    """An export writes to its own folder alone."""
    shutil.copytree(leaderboard, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
    assert grokbench("export", str(tmp_path / "e"), board=tmp_path / "copy")[0] == 0
    before = {path: data for path, data in contents(leaderboard).items() if path.startswith(("entries/", "README"))}
    assert contents(tmp_path / "copy") == before
