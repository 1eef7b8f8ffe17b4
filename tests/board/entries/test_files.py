"""The files of an entry: whatever they hold, the checks answer with findings in bounded time."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import DEEPEST_NESTING, LONGEST_LINE, parse_line, printable_name, read_plain_file
from grokbench.board.entries.findings import Finding, UnreadableFile
from grokbench.errors import EntryError
from tests.support.entries import errors_of, read_good_entry

BAD_CONTENTS: list[tuple[str, bytes, str]] = [
    ("runs.jsonl", b"", "seed 0: is missing"),
    ("runs.jsonl", b"{}", "doesn't end with a line break"),
    ("runs.jsonl", b"{}\n", "line 1: schema: Field required"),
    ("runs.jsonl", b"\xff\xfe\n", "isn't UTF-8"),
    ("runs.jsonl", b"\x00" * 1000 + b"\n", "line 1"),
    ("runs.jsonl", b'{"seed": NaN}\n', "NaN is not a number"),
    ("runs.jsonl", b'{"seed": 1, "seed": 2}\n', "has the same key twice"),
    ("runs.jsonl", b"[" * 100_000 + b"\n", "line 1: is nested too deeply"),
    ("runs.jsonl", b'{"seed": ' + b"9" * 10_000 + b"}\n", "line 1"),
    ("runs.jsonl", b"x" * (3 << 20) + b"\n", "has 3,145,728 bytes, more than"),
    ("runs.jsonl", b"\n" * 5_000, "5,000 lines, more than 1,000"),
    ("entry.toml", b"", "title: Field required"),
    ("entry.toml", b"\xff", "isn't UTF-8"),
    ("entry.toml", b"title = ", "isn't valid TOML"),
    ("entry.toml", b"a = " + b"[" * 5_000, "isn't valid TOML"),
    ("entry.toml", b"#" * 20_000, "has 20,000 bytes, more than 16,384"),
    ("recipe.toml", b"", "has no agent"),
    ("recipe.toml", b'agent = "os:system"', "has no agent"),
    ("recipe.toml", b"network" + b".a" * 1_000 + b" = 1", "is nested too deeply"),
    ("recipe.toml", b'agent = "baselines.agents:x](#) | [money](https://evil.example)"', "has no agent"),
    ("recipe.toml", b'agent = "baselines.agents:find_recipe"', "has no agent"),
    ("recipe.toml", b'agent = "agent:Mine | <b>"', "has no agent"),
    ("recipe.toml", b'agent = "agent:Mine"', "agent.py is not there"),
    ("recipe.toml", b'agent = "baselines.agents:transformer"\nnetwork = 3', "isn't a baseline's"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD_CONTENTS, ids=range(len(BAD_CONTENTS)))
def test_bad_contents_are_findings(entry: Path, name: str, content: bytes, problem: str) -> None:
    """Cut, binary, deep, long or hostile contents refuse the entry with the reason."""
    (entry / name).write_bytes(content)
    assert problem in errors_of(check_entry(entry))


@pytest.mark.parametrize("name", ["entry.toml", "recipe.toml", "runs.jsonl", "every file"])
@pytest.mark.parametrize("end", [b"\r\n", b"\r"], ids=["windows", "old editors"])
def test_line_ends_do_not_count(entry: Path, name: str, end: bytes) -> None:
    """As git writes files on Windows. The digest, for which verdicts hold, stays."""
    before = read_good_entry(entry).digest
    for path in entry.iterdir() if name == "every file" else [entry / name]:
        path.write_bytes(path.read_bytes().replace(b"\n", end))
    assert errors_of(check_entry(entry)) == ""
    assert read_good_entry(entry).digest == before


@pytest.mark.parametrize("name", ["entry.toml", "recipe.toml"])
def test_a_byte_order_mark_is_no_part_of_a_text(entry: Path, name: str) -> None:
    """Some editors write it."""
    path = entry / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert errors_of(check_entry(entry)) == ""


def test_a_huge_file_is_not_read(entry: Path) -> None:
    """A gigabyte, as the file system announces it, is refused by its size."""
    with (entry / "runs.jsonl").open("wb") as file:
        file.truncate(1 << 30)
    assert "has 1,073,741,824 bytes" in errors_of(check_entry(entry))


def test_only_an_entrys_own_files_are_accepted(entry: Path) -> None:
    """A stray file, a folder, a link, and a name with invisible characters are all reported."""
    (entry / "model.pkl").write_bytes(b"x")
    (entry / "more").mkdir()
    (entry / "\u202eevil\n").write_text("x")
    os.symlink("/etc/passwd", entry / "agent.py")
    errors = errors_of(check_entry(entry))
    for name in ("model.pkl", "more", r"\u202eevil\n", "agent.py: is a link"):
        assert name in errors


def test_a_pipe_or_a_missing_file_is_refused(entry: Path) -> None:
    """A named pipe isn't opened, which would wait for a writer."""
    (entry / "entry.toml").unlink()
    os.mkfifo(entry / "entry.toml")
    assert "isn't a plain file" in errors_of(check_entry(entry))
    (entry / "entry.toml").unlink()
    assert "can't be read" in errors_of(check_entry(entry))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Not even to a plain file beside it."""
    (tmp_path / "file").write_bytes(b"content")
    os.symlink(tmp_path / "file", tmp_path / "link")
    assert read_plain_file(tmp_path / "file", "file", limit=7) == b"content"
    with pytest.raises(UnreadableFile, match="isn't a plain file"):
        read_plain_file(tmp_path / "link", "link", limit=7)


def test_a_finding_is_one_printable_line() -> None:
    """Control characters from an entry can't reach a terminal or a workflow's log."""
    shown = str(Finding("runs.jsonl", "line 4", "\x1b[31m\n::error::", "mend it"))
    assert shown.isprintable()
    assert shown == "error: runs.jsonl: line 4:  [31m ::error::; mend it"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["entry.toml", "recipe.toml", "runs.jsonl"]))
def test_random_bytes_never_raise(entry: Path, content: bytes, name: str) -> None:
    """Random bytes in place of any file refuse the entry."""
    before = (entry / name).read_bytes()
    (entry / name).write_bytes(content)
    try:
        assert check_entry(entry).refused
    finally:
        (entry / name).write_bytes(before)


def test_the_limits_belong_to_what_is_accepted(tmp_path: Path) -> None:
    """A file, a line and a nesting at their limit are read. Beyond it they are refused."""
    (tmp_path / "file").write_bytes(b"12345678")
    assert read_plain_file(tmp_path / "file", "file", limit=8) == b"12345678"
    with pytest.raises(UnreadableFile, match="has 8 bytes, more than 7"):
        read_plain_file(tmp_path / "file", "file", limit=7)
    deepest = "[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING
    assert parse_line(deepest.encode()) == json.loads(deepest)
    with pytest.raises(EntryError, match="nested too deeply"):
        parse_line(f'{{"a": {deepest}}}'.encode())
    longest = b'"' + b"x" * (LONGEST_LINE - 2) + b'"'
    assert len(parse_line(longest)) == LONGEST_LINE - 2
    with pytest.raises(EntryError, match="2,097,153 bytes, more than 2,097,152"):
        parse_line(longest + b" ")


@pytest.mark.parametrize("line", ['{"a": {"b": 1, "b": 1}}', '{"a": [{"b": 1, "c": 2, "b": 3}]}', '{"a": 1, "\\u0061": 2}'])
def test_a_key_is_there_once_at_any_depth(line: str) -> None:
    """Two readers could take different values otherwise."""
    with pytest.raises(EntryError, match="has the same key twice"):
        parse_line(line.encode())


@given(name=st.text(max_size=200))
def test_a_shown_file_name_is_short_ascii(name: str) -> None:
    """Whatever the file is called, so that it can stand in a log. A plain name is shown as it is."""
    shown = printable_name(name)
    assert shown.isascii()
    assert not shown or shown.isprintable()
    assert len(shown) <= 80
    assert printable_name("model-1.pkl") == "model-1.pkl"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(entry: Path) -> None:
    """The finding says so."""
    (entry / "runs.jsonl").chmod(0)
    assert "can't be read (Permission denied)" in errors_of(check_entry(entry))
