"""Figures and tables as files. A place that can't be written is an error that says so."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grokbench.errors import ResultError


def write_files(writers: Mapping[Path, Callable[[Path], Any]]) -> list[Path]:
    """Write every file by its function, in a folder that is made if it is missing, and return the paths.

    Raises:
        ResultError: a file can't be written.
    """
    for path, write in writers.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        except OSError as error:
            raise ResultError(f"can't write {path} ({error.strerror}): choose another place for it") from error
    return list(writers)


def base_path(path: Path, name: str) -> Path:
    """The path of files without their ending: `name` in a folder that exists, else the path as it is."""
    return path / name if path.is_dir() else path


def with_ending(path: Path, ending: str) -> Path:
    """The path with one more ending. What looks like an ending already, as in `decay-0.9`, stays."""
    return path.with_name(f"{path.name}.{ending}")
