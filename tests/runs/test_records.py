"""Record files: whatever is in one, it is either a record or a clear error."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.errors import RecordError
from grokbench.runs.records import RunRecord, read_record, to_json
from tests.runs.test_engine import run

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A real record."""
    out = tmp_path_factory.mktemp("runs")
    run(out, seeds=(0,), max_steps=100)
    content: dict[str, Any] = json.loads(next(out.rglob("*.json")).read_text())
    return content


def paths(node: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in a tree."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [prefix, *(place for key, value in children for place in paths(value, (*prefix, key)))]


def put(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The tree with another value at one place."""
    if not place:
        return value
    tree = copy.deepcopy(tree)
    node = tree
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return tree


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_record_is_read_or_refused(record: dict[str, Any], tmp_path: Path, data: st.DataObject) -> None:
    """Any value anywhere: a RunRecord or a RecordError, nothing else."""
    place = data.draw(st.sampled_from(paths(record)))
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, place, data.draw(ANY))))
    with contextlib.suppress(RecordError):
        assert isinstance(read_record(path), RunRecord)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    """Anything that isn't a record is refused by name."""
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        read_record(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("exams", 3, "step"), 41),
        (("exams", 0, "seen"), -1),
        (("exams", 0, "held_out"), 10**6),
        (("outcome", "steps_to_generalize"), 10),
        (("outcome", "final_rank"), 1.0),
        (("fingerprint",), 3),
        (("surprise",), 1),
        (("task",), "add_mod5-0.50-v1"),
    ],
    ids=str,
)
def test_a_forged_record_is_refused(record: dict[str, Any], tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    """Off the grid, impossible counts, an outcome that doesn't follow, keys that nobody knows."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, place, value)))
    with pytest.raises(RecordError):
        read_record(path)


def test_nan_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    """NaN is no number, and depth doesn't break the reader."""
    path = tmp_path / "record.json"
    for text in ('{"exams": NaN}', '{"exams": [1e999]}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(RecordError):
            read_record(path)


def test_what_was_watched_stands_only_where_something_was(record: dict[str, Any], tmp_path: Path) -> None:
    """Numbers per layer come back as they were, and an exam without any says nothing of it."""
    assert all("metrics" not in exam for exam in record["exams"])
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("exams", 3, "metrics"), {"weight_norm": [1.5, 2.5]})))
    found = read_record(path)
    assert found.exams[3].exam().metrics == {"weight_norm": [1.5, 2.5]}
    assert found.exams[2].exam().metrics is None
    assert json.loads(to_json(found)) == json.loads(path.read_text())


@pytest.mark.parametrize("metrics", [[1.0], {"weight_norm": 1.0}, {"weight_norm": [None]}, {"weight_norm": ["x"]}])
def test_what_can_not_have_been_watched(record: dict[str, Any], tmp_path: Path, metrics: Any) -> None:
    """Anything but lists of numbers is refused."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("exams", 0, "metrics"), metrics)))
    with pytest.raises(RecordError, match="metrics"):
        read_record(path)
