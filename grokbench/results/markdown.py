"""Markdown: generated sections, and text of other people's made harmless."""

import re
from pathlib import Path


def with_section(content: str, name: str, text: str) -> str:
    """Markdown `content` with `text` between the marks `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the marks aren't there, or not in this order.
    """
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = content.partition(start)
    _, closed, after = rest.partition(stop)
    if not (found and closed):
        raise ValueError(f"a generated section needs the lines {start} and {stop}")
    return f"{before}{start}\n\n{text}\n\n{stop}{after}"


def write_section(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of that name in a Markdown file. Raises ValueError where they are missing."""
    path.write_text(with_section(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def inert(text: str) -> str:
    """Text that is nothing but text wherever Markdown or HTML is read: no tag, link, mention or table cell comes of it."""
    plain = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    return "".join(c if c.isalnum() or c in " ,;-" else f"&#{ord(c)};" for c in plain)
