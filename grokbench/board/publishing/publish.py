"""Write what visitors of the leaderboard see: the tables in its README, the pages, the schemas, and the Parquet file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import Checked, check_entries
from grokbench.board.entries.form import Form
from grokbench.board.entries.verdicts import Verdict
from grokbench.board.publishing import parquet
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.tables import board
from grokbench.results.markdown import with_section
from grokbench.runs.records import RunRecord

SECTION = "board"  # of the README, between <!-- board --> and <!-- /board -->
SCHEMAS: dict[str, type[BaseModel]] = {"entry": Form, "run": RunRecord, "verdict": Verdict}


@dataclass(frozen=True)
class Published:
    """What `publish` left out.

    Attributes:
        refused: the names of the entries that the checks refuse.
        parquet: whether the Parquet file is up to date; False if the extra that writes it isn't installed.
    """

    refused: tuple[str, ...]
    parquet: bool


def publish(leaderboard: Path = LEADERBOARD) -> Published:
    """Write the README's tables, every entry's page with its curves, the JSON schemas, and the Parquet file.

    Raises:
        EntryError: there is no leaderboard in this folder.
        MarkdownError: its README has no section for the tables.
    """
    checked = check_entries(leaderboard=leaderboard)
    write_board(checked, leaderboard)
    installed = parquet.installed()
    if installed:
        parquet.write_runs(checked, leaderboard / parquet.FILE)
    return Published(tuple(each.name for each in checked if each.refused), installed)


def write_board(checked: Sequence[Checked], leaderboard: Path) -> None:
    """Write the README's tables, every accepted entry's page with its curves, and the schemas; remove all other pages."""
    from grokbench.results.plots import draw_curves  # imports matplotlib, which `stale_files` can do without

    all_standings = standings(checked)
    pages = leaderboard / "pages"
    for path, text in _texts(all_standings, leaderboard):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for standing in all_standings:
        draw_curves(list(standing.runs), pages / standing.entry.name, endings=("png",))
    for path in _stray_pages(all_standings, pages):
        path.unlink()


def stale_files(checked: Sequence[Checked], leaderboard: Path) -> list[Path]:
    """The generated texts that differ from what the entries and the code give, and strays among the pages."""
    all_standings = standings(checked)
    texts = _texts(all_standings, leaderboard)
    stale = [path for path, text in texts if not path.exists() or path.read_text(encoding="utf-8") != text]
    return stale + _stray_pages(all_standings, leaderboard / "pages")


def _texts(all_standings: Sequence[Standing], leaderboard: Path) -> Iterator[tuple[Path, str]]:
    """Every generated text file with its content."""
    readme = leaderboard / "README.md"
    yield readme, with_section(readme.read_text(encoding="utf-8"), SECTION, board(all_standings))
    for standing in all_standings:
        yield leaderboard / "pages" / f"{standing.entry.name}.md", page(standing, all_standings)
    for name, model in SCHEMAS.items():
        schema = json.dumps(model.model_json_schema(), indent=1)
        yield leaderboard / "schemas" / f"{name}.schema.json", f"{schema}\n"


def _stray_pages(all_standings: Sequence[Standing], pages: Path) -> list[Path]:
    names = {f"{standing.entry.name}.{ending}" for standing in all_standings for ending in ("md", "png")}
    return sorted(path for path in pages.glob("*") if path.name not in names)
