"""Markdown: generated sections, and text of other people made harmless."""

import re
from pathlib import Path

from grokbench.errors import MarkdownError


def with_section(content: str, name: str, text: str) -> str:
    """Markdown `content` with `text` between the marks `<!-- name -->` and `<!-- /name -->`.

    Raises:
        MarkdownError: a mark is missing, or the closing one comes first.
    """
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opening, rest = content.partition(start)
    _, closing, after = rest.partition(stop)
    if not (opening and closing):
        raise MarkdownError(f"a generated section needs the lines {start} and {stop}")
    return f"{before}{start}\n\n{text}\n\n{stop}{after}"


def with_front_matter(content: str, text: str) -> str:
    """Markdown `content` with the lines `text` as its front matter, in place of one that is there."""
    start, _, rest = content.partition("\n")
    _, closing, after = f"\n{rest}".partition("\n---\n")
    body = after.lstrip("\n") if start == "---" and closing else content
    return f"---\n{text}\n---\n\n{body}"


def write_section(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of that name in a Markdown file.

    Raises:
        MarkdownError: a mark is missing, or the closing one comes first. The file is left as it was.
    """
    path.write_text(with_section(path.read_text(encoding="utf-8"), name, text), encoding="utf-8", newline="\n")


def inert(text: str) -> str:
    """`text` on one line, with every character escaped that Markdown or HTML could read as more than text."""
    printable = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    # A hyphen at the start could be a list or a rule.
    return "".join(c if c.isalnum() or c in " ,;" or (c == "-" and i) else f"&#{ord(c)};" for i, c in enumerate(printable))
