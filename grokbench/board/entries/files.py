"""The files of an entry, read as hostile data.

Sizes are checked before contents, links aren't followed, and nesting is bounded. Text stays data until
`results.markdown.inert` has escaped it.
"""

import hashlib
import json
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from grokbench.agents.texts import decoded, with_unix_line_ends
from grokbench.board.entries.findings import Finding, UnreadableFile
from grokbench.board.entries.form import NAME_RULE, RE_EXECUTED, Form, is_entry_name
from grokbench.errors import EntryError
from grokbench.runs.records import refuse_constant

FORM, RUNS, RECIPE, CODE, TUNING = "entry.toml", "runs.jsonl", "recipe.toml", "agent.py", "tuning.jsonl"
FILE_LIMITS = {FORM: 16_384, RECIPE: 16_384, CODE: 262_144, RUNS: 64 << 20, TUNING: 16 << 20}  # bytes
LONGEST_LINE = 2 << 20  # bytes of one run
DEEPEST_NESTING = 30  # levels
Record = TypeVar("Record", bound=BaseModel)


def stray_files(folder: Path) -> Iterator[Finding]:
    """A finding for a folder name that no entry can have, and for every file that doesn't belong to an entry."""
    if not is_entry_name(folder.name):
        yield Finding(".", "", "the folder's name isn't an entry's name", f"use {NAME_RULE}")
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield Finding(printable_name(path.name), "", "is a link", "put the file itself there")
        elif path.name not in FILE_LIMITS:
            yield Finding(printable_name(path.name), "", "doesn't belong to an entry", f"leave only {', '.join(FILE_LIMITS)}")


def printable_name(name: str) -> str:
    """A file name in ASCII, at most 80 characters of it."""
    return ascii(name)[1:-1][:80]


def digest_of(folder: Path, form: Form) -> str:
    """SHA-256 over what a re-execution depends on. Title, description and the like can be mended, and line ends don't count.

    Args:
        folder: the entry's folder, of whose other files every name and all contents count.
        form: the contents of its `entry.toml`.

    Raises:
        UnreadableFile: a file can't be read.
    """
    content = hashlib.sha256(form.model_dump_json(include=RE_EXECUTED).encode() + b"\n")
    for name in sorted(name for name in FILE_LIMITS.keys() - {FORM} if (folder / name).exists()):
        content.update(f"{name} {hashlib.sha256(read_file(folder, name)).hexdigest()}\n".encode())
    return content.hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of the files in a folder by their names; none without a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


def read_file(folder: Path, name: str) -> bytes:
    """The contents of the entry's file `name`, with the line ends of Unix.

    Raises:
        UnreadableFile: it is missing, too large or no plain file.
    """
    return with_unix_line_ends(read_plain_file(folder / name, name, limit=FILE_LIMITS[name]))


def read_plain_file(path: Path, shown: str, *, limit: int) -> bytes:
    """The contents of a plain file of at most `limit` bytes. The finding calls the file `shown`.

    Raises:
        UnreadableFile: it is missing, too large or no plain file.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFile(Finding(shown, "", "isn't a plain file", "put the file itself there"))
        if status.st_size > limit:
            problem = f"has {status.st_size:,} bytes, more than {limit:,}"
            raise UnreadableFile(Finding(shown, "", problem, "shorten the file"))
        return path.read_bytes()
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
        raise UnreadableFile(Finding(shown, "", problem, "put a plain file there that everyone may read")) from None


def read_toml(folder: Path, name: str) -> dict[str, Any]:
    """The contents of the entry's TOML file `name`.

    Raises:
        UnreadableFile: it can't be read, isn't valid TOML, or is nested too deeply.
    """
    data = read_file(folder, name)
    try:
        content = tomllib.loads(decoded(data))
        _refuse_deep_nesting(content)
    except UnicodeDecodeError:
        raise UnreadableFile(Finding(name, "", "isn't UTF-8 text", "save it as UTF-8")) from None
    except (ValueError, RecursionError) as error:
        remedy = "compare it with an entry in leaderboard/entries"
        raise UnreadableFile(Finding(name, "", f"isn't valid TOML ({error})", remedy)) from None
    return content


def canonical(record: BaseModel) -> str:
    """The record as its line in a file of records, without the line break."""
    content = record.model_dump(by_alias=True)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_line(kind: type[Record], line: bytes) -> Record:
    """The record on a line.

    Raises:
        ValueError: the line can't be parsed, isn't such a record, or isn't in canonical form.
    """
    try:
        record = kind.model_validate(parse_line(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise EntryError(f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg']}") from None
    if canonical(record).encode() != line:
        raise EntryError("isn't in canonical form")
    return record


def parse_line(line: bytes) -> Any:
    """The JSON value on a line of a file of records.

    Raises:
        ValueError: the line is too long, no UTF-8, no JSON, has a key twice, or is nested too deeply.
    """
    if len(line) > LONGEST_LINE:
        raise EntryError(f"has {len(line):,} bytes, more than {LONGEST_LINE:,}")
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise EntryError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise EntryError("isn't UTF-8 text") from None
    _refuse_deep_nesting(content)
    return content


def _refuse_deep_nesting(content: Any) -> None:
    """Raise EntryError where a value is nested so deeply that a recursive function could fail on it."""
    level = [content]
    for _ in range(DEEPEST_NESTING):
        nested = [node for node in level if isinstance(node, dict | list)]
        level = [child for node in nested for child in (node.values() if isinstance(node, dict) else node)]
    if level:
        raise EntryError("is nested too deeply")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise EntryError("has the same key twice")
    return content
