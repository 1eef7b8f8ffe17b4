"""Trees of arrays as bytes: every tree comes back as it was, and bytes that are no tree's are refused."""

import json
import random
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.numpy import load, save

from grokbench.agents import trees
from grokbench.errors import AgentError, CheckpointError
from grokbench.runs.store import read_checkpoint

MARKS = ["__kind__", "value"]  # keys that the format itself uses


def test_tensors_arrays_and_scalars_come_back() -> None:
    """Tensors, arrays and scalars keep their library and type, bfloat16 too. Keys may be numbers."""
    tree: dict[str, Any] = {
        "low": torch.arange(6, dtype=torch.bfloat16).view(2, 3).T,
        "state": {0: {"mean": torch.zeros(2)}, 1: np.arange(3)},
        "more": (None, True, 1, 0.5, "text", np.float32(2)),
    }
    found = trees.unpack(trees.pack(tree))
    assert found["low"].dtype == torch.bfloat16
    assert torch.equal(found["low"], tree["low"])
    assert torch.equal(found["state"][0]["mean"], torch.zeros(2))
    np.testing.assert_array_equal(found["state"][1], np.arange(3))
    assert found["more"] == (None, True, 1, 0.5, "text", np.float32(2))
    assert type(found["more"][-1]) is np.float32


FINITE = st.floats(allow_nan=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text() | st.binary() | st.complex_numbers(allow_nan=False)
KEYS = st.text() | st.sampled_from(MARKS) | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
DTYPES = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes()
    | arrays.unsigned_integer_dtypes()
    | arrays.floating_dtypes()
    | arrays.complex_number_dtypes()
)
ARRAYS = arrays.arrays(dtype=DTYPES, shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
SETS = st.sets(st.integers()) | st.frozensets(st.text())


def containers(node: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists, tuples, deques of some length at most, and dicts of these nodes."""
    lists = st.lists(node, max_size=3)
    return lists | lists.map(tuple) | lists.map(lambda nodes: deque(nodes, 3)) | st.dictionaries(KEYS, node, max_size=3)


TREES = st.recursive(SCALARS | ARRAYS | SETS, containers, max_leaves=10)


def assert_equal_trees(found: Any, expected: Any) -> None:
    """Assert equal structure, keys, types and values."""
    if isinstance(expected, dict):
        assert list(map(repr, found)) == list(map(repr, expected))
        for key in expected:
            assert_equal_trees(found[key], expected[key])
    elif isinstance(expected, list | tuple | deque):
        assert type(found) is type(expected)
        assert getattr(found, "maxlen", None) == getattr(expected, "maxlen", None)
        for found_node, expected_node in zip(found, expected, strict=True):
            assert_equal_trees(found_node, expected_node)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=3))
def test_any_tree_comes_back(tree: dict[Any, Any]) -> None:
    """Keys of any scalar type, keys that the format uses itself, arrays of any shape and of either order of bytes."""
    assert_equal_trees(trees.unpack(trees.pack(tree)), tree)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2", "float16", "complex64", "complex128", "uint16", "bool"])
def test_tensors_of_any_dtype_come_back(name: str) -> None:
    """Those that numpy lacks too, with axes in another order, of no axes and without numbers. Dtypes themselves come back."""
    dtype = getattr(torch, name)
    matrix = torch.arange(6.0).view(2, 3).to(dtype)
    tree: dict[str, Any] = {"matrix": matrix, "turned": matrix.T, "number": matrix[1, 1], "empty": matrix[:0], "dtype": dtype}
    found = trees.unpack(trees.pack(tree))
    assert found["dtype"] is dtype
    for key in ("matrix", "turned", "number", "empty"):
        assert found[key].dtype == dtype
        assert found[key].shape == tree[key].shape
        assert found[key].tolist() == tree[key].tolist()
    assert found["turned"].stride() == tree["turned"].stride()


def test_the_device_comes_back() -> None:
    """An optimizer may keep the device that it computes on."""
    assert trees.unpack(trees.pack({"device": torch.device("cpu")}))["device"] == torch.device("cpu")


def test_a_counter_comes_back() -> None:
    """Such as the milestones of torch's MultiStepLR."""
    tree = {"milestones": Counter({30: 1, 80: 2}), "words": Counter(a=3)}
    again = trees.unpack(trees.pack(tree))
    assert again == tree
    assert {type(value) for value in again.values()} == {Counter}


def test_numbers_that_are_not_finite_come_back() -> None:
    """A best loss starts as infinity, and a diverged loss is NaN."""
    found = trees.unpack(trees.pack({"best": float("inf"), "loss": np.float32("nan"), "low": -np.inf}))
    assert (found["best"], found["low"]) == (np.inf, -np.inf)
    assert np.isnan(found["loss"])


@pytest.mark.parametrize(
    "state",
    [np.random.PCG64(3).state, np.random.MT19937(3).state, np.random.Philox(3).state, random.Random(3).getstate()],
    ids=["PCG64", "MT19937", "Philox", "Python"],
)
def test_the_state_of_a_generator_comes_back(state: Any) -> None:
    """128-bit numbers of PCG64, the arrays of the Mersenne Twister and of Philox, the 625 numbers of Python's generator."""
    found = trees.unpack(trees.pack({"random": state}))["random"]
    if isinstance(state, tuple):
        restored = random.Random()
        restored.setstate(found)
        assert restored.random() == random.Random(3).random()
        return
    generator = getattr(np.random, str(state["bit_generator"]))()
    generator.state = found
    assert generator.random_raw(5).tolist() == getattr(np.random, str(state["bit_generator"]))(3).random_raw(5).tolist()


def test_an_optimizer_goes_on_from_its_bytes() -> None:
    """The state of AdamW has numbers for keys. A restored optimizer takes the same next step."""

    def trained(*, pause: bool) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        for step in range(6):
            if pause and step == 3:
                state = trees.unpack(trees.pack({"optimizer": optimizer.state_dict()}))
                optimizer = torch.optim.AdamW([weight], lr=9.0)
                optimizer.load_state_dict(state["optimizer"])
            optimizer.zero_grad()
            (weight**2).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return weight.detach()

    assert torch.equal(trained(pause=True), trained(pause=False))


def test_bytes_hold_what_a_tensor_was() -> None:
    """Training goes on in place. Neither the packed bytes nor the tensors read from them share the memory."""
    weight = torch.nn.Parameter(torch.zeros(2))
    data = trees.pack({"weight": weight})
    with torch.no_grad():
        weight.add_(1)
    first, second = (trees.unpack(data)["weight"] for _ in range(2))
    first += 5
    assert first.tolist() == [5, 5]
    assert second.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [1, object()]}, "holds a object at /a/1"),
        ({"a": {"b": defaultdict(list)}}, "holds a defaultdict at /a/b"),
        ({"a": {"b": np.random.default_rng(3)}}, "holds a Generator at /a/b"),
        ({"a": {object(): 3}}, "holds a object as a key at /a:"),
        ({"a": [np.array(["text"])]}, "an array at /a/0 that can't be stored: its dtype is <U4"),
        ({"a": np.array([None])}, "an array at /a that can't be stored: its dtype is object"),
        ({"a": {"b": torch.eye(2).to_sparse()}}, "an array at /a/b that can't be stored"),
        ({"a": torch.zeros(2, device="meta")}, "an array at /a that can't be stored"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named(tree: dict[Any, Any], message: str) -> None:
    """The message has the value's type and its place in the tree."""
    with pytest.raises(AgentError, match=message):
        trees.pack(tree)


GOOD = trees.pack({"weights": np.arange(4.0), "steps": 7})


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_a_file_cut_anywhere_is_refused(length: int) -> None:
    """A kill in the middle of a write leaves the beginning of a file."""
    with pytest.raises(CheckpointError):
        trees.unpack(GOOD[:length])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(position: int, bit: int) -> None:
    """Wherever it is, in the weights too, which would still be numbers."""
    damaged = bytearray(GOOD)
    damaged[position] ^= 1 << bit
    with pytest.raises(CheckpointError):
        trees.unpack(bytes(damaged))


def forged(skeleton: str, stored: dict[str, NDArray[Any]]) -> bytes:
    """Bytes of a stranger who knows the format, with a right checksum."""
    return save(stored, {"tree": skeleton, "sha256": trees._digest(skeleton, stored)})


def test_a_forger_who_keeps_to_the_format_is_believed() -> None:
    """The checksum of `forged` is right, so the refusals in the next test have other reasons."""
    assert trees.unpack(forged('{"a": 1}', {})) == {"a": 1}


@pytest.mark.parametrize(
    "skeleton",
    [
        "no JSON",
        "[1]",
        "1",
        "1" * 5000,
        '{"__kind__": "tensor", "value": "0"}',
        '{"a": {"__kind__": "array", "value": ["nowhere", "<f4", [1]]}}',
        '{"a": {"__kind__": "array", "value": ["0", "O", [1]]}}',
        '{"a": {"__kind__": "array", "value": ["0", "|u1", [1000000000000]]}}',
        '{"a": {"__kind__": "tensor", "value": ["0", "save", [1], null]}}',
        '{"a": {"__kind__": "tensor", "value": ["0", "uint8", [1], [0, 0]]}}',
        '{"a": {"__kind__": "no_such_kind", "value": 1}}',
        '{"a": {"__kind__": "tuple"}}',
        '{"__kind__": "dict", "value": [[1]]}',
        '{"__kind__": "dict", "value": [[[], 1]]}',
        '{"__kind__": "dict", "value": 3}',
        '{"a": ' * 3000 + "1" + "}" * 3000,
    ],
    ids=lambda skeleton: skeleton[:60],
)
def test_a_hostile_tree_is_refused(skeleton: str) -> None:
    """An agent's process may send anything. Whatever it sends, the error is a CheckpointError."""
    with pytest.raises(CheckpointError):
        trees.unpack(forged(skeleton, {"0": np.array([1], dtype=np.uint8)}))


def test_another_safetensors_file_is_refused() -> None:
    """Weights that another program has saved have no tree, with or without metadata."""
    for data in (save({"weight": np.zeros(2)}), save({"weight": np.zeros(2)}, {"format": "pt"})):
        assert load(data)["weight"].tolist() == [0, 0]
        with pytest.raises(CheckpointError):
            trees.unpack(data)


def test_nothing_that_is_read_is_executed() -> None:
    """The bytes are plain safetensors: a header in JSON, then the arrays."""
    data = trees.pack({"weights": np.array([1.5])})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    weights = {"__kind__": "array", "value": ["0", "<f8", [1]]}
    assert json.loads(header["__metadata__"]["tree"]) == {"weights": weights}
    assert load(data)["0"].view("<f8").tolist() == [1.5]


def test_the_error_names_the_file(tmp_path: Path) -> None:
    """A checkpoint that can't be read is named with its path."""
    (tmp_path / "cohort.safetensors").write_bytes(GOOD[:-1])
    with pytest.raises(CheckpointError, match=r"cohort\.safetensors: not a usable checkpoint"):
        read_checkpoint(tmp_path / "cohort.safetensors")


def test_a_batch_of_one_adds_an_axis_in_front() -> None:
    """Arrays of any library get an axis, and lists a list around them. The examiner refuses anything that isn't a dict."""
    answers, features = np.arange(3), torch.zeros(3, 2)
    batch = trees.batch_of_one({"answers": answers, "features": features, "more": [1, 2]})
    assert batch["answers"].shape == (1, 3)
    assert batch["features"].shape == (1, 3, 2)
    assert batch["more"] == [[1, 2]]
    assert trees.batch_of_one([answers]) == [answers]  # type: ignore[arg-type, comparison-overlap]


def test_any_array_becomes_numpys() -> None:
    """Tensors that need gradients, views, and nested lists."""
    weight = torch.arange(6.0, requires_grad=True).view(2, 3)
    assert trees.to_numpy(weight.T).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert trees.to_numpy([[1, 2], [3, 4]]).shape == (2, 2)


def test_numbers_that_json_lacks_and_strides_come_back() -> None:
    """Infinities of an optimizer's settings, and the memory order of a matrix, on which the rounding of products depends."""
    basis = torch.arange(24.0).view(2, 3, 4).permute(2, 0, 1)
    tree: dict[str, Any] = {"rate": float("inf"), "loss": np.float64("nan"), "basis": basis}
    found = trees.unpack(trees.pack(tree))
    assert found["rate"] == float("inf")
    assert np.isnan(found["loss"])
    assert torch.equal(found["basis"], tree["basis"])
    assert found["basis"].stride() == tree["basis"].stride()
