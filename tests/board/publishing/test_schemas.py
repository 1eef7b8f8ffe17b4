"""The JSON schemas accept the files that they are named for, and refuse what the checks refuse."""

import json
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError

from grokbench.board.entries.form import INVISIBLE, make_form
from grokbench.board.entries.verdicts import VERDICTS, verdict_file
from grokbench.board.publishing.schemas import SCHEMAS, schema_text
from grokbench.errors import EntryError
from grokbench.runs.records import RunRecord
from grokbench.tasks import list_suites, list_tasks
from tests.support.committed import LEADERBOARD
from tests.support.entries import FORM, good_runs, write_good_entry
from tests.support.verdicts import add_verdict

Change = Callable[[Any], Any]


@cache
def schema(name: str) -> Draft202012Validator:
    """A schema as another program reads it, from the committed file."""
    content = json.loads((LEADERBOARD / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def accepts(name: str, content: Any) -> bool:
    """Whether the schema accepts it."""
    return bool(schema(name).is_valid(content))


def form(**changes: Any) -> dict[str, Any]:
    """A good form as TOML gives it, with some changes."""
    return FORM.model_dump(exclude_none=True) | changes


def is_form(content: dict[str, Any]) -> bool:
    """Whether the checks accept it."""
    try:
        make_form(content)
    except EntryError:
        return False
    return True


def changed(content: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path such as `exams.0.step`."""
    copy = json.loads(json.dumps(content))
    node: Any = copy
    *keys, last = path.split(".")
    for key in keys:
        node = node[int(key) if key.isdigit() else key]
    node[int(last) if last.isdigit() else last] = value
    return dict(copy)


def test_the_committed_schemas_are_the_codes() -> None:
    """And there is no other."""
    found = {path.name: path.read_text(encoding="utf-8") for path in (LEADERBOARD / "schemas").iterdir()}
    assert found == {f"{name}.schema.json": schema_text(name) for name in SCHEMAS}


def test_committed_files_follow_the_schemas() -> None:
    """Every form, every run, and every file of verdicts as a whole."""
    for folder in (LEADERBOARD / "entries").iterdir():
        assert accepts("entry", tomllib.loads((folder / "entry.toml").read_text(encoding="utf-8")))
        lines = (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
        assert all(accepts("run", json.loads(line)) for line in lines[::10])
    for path in (LEADERBOARD / "verdicts").glob("*.json"):
        assert accepts("verdict", json.loads(path.read_text(encoding="utf-8")))


GOOD_FORMS: list[dict[str, Any]] = [
    {},
    {"division": "open", "agent": "agent:Mine_2"},
    {"reproduces": "other-entry"},
    {"title": "  Zoë’s method: ×2 🎉 ", "authors": ["김", "A. Filip"]},
    {"link": "http://example.org/a%20b?c=d#e", "description": "two\nlines"},
    *({"suite": suite.name} for suite in list_suites()),
    {"tuning": {"settings": 0, "tasks": [task.id for task in list_tasks(controls=True)]}},
    {"tuning": {"settings": 0, "tasks": ["add_mod97-.30", "grokbench/add_mod97-0.5-v1", "mnist5k-n60"]}},
    {
        "tuning": {
            "settings": 0,
            "tasks": ["add_mod97-0.3-to500-v1", "compose_s5-0.5", "mnist-first-n9"],
        }
    },
]
BAD_FORMS: list[dict[str, Any]] = [
    {"title": ""},
    {"title": "two\nlines"},
    {"title": "a line\n"},
    {"title": "   "},
    {"title": "zero\u200bwidth"},
    {"title": "x" * 121},
    {"authors": []},
    {"authors": ["A\tB"]},
    {"authors": ["\u202eright to left"]},
    {"license": "\u00a0"},
    {"link": "example.org"},
    {"link": "javascript:alert(1)"},
    {"link": "https://example.org/a b"},
    {"link": "https://example.org/<script>"},
    {"link": "https://example.org\n"},
    {"link": "https://"},
    {"suite": "minni"},
    {"suite": "mini\n"},
    {"agent": "recipe.toml\n"},
    {"agent": "agent:my.Agent"},
    {"division": "half-open"},
    {"reproduces": "Other Entry"},
    {"reproduces": "other\n"},
    {"protocol": 1},
    {"protocol": "2"},
    {"surprise": 1},
    {"tuning": {"settings": -1, "tasks": []}},
    {"tuning": {"settings": 1, "tasks": ["add"]}},
    {"tuning": {"settings": 1, "tasks": ["add_mod97"]}},
    {"tuning": {"settings": 1, "tasks": ["add_mod97-0.5-v2"]}},
    {"tuning": {"settings": 1, "tasks": ["add_mod97-0.5\n"]}},
    {"tuning": {"settings": 1, "tasks": ["mnist5k-n0500"]}},
    {"tuning": {"settings": 1}},
]


@pytest.mark.parametrize("changes", GOOD_FORMS, ids=repr)
def test_good_forms(changes: dict[str, Any]) -> None:
    """The schema of `entry.toml` accepts what the checks accept."""
    assert is_form(form(**changes))
    assert accepts("entry", form(**changes))


@pytest.mark.parametrize("changes", BAD_FORMS, ids=repr)
def test_bad_forms(changes: dict[str, Any]) -> None:
    """The schema of `entry.toml` refuses what the checks refuse and point to the schema for."""
    assert not is_form(form(**changes))
    assert not accepts("entry", form(**changes))


@pytest.mark.parametrize("key", sorted(form()))
def test_every_key_of_a_form_is_needed(key: str) -> None:
    """By the checks and by the schema."""
    content = form()
    del content[key]
    assert not is_form(content)
    assert not accepts("entry", content)


def test_what_the_schema_calls_invisible_cannot_be_printed() -> None:
    """No character of the basic plane that `str.isprintable` accepts is refused."""
    letters = [chr(code) for code in range(0x10000) if chr(code).isprintable()]
    for start in range(0, len(letters), 100):
        line = "x" + "".join(letters[start : start + 100])
        assert accepts("entry", form(title=line)), f"{line!a} {INVISIBLE}"


BROKEN_RUNS: dict[str, Any] = {
    "task": "add_mod47-0.35",
    "seed": -1,
    "budget": 0,
    "protocol": 1,
    "schema": 2,
    "surprise": 1,
    "outcome.end": "won",
    "outcome.passing_share": 1.5,
    "cost.seconds": -1.0,
    "cost.steps": 1 << 63,
    "agent.feature_dims": [0],
    "provenance.code": "f" * 64 + "\n",
    "exams.0.step": "5",
    "exams.0.diverged": False,
    "exams.0.ranks": {"effective_rank": 3},
}


@pytest.mark.parametrize("path", sorted(BROKEN_RUNS))
def test_broken_runs(path: str) -> None:
    """The schema of a run refuses what can't be read as one."""
    run = json.loads(good_runs()[0].model_dump_json(by_alias=True))
    assert accepts("run", run)
    broken = changed(run, path, BROKEN_RUNS[path])
    with pytest.raises(ValidationError):
        RunRecord.model_validate(broken)
    assert not accepts("run", broken)


def verdicts(folder: Path) -> Any:
    """A file of two verdicts as JSON gives it."""
    write_good_entry(folder / "entries" / "first")
    add_verdict(folder)
    add_verdict(folder, failed=["add_mod47-0.35-v1 seed 3: out of memory"])
    return json.loads(verdict_file(folder, "first").read_text(encoding="utf-8"))


def test_a_file_of_verdicts_follows_its_schema(tmp_path: Path) -> None:
    """As `grokbench verify --save` writes it. A single verdict is no such file, and neither is an empty list."""
    content = verdicts(tmp_path)
    assert accepts("verdict", content)
    others: list[Any] = [content[0], [], {}, [content]]
    for other in others:
        assert not accepts("verdict", other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("digest", "0" * 63),
        ("digest", "0" * 64 + "\n"),
        ("runs", []),
        ("runs.0", ["add_mod47-0.35-v1"]),
        ("decision", "maybe"),
        ("slower_p", 1.1),
        ("pace.entry_seconds", 0.0),
        ("sandboxed", "yes"),
        ("surprise", 1),
    ],
)
def test_broken_verdicts(tmp_path: Path, path: str, value: Any) -> None:
    """What can't be read as a verdict, the schema refuses."""
    first, second = verdicts(tmp_path)
    broken = [first, changed(second, path, value)]
    with pytest.raises(ValidationError):
        VERDICTS.validate_json(json.dumps(broken))
    assert not accepts("verdict", broken)
