"""Markdown tables, read back."""


def table_rows(text: str) -> list[list[str]]:
    """The cells of every line of every table, headers included, without the lines under the headers."""
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]
    return [[cell.strip() for cell in line.split("|")] for line in lines]
