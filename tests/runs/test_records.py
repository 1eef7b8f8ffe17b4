"""Record files: a file with any contents is either read as a record or refused with a clear error."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe
from grokbench.errors import RecordError
from grokbench.runs.records import Cost, RunRecord, make_record, read_record, to_json
from grokbench.runs.store import find_records
from grokbench.tasks import parse_id
from tests.runs.test_engine import run
from tests.support.entries import PROVENANCE, make_exams, make_run

TASK = "add_mod5-0.5-v1"
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
    """Any value in any place leads to a RunRecord or a RecordError, and to no other exception."""
    place = data.draw(st.sampled_from(paths(record)))
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, place, data.draw(ANY))))
    with contextlib.suppress(RecordError):
        assert isinstance(read_record(path), RunRecord)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file."""
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        read_record(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("exams", 3, "step"), 41),
        (("exams", 0, "train"), -1),
        (("exams", 0, "held_out"), 10**6),
        (("outcome", "steps_to_generalize"), 10),
        (("outcome", "final_rank"), 1.0),
        (("fingerprint",), 3),
        (("agent", "hyperparameters", "optimizer", "lr"), 7.0),
        (("surprise",), 1),
        (("task",), "add_mod5-0.50-v1"),
    ],
    ids=str,
)
def test_a_forged_record_is_refused(record: dict[str, Any], tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    """An exam off the grid, an impossible count, an outcome or a hash that doesn't follow, an unknown key."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, place, value)))
    with pytest.raises(RecordError):
        read_record(path)


def test_nan_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    """Neither NaN nor a number too large for a float is read, and the reader survives deep nesting."""
    path = tmp_path / "record.json"
    for text in ('{"exams": NaN}', '{"exams": [1e999]}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(RecordError):
            read_record(path)


def test_metrics_are_read_back_and_left_out_where_there_are_none(record: dict[str, Any], tmp_path: Path) -> None:
    """Numbers per layer come back as they were. An exam without metrics has no such key."""
    assert all("metrics" not in exam for exam in record["exams"])
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("exams", 3, "metrics"), {"weight_norm": [1.5, 2.5]})))
    found = read_record(path)
    assert found.exams[3].exam().metrics == {"weight_norm": [1.5, 2.5]}
    assert found.exams[2].exam().metrics is None
    assert json.loads(to_json(found)) == json.loads(path.read_text())


@pytest.mark.parametrize("metrics", [[1.0], {"weight_norm": 1.0}, {"weight_norm": [None]}, {"weight_norm": ["x"]}])
def test_impossible_metrics_are_refused(record: dict[str, Any], tmp_path: Path, metrics: Any) -> None:
    """Anything but lists of numbers is refused."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("exams", 0, "metrics"), metrics)))
    with pytest.raises(RecordError, match="metrics"):
        read_record(path)


def made_up(**changes: Any) -> RunRecord:
    """A record without any training, made with some arguments changed."""
    task = parse_id(TASK)
    arguments: dict[str, Any] = {
        "feature_dims": (4, 8),
        "seed": 3,
        "salt": "",
        "fingerprint": "f",
        "cohort": [3],
        "exams": make_exams(task, seed=3, steps_to_generalize=500),
        "cost": Cost(steps=0, examples=None, flops=None, parameters=None, seconds=0.5),
        "provenance": PROVENANCE,
        "incomplete": None,
    }
    return make_record(task, find_recipe("mlp"), **arguments | changes)


def test_the_text_of_a_record_is_read_back(tmp_path: Path) -> None:
    """Every exam has a line of its own, and text of any alphabet stays readable."""
    path = tmp_path / "record.json"
    record = made_up(incomplete="failed: größer als 1 — 大")
    path.write_text(to_json(record), encoding="utf-8")
    assert read_record(path) == record
    text = path.read_text(encoding="utf-8")
    assert "größer als 1 — 大" in text
    assert sum(line.startswith('  {"step"') for line in text.splitlines()) == len(record.exams)


def test_a_run_that_failed_before_its_first_exam_has_a_record(tmp_path: Path) -> None:
    """Without exams there is no outcome, and an agent that was never asked for its layers states none."""
    path = tmp_path / "record.json"
    record = made_up(exams=[], feature_dims=(), incomplete="failed: RuntimeError")
    path.write_text(to_json(record), encoding="utf-8")
    assert read_record(path) == record
    assert (record.outcome.end, record.outcome.final_rank) == (None, None)
    assert "feature_dims" not in json.loads(path.read_text(encoding="utf-8"))["agent"]


def test_a_record_keeps_what_it_was_made_of() -> None:
    """The lists and tables that it was made of may change afterwards."""
    cohort, exams = [3], make_exams(parse_id(TASK), seed=3, steps_to_generalize=500)
    record = made_up(cohort=cohort, exams=exams)
    before = record.model_copy(deep=True)
    cohort.append(4)
    assert exams[0].ranks is not None
    exams[0].ranks["effective_rank"][0] = -1.0
    exams.pop()
    assert record == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_is_refused(tmp_path: Path, share: float) -> None:
    """Wherever the cut is, up to the closing brace."""
    path = tmp_path / "record.json"
    whole = to_json(made_up()).encode().rstrip()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RecordError, match=r"record\.json: not a run record"):
        read_record(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """By their path, without a traceback."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RecordError, match=f"{path}: not a run record"):
            read_record(path)


@pytest.mark.parametrize("value", [True, "1", 1.0, -1, 1 << 63, None])
def test_a_count_is_an_integer_that_fits_64_bits(record: dict[str, Any], tmp_path: Path, value: Any) -> None:
    """No value is converted. The error names the key."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("cost", "steps"), value)))
    with pytest.raises(RecordError, match=r"record\.json: cost\.steps: .* \(1 findings\)"):
        read_record(path)
    path.write_text(json.dumps(put(record, ("cost", "steps"), (1 << 63) - 1)))
    assert read_record(path).cost.steps == (1 << 63) - 1


def test_a_short_task_id_is_refused_with_the_full_one(record: dict[str, Any], tmp_path: Path) -> None:
    """Records of one task always have the same text there, so that text can be compared."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(put(record, ("task",), "add_mod5-0.5")))
    with pytest.raises(RecordError, match=f"names its task in full, '{TASK}', got 'add_mod5-0.5'"):
        read_record(path)


def test_a_record_can_not_be_changed() -> None:
    """Nor given further attributes."""
    record = make_run(TASK, seed=0, steps_to_generalize=500, recipe=find_recipe("mlp"))
    for target, name in ((record, "seed"), (record.outcome, "steps_to_generalize"), (record.exams[0], "surprise")):
        with pytest.raises(ValueError, match=r"frozen|no field"):
            setattr(target, name, 1)


def test_a_record_of_protocol_1_is_named_as_such(record: dict[str, Any], tmp_path: Path) -> None:
    """It isn't damaged: the message says that the run must be made anew."""
    path = tmp_path / "record.json"
    old = record | {"schema": 2, "protocol": 1, "exams": [{"step": 10, "train": 0, "held_out": 0, "ranks": {}, "loss": None}]}
    path.write_text(json.dumps(old))
    with pytest.raises(RecordError, match=r"record\.json: made under protocol 1, and this is protocol 2: make the run anew"):
        read_record(path)
    _, (error,) = find_records([tmp_path])
    assert "protocol 1" in str(error)


@pytest.mark.parametrize("version", [0, 3, "1", None, [1], {}])
def test_any_other_version_is_a_finding(record: dict[str, Any], tmp_path: Path, version: Any) -> None:
    """There was no such protocol."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record | {"protocol": version}))
    with pytest.raises(RecordError, match=r"protocol: Input should be 2 \(1 findings\)"):
        read_record(path)
