"""Folders of made-up records."""

from collections.abc import Iterable
from pathlib import Path

from grokbench.runs.records import RunRecord, to_json


def write_records(folder: Path, records: Iterable[RunRecord]) -> Path:
    """Write each record to a file of its own, and return the folder."""
    folder.mkdir(exist_ok=True)
    for number, record in enumerate(records):
        (folder / f"{number:03}.json").write_text(to_json(record), encoding="utf-8")
    return folder
