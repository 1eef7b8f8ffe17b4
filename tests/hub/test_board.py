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
from tests.support.hub_server import HubServer
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


@pytest.mark.parametrize("place", ["other files", "the leaderboard"])
def test_no_file_of_other_people_is_overwritten(leaderboard: Path, tmp_path: Path, place: str) -> None:
    """The folder must be new, empty, or an export."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(EntryError, match="choose"):
        export_board(folder if place == "other files" else leaderboard, leaderboard=leaderboard)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    assert (leaderboard / "entries" / "fast").is_dir()


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
    assert {path: data for path, data in tip.files.items() if path != ".gitattributes"} == contents(tmp_path / "export")
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
    hub.datasets[REPO].change({"pages/gone.md": b"x", "notes.md": b"x", "entries/fast/tuning.jsonl": b"x"})
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    tip = hub.datasets[REPO].find("main")
    assert tip is not None
    assert "notes.md" in tip.files
    assert not {"pages/gone.md", "entries/fast/tuning.jsonl"} & set(tip.files)


def test_an_entry_that_was_merged_there_is_not_removed(
    grokbench: Command, hub: HubServer, login: Callable[[str], None], leaderboard: Path
) -> None:
    """The push is refused until the entry is here too."""
    login("hf_owner")
    assert grokbench("export", "--to", "hub", "--repo", REPO)[0] == 0
    tip = hub.datasets[REPO].change({"entries/merged/entry.toml": b"x"})
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert status == 2
    assert "owner/board has entries that are not in this leaderboard: 'merged'. Nothing was pushed" in printed
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
    assert (status, "pip install 'grokbench[hub]'" in printed) == (2, True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    status, printed = grokbench("export", "--to", "hub", "--repo", REPO)
    assert (status, "pip install 'grokbench[hub]'" in printed) == (2, True)
    assert not (tmp_path / "e").exists()


def test_a_leaderboard_elsewhere_stays_as_it_is(grokbench: Command, leaderboard: Path, tmp_path: Path) -> None:
    """An export writes to its own folder alone."""
    shutil.copytree(leaderboard, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
    assert grokbench("export", str(tmp_path / "e"), board=tmp_path / "copy")[0] == 0
    before = {path: data for path, data in contents(leaderboard).items() if path.startswith(("entries/", "README"))}
    assert contents(tmp_path / "copy") == before
