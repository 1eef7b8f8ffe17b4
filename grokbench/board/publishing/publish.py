"""Write what visitors of the leaderboard see: the tables in its README, the pages, the schemas, and the Parquet files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from grokbench.agents.texts import decoded, text_bytes
from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import Checked, check_entries
from grokbench.board.publishing import parquet
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.schemas import SCHEMAS, schema_text
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.tables import board
from grokbench.errors import MarkdownError
from grokbench.results.markdown import with_front_matter, with_section

TABLES, COLUMNS = "board", "columns"  # generated sections of the README


@dataclass(frozen=True)
class Published:
    """What `publish` left out.

    Attributes:
        refused: the names of the entries that the checks refuse.
        parquet: whether the Parquet files are up to date; False if the extra that writes them isn't installed.
    """

    refused: tuple[str, ...]
    parquet: bool


def publish(leaderboard: Path = LEADERBOARD) -> Published:
    """Write the README's tables, every entry's page with its curves, the JSON schemas, and the Parquet files.

    Raises:
        EntryError: there is no leaderboard in this folder.
        MarkdownError: its README has no section for the tables, or none for the columns of the data.
    """
    return publish_checked(check_entries(leaderboard=leaderboard), leaderboard)


def publish_checked(checked: Sequence[Checked], leaderboard: Path) -> Published:
    """The same, of entries that have been checked."""
    write_board(checked, leaderboard)
    installed = parquet.installed()
    if installed:
        parquet.write_data(checked, leaderboard)
    return Published(tuple(each.name for each in checked if each.refused), installed)


def write_board(checked: Sequence[Checked], leaderboard: Path) -> None:
    """Write the README's tables, every accepted entry's page with its curves, and the schemas; remove all else there."""
    # Both import matplotlib, which `stale_files` can do without.
    from grokbench.results.plots import draw_curves
    from grokbench.sweeps.tuning_plots import tuning_figure

    all_standings = standings(checked)
    pages = leaderboard / "pages"
    for path, text in _texts(all_standings, leaderboard):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for standing in all_standings:
        draw_curves(list(standing.runs), pages / standing.entry.name, endings=("png",))
        if standing.tuning is not None:
            tuning_figure(standing.tuning).savefig(pages / f"{standing.entry.name}-tuning.png", dpi=110)
    for path in _strays(all_standings, leaderboard):
        path.unlink()


def stale_files(checked: Sequence[Checked], leaderboard: Path) -> list[Path]:
    """The generated files that are missing, damaged, or differ from what the entries and the code give, and strays among them.

    Of a picture it is only checked that it can be shown, because platforms draw other pixels.
    """
    all_standings = standings(checked)
    stale = [path for path, text in _texts(all_standings, leaderboard) if not _holds(path, text)]
    pictures = [leaderboard / "pages" / name for standing in all_standings for name in _pictures(standing)]
    stale += [path for path in pictures if not _is_picture(path)]
    return stale + parquet.stale_data(checked, leaderboard) + _strays(all_standings, leaderboard)


def _pictures(standing: Standing) -> list[str]:
    """The names of the pictures on an entry's page."""
    name = standing.entry.name
    return [f"{name}.png", *([f"{name}-tuning.png"] if standing.tuning is not None else [])]


def _holds(path: Path, text: str) -> bool:
    """Whether the file is there and has this text."""
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _is_picture(path: Path) -> bool:
    """Whether the file is there and is a whole PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):  # Pillow calls a damaged PNG a wrong syntax
        return False
    return True


def _texts(all_standings: Sequence[Standing], leaderboard: Path) -> Iterator[tuple[Path, str]]:
    """Every generated text file with its content."""
    readme = leaderboard / "README.md"
    yield readme, _readme(readme, board(all_standings))
    for standing in all_standings:
        yield leaderboard / "pages" / f"{standing.entry.name}.md", page(standing, all_standings)
    for name in SCHEMAS:
        yield leaderboard / "schemas" / f"{name}.schema.json", schema_text(name)


def _readme(path: Path, tables: str) -> str:
    """The README as it should be, with the text around the tables that it has."""
    try:
        content = with_section(decoded(text_bytes(path)), TABLES, tables)
        return with_front_matter(with_section(content, COLUMNS, parquet.schema()), parquet.FRONT_MATTER)
    except (MarkdownError, UnicodeDecodeError) as error:
        raise MarkdownError(f"{path}: {error}") from None


def _strays(all_standings: Sequence[Standing], leaderboard: Path) -> list[Path]:
    """What lies among the pages and the schemas and is neither."""
    known = {
        "pages": {name for each in all_standings for name in (f"{each.entry.name}.md", *_pictures(each))},
        "schemas": {f"{name}.schema.json" for name in SCHEMAS},
    }
    there = [path for folder in known for path in (leaderboard / folder).glob("*")]
    return sorted(path for path in there if path.name not in known[path.parent.name])
