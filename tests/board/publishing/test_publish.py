"""Publishing: which files are written, and which of them are found stale."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing import parquet
from grokbench.board.publishing.publish import publish, stale_files, write_board
from grokbench.errors import MarkdownError

COMMITTED = Path(__file__).resolve().parents[3] / "leaderboard"


def test_what_is_published_is_not_stale(leaderboard: Path) -> None:
    """Everything is stale before, nothing afterwards; the text around the tables stays."""
    checked = check_entries(leaderboard=leaderboard)
    assert leaderboard / "README.md" in stale_files(checked, leaderboard)
    published = publish(leaderboard)
    assert (published.refused, published.parquet) == ((), parquet.installed())
    assert stale_files(checked, leaderboard) == []
    text = (leaderboard / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Board")
    assert text.endswith("The end.\n")


def test_a_changed_number_is_stale(leaderboard: Path) -> None:
    """In the README or on a page."""
    checked = check_entries(leaderboard=leaderboard)
    write_board(checked, leaderboard)
    for path in (leaderboard / "README.md", leaderboard / "pages" / "fast.md"):
        path.write_text(path.read_text(encoding="utf-8").replace("×", "x", 1), encoding="utf-8")
        assert stale_files(checked, leaderboard) == [path]
        write_board(checked, leaderboard)


def test_pages_of_removed_entries_go(leaderboard: Path) -> None:
    """They are stale until then."""
    checked = check_entries(leaderboard=leaderboard)
    write_board(checked, leaderboard)
    gone = leaderboard / "pages" / "gone.md"
    gone.touch()
    assert stale_files(checked, leaderboard) == [gone]
    write_board(checked, leaderboard)
    assert sorted(path.name for path in (leaderboard / "pages").glob("*.md")) == ["fast.md", "same.md", "slow.md"]


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


@pytest.mark.usefixtures("pinned_reference")
def test_the_committed_files_are_up_to_date() -> None:
    """Tables, pages and schemas are those that the entries and the code give."""
    assert stale_files(check_entries(leaderboard=COMMITTED), COMMITTED) == [], "run `make board`"


def schema(name: str) -> Draft202012Validator:
    """A committed schema."""
    content = json.loads((COMMITTED / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(content)


def first_run() -> Any:
    """The first line of a committed `runs.jsonl`."""
    with (COMMITTED / "entries" / "mlp" / "runs.jsonl").open(encoding="utf-8") as lines:
        return json.loads(next(lines))


def test_committed_files_follow_the_committed_schemas() -> None:
    """As another library reads them; a key that isn't in the schema is an error."""
    schema("entry").validate(tomllib.loads((COMMITTED / "entries" / "mlp" / "entry.toml").read_text(encoding="utf-8")))
    for path in (COMMITTED / "verdicts").glob("*.json"):
        for verdict in json.loads(path.read_text(encoding="utf-8")):
            schema("verdict").validate(verdict)
    run = first_run()
    schema("run").validate(run)
    with pytest.raises(ValidationError, match="surprise"):
        schema("run").validate(run | {"surprise": 1})
