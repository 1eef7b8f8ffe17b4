"""Generated tables in a Markdown file: what stands between two marks is replaced."""

from pathlib import Path


def replace_section(path: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the marks aren't there, or not in this order.
    """
    content = path.read_text(encoding="utf-8")
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = content.partition(start)
    _, closed, after = rest.partition(stop)
    if not (found and closed):
        raise ValueError(f"{path} needs the lines {start} and {stop}")
    path.write_text(f"{before}{start}\n\n{text}\n\n{stop}{after}", encoding="utf-8")
