"""`entry.toml`: what it may hold, and how problems are reported."""

from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.form import LONGEST_MESSAGE, MOST_PROBLEMS, make_form
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
        ("protocol = 1", "protocol"),
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
    change_text(entry / "entry.toml", '"add_mod31-0.7"', '"ad_mod31-0.7"')
    assert "tuning.tasks.0: unknown operation 'ad'" in errors_of(check_entry(entry))


def test_all_problems_are_listed_at_once() -> None:
    """One error names every key that is wrong, each with its reason."""
    content = FORM.model_dump() | {"title": "", "link": "x", "suite": "none"}
    with pytest.raises(EntryError, match=r"title: .*; link: must be a web address.*; suite: no suite is called"):
        make_form(content)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("title", ["t", "t" * 120], ["", " ", "t" * 121, "a\u202eb", 1]),
        ("authors", [["a"], ["a"] * 50], [[], ["a"] * 51, [""], "a"]),
        ("description", ["d", "two\nparagraphs", "d" * 2_000], ["", "d" * 2_001]),
        ("link", ["http://a", "https://a.org/x?y=%20#z"], ["https://", "ftp://a", "http://a\n", "http://" + "a" * 300]),
        ("agent", ["recipe.toml", "agent:A_1"], ["recipe_toml", "agent:", "agent:1", "agent:A.b", "agent:A\n", "my:agent:A"]),
        ("tuning", [{"settings": 0, "tasks": []}, {"settings": 10**9, "tasks": []}],
         [{"settings": -1, "tasks": []}, {"settings": 10**9 + 1, "tasks": []}, {"settings": 1.0, "tasks": []}]),
        ("reproduces", [None, "a1"], ["A", "a", "../a1", "a1\n"]),
        ("protocol", [2], ["2", 1, 0]),
    ],
)  # fmt: skip
def test_limits_of_a_key(key: str, good: list[Any], bad: list[Any]) -> None:
    """The good values are kept as they are, and the bad ones are refused by the key's name."""
    content = FORM.model_dump()
    for value in good:
        assert make_form(content | {key: value}).model_dump()[key] == value
    for value in bad:
        with pytest.raises(EntryError, match=key):
            make_form(content | {key: value})


def test_a_long_list_of_problems_is_cut() -> None:
    """Hostile keys don't fill a log."""
    with pytest.raises(EntryError) as error:
        make_form(FORM.model_dump() | {f"k{i}": 1 for i in range(50)})
    assert str(error.value).count("Extra inputs") == MOST_PROBLEMS
    with pytest.raises(EntryError) as error:
        make_form(FORM.model_dump() | {"k" * 10_000: 1})
    assert len(str(error.value)) == LONGEST_MESSAGE
