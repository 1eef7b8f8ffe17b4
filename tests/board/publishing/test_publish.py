"""Publishing: which files are written, and which of them are found stale."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing import parquet
from grokbench.board.publishing.publish import publish, stale_files, write_board
from grokbench.errors import MarkdownError
from grokbench.results import scoring
from tests.support.committed import LEADERBOARD
from tests.support.entries import write_good_entry
from tests.support.reference import made_up_reference
from tests.test_cli import Command, grokbench

__all__ = ["grokbench"]  # a fixture
README = "# Board\n\n<!-- board -->\n<!-- /board -->\n\n<!-- columns -->\n<!-- /columns -->\n"


def test_what_is_published_is_not_stale(leaderboard: Path) -> None:
    """Everything is stale before, nothing afterwards; the text around the tables stays."""
    checked = check_entries(leaderboard=leaderboard)
    assert leaderboard / "README.md" in stale_files(checked, leaderboard)
    published = publish(leaderboard)
    assert (published.refused, published.parquet) == ((), parquet.installed())
    assert stale_files(checked, leaderboard) == []
    text = (leaderboard / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\npretty_name: ")
    assert "\n---\n\n# Board\n" in text
    assert text.endswith("The end.\n")


def test_a_changed_number_is_stale(leaderboard: Path) -> None:
    """In the README or on a page."""
    checked = check_entries(leaderboard=leaderboard)
    publish(leaderboard)
    for path in (leaderboard / "README.md", leaderboard / "pages" / "fast.md"):
        path.write_text(path.read_text(encoding="utf-8").replace("×", "x", 1), encoding="utf-8")
        assert stale_files(checked, leaderboard) == [path]
        write_board(checked, leaderboard)


def test_pages_of_removed_entries_go(leaderboard: Path) -> None:
    """They are stale until then."""
    checked = check_entries(leaderboard=leaderboard)
    publish(leaderboard)
    strays = [
        leaderboard / "pages" / "gone.md",
        leaderboard / "pages" / "gone.png",
        leaderboard / "schemas" / "old.schema.json",
    ]
    for stray in strays:
        stray.touch()
    assert stale_files(checked, leaderboard) == strays
    write_board(checked, leaderboard)
    assert stale_files(checked, leaderboard) == []
    assert sorted(path.name for path in (leaderboard / "pages").glob("*.md")) == ["fast.md", "same.md", "slow.md"]


GENERATED = (
    "README.md",
    "data/runs.parquet",
    "data/exams.parquet",
    "data/table.parquet",
    "pages/fast.md",
    "pages/fast.png",
    "schemas/entry.schema.json",
    "schemas/run.schema.json",
    "schemas/verdict.schema.json",
)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "without its start": lambda content: content[100:],
    "another file": lambda content: b"\xff\xfe nothing\n",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published leaderboard of one entry that stays as it is."""
    folder = tmp_path_factory.mktemp("published")
    write_good_entry(folder / "entries" / "fast")
    (folder / "README.md").write_text(README, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "reference", made_up_reference)
        publish(folder)
    return folder


@pytest.mark.parametrize("name", GENERATED)
def test_a_missing_file_is_noticed(published: Path, tmp_path: Path, name: str, grokbench: Command) -> None:
    """By `grokbench check`, which names it. Without the README, which has text of people, there is no leaderboard."""
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    assert grokbench("check", "--leaderboard", str(folder)).returncode == 0
    (folder / name).unlink()
    result = grokbench("check", "--leaderboard", str(folder))
    assert result.returncode == (2 if name == "README.md" else 1)
    assert str(folder / name) in result.stdout + result.stderr


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", GENERATED[1:])
def test_a_damaged_file_is_noticed(published: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    """Whatever is left of it."""
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    checked = check_entries(leaderboard=folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert stale_files(checked, folder) == [folder / name]


def test_what_is_missing_or_damaged_is_written_again(published: Path, tmp_path: Path) -> None:
    """All of it, except the README."""
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    for number, name in enumerate(GENERATED[1:]):
        (folder / name).unlink() if number % 2 else (folder / name).write_bytes(b"\xff")
    publish(folder)
    assert stale_files(check_entries(leaderboard=folder), folder) == []


@pytest.mark.parametrize(
    "content", [b"# Board\n", b"<!-- /board -->\n<!-- board -->\n", b"", b"\xff\xfe<!-- board -->"], ids=repr
)
def test_a_damaged_readme_is_named(published: Path, tmp_path: Path, content: bytes, grokbench: Command) -> None:
    """It isn't overwritten, because people wrote the text around the tables."""
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    (folder / "README.md").write_bytes(content)
    for command in ("check", "board"):
        result = grokbench(command, "--leaderboard", str(folder))
        assert result.returncode == 2
        assert f"grokbench: {folder / 'README.md'}: " in result.stderr
        assert result.stderr.count("\n") == 1
    assert (folder / "README.md").read_bytes() == content


def test_a_file_in_place_of_another_is_noticed(published: Path, tmp_path: Path) -> None:
    """Runs of other entries in the Parquet file, a picture of another kind, a folder."""
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    checked = check_entries(leaderboard=folder)
    runs, exams = parquet.files(folder)["runs"], parquet.files(folder)["exams"]
    exams.write_bytes(runs.read_bytes())
    (folder / "data" / "old.parquet").touch()
    picture = folder / "pages" / "fast.png"
    Image.new("RGB", (4, 4)).save(picture, format="BMP")
    page = folder / "pages" / "fast.md"
    page.unlink()
    page.mkdir()
    assert stale_files(checked, folder) == [page, picture, exams, folder / "data" / "old.parquet"]


def test_without_the_extra_a_damaged_parquet_file_is_noticed(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first and last bytes are enough for that. Its rows can't be compared."""
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    folder = shutil.copytree(published, tmp_path / "leaderboard")
    checked, path = check_entries(leaderboard=folder), parquet.files(folder)["runs"]
    assert stale_files(checked, folder) == []
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole[1:], b"PAR1"):
        path.write_bytes(content)
        assert stale_files(checked, folder) == [path]
    path.unlink()
    assert stale_files(checked, folder) == [path]


LOAD = """
import sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1], *sys.argv[3:], split="train", cache_dir=sys.argv[2])
print(len(rows), rows.features["seed"].dtype)
"""


@pytest.mark.skipif(not parquet.installed(), reason="needs the extra hub")
@pytest.mark.parametrize("which", ["committed", "published", "with other files"])
def test_the_folder_is_a_data_set(published: Path, tmp_path: Path, which: str) -> None:
    """`load_dataset` reads it by the folder's name, offline, whatever else lies in the folder. The runs come first."""
    folder = LEADERBOARD if which == "committed" else published
    if which == "with other files":
        folder = shutil.copytree(published, tmp_path / "copy")
        (folder / "verdicts").mkdir()
        (folder / "verdicts" / "fast.json").write_text("[]", encoding="utf-8")
        (folder / "train.csv").write_text("a\n1\n", encoding="utf-8")
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    for name in ([], ["exams"]):
        command = [sys.executable, "-W", "error", "-c", LOAD, str(folder), str(tmp_path / "cache"), *name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        rows = parquet.read_rows(parquet.files(folder)["".join(name) or "runs"])
        assert done.stdout.split() == [str(len(rows)), "int64"], done.stderr


def test_refused_entries_are_named(leaderboard: Path) -> None:
    """The others are published."""
    (leaderboard / "entries" / "slow" / "runs.jsonl").write_bytes(b"")
    assert publish(leaderboard).refused == ("slow",)
    assert not (leaderboard / "pages" / "slow.md").exists()


def test_a_readme_without_marks_is_not_overwritten(leaderboard: Path) -> None:
    """There is no place for the tables."""
    (leaderboard / "README.md").write_text("# no marks", encoding="utf-8")
    with pytest.raises(MarkdownError, match="needs the lines"):
        publish(leaderboard)
    assert (leaderboard / "README.md").read_text(encoding="utf-8") == "# no marks"
