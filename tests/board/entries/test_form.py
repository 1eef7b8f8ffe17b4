"""`entry.toml`: what it may hold, and how problems are reported."""

from pathlib import Path

import pytest

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.form import make_form
from grokbench.errors import EntryError
from tests.support.entries import FORM, change_text, errors_of


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('title = ""', "title"),
        ('title = "two\\nlines"', "one line"),
        ('link = "javascript:alert(1)"', "a web address"),
        ('link = "https://x.org/)<script>"', "a web address"),
        ('link = "https://x.org/**b**"', "a web address"),
        ('link = "https://x.org/\\u202e"', "a web address"),
        ('suite = "none"', "no suite is called"),
        ('division = "secret"', "division"),
        ('agent = "../../x.toml"', "agent"),
        ("protocol = 2", "protocol"),
        ("color = 1", "color: Extra inputs"),
    ],
)
def test_a_bad_line_is_a_finding(entry: Path, line: str, problem: str) -> None:
    """Unknown keys and impossible values refuse the entry."""
    path, key = entry / "entry.toml", line.split(" ")[0]
    others = [old for old in path.read_text(encoding="utf-8").splitlines() if old.split(" ")[0] != key]
    path.write_text("\n".join([line, *others]), encoding="utf-8")
    assert problem in errors_of(check_entry(entry))


def test_an_unknown_task_in_the_tuning_is_named(entry: Path) -> None:
    """The finding has the place and the reason."""
    change_text(entry / "entry.toml", '"add_mod47-0.7"', '"ad_mod47-0.7"')
    assert "tuning.tasks.0: unknown operation 'ad'" in errors_of(check_entry(entry))


def test_all_problems_are_listed_at_once() -> None:
    """One error names every key that is wrong, each with its reason."""
    content = FORM.model_dump() | {"title": "", "link": "x", "suite": "none"}
    with pytest.raises(EntryError, match=r"title: .*; link: must be a web address.*; suite: no suite is called"):
        make_form(content)
