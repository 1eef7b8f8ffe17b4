"""Generated tables in this folder's README."""

from pathlib import Path

from grokbench.report import with_section

README = Path(__file__).parent / "README.md"


def replace_section(name: str, text: str) -> None:
    """Put `text` between the marks of that name. Raises ValueError where they are missing."""
    README.write_text(with_section(README.read_text(encoding="utf-8"), name, text), encoding="utf-8")
