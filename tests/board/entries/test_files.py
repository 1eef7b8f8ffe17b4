"""The files of an entry: whatever they hold, the checks answer with findings in bounded time."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import read_plain_file
from grokbench.board.entries.findings import Finding, UnreadableFile
from tests.support.entries import errors_of

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
