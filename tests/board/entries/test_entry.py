"""Reading an entry: canonical lines, the agent with or without code, and the official runs of a suite."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe, recipe_names
from grokbench.board.entries.entry import entry_folder, official_runs, read_entry
from grokbench.board.entries.files import FILE_LIMITS, digest_of
from grokbench.board.entries.run_checks import _baseline_widths
from grokbench.errors import EntryError
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import get_suite, parse_id
from tests.support.entries import FORM, change_text


def problems(folder: Path) -> str:
    """Everything that is wrong with the entry's files, one finding on each line."""
    return "\n".join(map(str, read_entry(folder)[1]))


@pytest.mark.parametrize("suite_name", ["mini", "core"])
def test_the_official_runs_of_a_suite(suite_name: str) -> None:
    """Every scored task with the official seeds and the control with its own, sorted, each once."""
    suite = get_suite(suite_name)
    scored = itertools.product((parse_id(name).id for name in suite.tasks), PROTOCOL.official_seeds)
    control = itertools.product([parse_id(suite.control).id], suite.control_seeds)
    assert official_runs(suite_name) == sorted({*scored, *control})


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda line: line + b" ",
        lambda line: line.replace(b'":', b'": ', 1),
        lambda line: line.replace(b'"seed"', b'"\\u0073eed"'),
        lambda line: json.dumps(dict(reversed(json.loads(line).items())), separators=(",", ":")).encode(),
        lambda line: line.replace(b'"seconds":1.0', b'"seconds":1.00'),
        lambda line: b" " + line,
    ],
    ids=["space at the end", "space", "escape", "order of keys", "digits", "indent"],
)
def test_a_run_has_one_spelling(entry: Path, rewrite: Callable[[bytes], bytes]) -> None:
    """The same JSON value in other bytes is refused, so that files of equal runs are equal."""
    path = entry / "runs.jsonl"
    first, *others = path.read_bytes().splitlines()
    rewritten = rewrite(first)
    assert json.loads(rewritten) == json.loads(first)
    assert rewritten != first
    path.write_bytes(b"".join(line + b"\n" for line in (rewritten, *others)))
    assert problems(entry) == "error: runs.jsonl: line 1: isn't in canonical form; write the file with `grokbench submit`"


def test_a_file_that_is_cut_in_a_line_keeps_the_runs_before_it(entry: Path) -> None:
    """Both the missing line break and the unreadable line are reported, whatever byte the cut is at."""
    path = entry / "runs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 1])
    assert problems(entry).count("doesn't end with a line break") == 1
    path.write_bytes(whole[: whole.index(b"\n") + 100])
    read, findings = read_entry(entry)
    assert read is not None
    assert len(read.runs) == 1
    assert "doesn't end with a line break" in str(findings[0])


def test_code_belongs_to_a_recipe_of_its_own(entry: Path) -> None:
    """A baseline's recipe brings no `agent.py`."""
    (entry / "agent.py").write_text("")
    assert "and agent.py is there; bring agent.py if the recipe has" in problems(entry)


def test_an_agent_without_hyperparameters_needs_its_code(entry: Path) -> None:
    """The form names its class, and no recipe is read. The file is data of any encoding."""
    (entry / "recipe.toml").unlink()
    change_text(entry / "entry.toml", '"recipe.toml"', '"agent:Mine"')
    assert "agent.py: is missing; put the class of agent:Mine into it" in problems(entry)
    (entry / "agent.py").write_bytes(b"\xff raise SystemExit")
    read, _ = read_entry(entry)
    assert read is not None
    assert (read.recipe.target, read.recipe.plain_hyperparameters, read.network) == ("agent:Mine", {}, "own")


@pytest.mark.parametrize("name", ["../up", "a", "", "A1", "-a", "a_b", "a" * 42, "ab\n", "ä1"])
def test_a_name_that_no_entry_can_have(tmp_path: Path, name: str) -> None:
    """Its folder would lie elsewhere, or look like another."""
    with pytest.raises(EntryError, match="small letters, digits and hyphens, 2 to 41 in all, and isn't"):
        entry_folder(tmp_path, name)
    for good in ("a1", "0-", "a" * 41):
        assert entry_folder(tmp_path, good) == tmp_path / "entries" / good


CONTENTS = st.dictionaries(
    st.sampled_from(sorted(FILE_LIMITS.keys() - {"entry.toml"})), st.sampled_from([b"", b"a", b"b", b"ab"])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(CONTENTS, min_size=2, max_size=2))
def test_the_digest_tells_files_apart(tmp_path_factory: pytest.TempPathFactory, contents: list[dict[str, bytes]]) -> None:
    """A missing file isn't an empty one, and text that moves to another file changes the digest. Folder names don't."""
    digests = []
    for content in contents:
        folder = tmp_path_factory.mktemp("entry")
        for name, data in content.items():
            (folder / name).write_bytes(data)
        digests.append(digest_of(folder, FORM))
    assert (digests[0] == digests[1]) == (contents[0] == contents[1])


@pytest.mark.parametrize("name", recipe_names())
def test_a_baselines_widths_are_those_that_its_agent_shows(name: str) -> None:
    """They are read from the recipe without making the agent."""
    recipe = find_recipe(name)
    assert _baseline_widths(recipe) == list(recipe.make().feature_dims)
