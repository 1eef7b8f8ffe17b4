"""Trees of arrays as bytes: state dicts in checkpoints, and messages to the process of an entry's agent. Never a pickle.

A tree is made of the containers, scalars and arrays that `pack` lists. Its arrays go into one safetensors file, and its shape
into that file's header as JSON. torch's own pytree isn't used: this works without torch, names the place of a value that can't
be stored, and reads bytes of strangers without running any code.
"""

import hashlib
import json
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

import array_api_compat as arrays
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from grokbench.agents.agent import Action
from grokbench.errors import AgentError, CheckpointError

KIND, VALUE = "__kind__", "value"  # what JSON doesn't have is {KIND: its kind, VALUE: …}
CONTAINERS: dict[str, type[Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
PLAIN = str | int | float | bool | None
EXPECTED = "use arrays, numbers, text, lists, tuples, sets, deques and dicts"


def pack(tree: dict[str, Any]) -> bytes:
    """The bytes of a tree.

    A tree is made of dicts, counters, lists, tuples, sets, deques, arrays of any library, numbers, text, bytes, None, and
    dtypes and devices of torch. Everything comes back as it was, with two exceptions: a torch tensor is on the CPU, and an
    array of another library is numpy's.

    Raises:
        AgentError: the tree holds something that can't be stored; the message names its place.
    """
    writer = _Writer()
    skeleton = json.dumps(writer.take(tree, ""))
    return save(writer.stored, {"tree": skeleton, "sha256": _digest(skeleton, writer.stored)})


def unpack(data: bytes) -> dict[str, Any]:
    """The tree whose bytes `pack` made.

    Raises:
        CheckpointError: the bytes are cut short, damaged, or no tree's.
    """
    try:
        stored = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if metadata["sha256"] != _digest(metadata["tree"], stored):
            raise CheckpointError("its checksum doesn't match")
        tree = _Reader(stored).put(json.loads(metadata["tree"]))
        if not isinstance(tree, dict):
            raise CheckpointError(f"it holds a {type(tree).__name__}, not a dict")
        return tree
    except CheckpointError:
        raise
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{type(error).__name__}: {error}") from None


class _Writer:
    """Turns a tree into JSON, and keeps its arrays in `stored`."""

    def __init__(self) -> None:
        self.stored: dict[str, NDArray[Any]] = {}

    def take(self, node: Any, path: str) -> Any:
        """The JSON of a node at `path`."""
        if arrays.is_array_api_obj(node):
            return self._array(node, path)
        if type(node) in (dict, OrderedDict):
            return self._dict(node, path)
        if type(node) is list:
            return self._items(node, path)
        if node is None or isinstance(node, PLAIN):
            return node
        kind, value = self._special(node, path)
        return {KIND: kind, VALUE: value}

    def _special(self, node: Any, path: str) -> tuple[str, Any]:
        """Kind and JSON of a node that JSON doesn't have."""
        if isinstance(node, bytes | bytearray):
            return "bytes", node.hex()
        if isinstance(node, complex):
            return "complex", [node.real, node.imag]
        if type(node) is deque:
            return "deque", [self._items(node, path), node.maxlen]
        if type(node) is Counter:  # the milestones of torch's schedules
            return "counter", self._dict(dict(node), path)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(node, torch.dtype | torch.device):
            return type(node).__name__, str(node).removeprefix("torch.")
        if torch is not None and type(node) is torch.Size:
            return "tuple", list(node)
        for kind, container in CONTAINERS.items():
            if type(node) is container:
                return kind, self._items(node, path)
        raise AgentError(f"state_dict holds a {type(node).__name__} at {path or '/'}: {EXPECTED}")

    def _items(self, nodes: Iterable[Any], path: str) -> list[Any]:
        return [self.take(node, f"{path}/{i}") for i, node in enumerate(nodes)]

    def _dict(self, node: dict[Any, Any], path: str) -> Any:
        """A dict. JSON's keys are text, but an optimizer's state has numbers for keys, or tuples."""
        if all(isinstance(key, str) for key in node) and KIND not in node:
            return {key: self.take(value, f"{path}/{key}") for key, value in node.items()}
        return {KIND: "dict", VALUE: [[self._key(key, path), self.take(value, f"{path}/{key}")] for key, value in node.items()]}

    def _key(self, key: Any, path: str) -> Any:
        try:
            return self.take(key, path)
        except AgentError:
            raise AgentError(f"state_dict holds a {type(key).__name__} as a key at {path or '/'}: {EXPECTED}") from None

    def _array(self, node: Any, path: str) -> Any:
        is_tensor = arrays.is_torch_array(node)
        try:
            axes = _axes_by_stride(node) if is_tensor else None
            content = _tensor_bytes(node, axes) if is_tensor else _array_bytes(node)
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:  # such as sparse ones
            raise AgentError(f"state_dict holds an array at {path or '/'} that can't be stored: {error}") from error
        name = str(len(self.stored))
        self.stored[name] = content
        if is_tensor:
            return {KIND: "tensor", VALUE: [name, str(node.dtype).removeprefix("torch."), list(node.shape), axes]}
        kind = "scalar" if isinstance(node, np.generic) else "array"
        return {KIND: kind, VALUE: [name, np.asarray(node).dtype.str, list(node.shape)]}


class _Reader:
    """Turns JSON back into a tree, with the arrays of a file."""

    def __init__(self, stored: dict[str, NDArray[Any]]) -> None:
        self.stored = stored

    def put(self, node: Any) -> Any:
        """The node that `_Writer.take` turned into this JSON."""
        if isinstance(node, list):
            return [self.put(value) for value in node]
        if not isinstance(node, dict):
            return node
        if KIND not in node:
            return {key: self.put(value) for key, value in node.items()}
        put: Callable[[Any], Any] = getattr(self, f"_put_{node[KIND]}")
        return put(node[VALUE])

    def _put_dict(self, items: Any) -> dict[Any, Any]:
        return {self.put(key): self.put(value) for key, value in items}

    def _put_tuple(self, items: Any) -> tuple[Any, ...]:
        return tuple(self.put(item) for item in items)

    def _put_set(self, items: Any) -> set[Any]:
        return {self.put(item) for item in items}

    def _put_frozenset(self, items: Any) -> frozenset[Any]:
        return frozenset(self._put_set(items))

    def _put_deque(self, value: Any) -> deque[Any]:
        items, longest = value
        return deque((self.put(item) for item in items), longest)

    def _put_counter(self, counts: Any) -> Counter[Any]:
        return Counter(self.put(counts))

    def _put_bytes(self, text: Any) -> bytes:
        return bytes.fromhex(text)

    def _put_complex(self, parts: Any) -> complex:
        return complex(*parts)

    def _put_dtype(self, name: Any) -> Any:
        import torch

        dtype = getattr(torch, name)
        if not isinstance(dtype, torch.dtype):
            raise CheckpointError(f"torch has no dtype {name!r}")
        return dtype

    def _put_device(self, name: Any) -> Any:
        import torch

        return torch.device(name)

    def _put_array(self, value: Any) -> NDArray[Any]:
        name, dtype, shape = value
        return self.stored[name].view(_number_dtype(np.dtype(dtype))).reshape(shape)

    def _put_scalar(self, value: Any) -> Any:
        return self._put_array(value)[()]

    def _put_tensor(self, value: Any) -> Any:
        import torch

        name, dtype, shape, axes = value
        # The file's own memory may be unaligned, which torch's generators don't survive.
        flat = torch.from_numpy(self.stored[name]).clone().view(self._put_dtype(dtype))
        if axes is None:
            return flat.reshape(shape)
        ordered = flat.reshape([shape[axis] for axis in axes])
        return ordered.permute([axes.index(axis) for axis in range(len(axes))])


def _tensor_bytes(tensor: Any, axes: list[int] | None) -> NDArray[np.uint8]:
    """The bytes of a tensor in the order of its memory."""
    ordered = tensor.detach().resolve_conj().resolve_neg().cpu()
    ordered = ordered if axes is None else ordered.permute(axes)
    content: NDArray[np.uint8] = ordered.contiguous().reshape(-1).view(sys.modules["torch"].uint8).numpy()
    return content


def _array_bytes(array: Any) -> NDArray[np.uint8]:
    native = to_numpy(array)
    _number_dtype(native.dtype)
    return np.frombuffer(native.tobytes(), dtype=np.uint8)


def _number_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of an array of numbers. Raises TypeError for others, whose bytes mean something in this process alone."""
    if dtype.kind not in "biufc":
        raise TypeError(f"its dtype is {dtype}, not one of numbers")
    return dtype


def _axes_by_stride(tensor: Any) -> list[int] | None:
    """The order of axes in which a tensor is contiguous, if it is another than its own.

    A matrix product can round otherwise on a transposed matrix, so a resumed run needs the same memory.
    """
    if tensor.is_contiguous():
        return None
    axes = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
    return axes if tensor.permute(axes).is_contiguous() else None


def _digest(skeleton: str, stored: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(skeleton.encode())
    for name in sorted(stored):
        digest.update(f"{name}{stored[name].dtype}{stored[name].shape}".encode() + stored[name].tobytes())
    return digest.hexdigest()


def batch_of_one(action: Action) -> Action:
    """An action with a leading axis of one member added. What isn't a dict is left for the examiner to refuse."""
    if not isinstance(action, dict):
        return action
    return {name: value[None] if hasattr(value, "ndim") else [value] for name, value in action.items()}


def to_numpy(array: Any) -> NDArray[Any]:
    """An array of any library and device, or nested lists, as a numpy array on the host. bfloat16 becomes float32, exactly."""
    if not arrays.is_array_api_obj(array):
        return np.asarray(array)
    if arrays.is_torch_array(array):
        shown = array.float() if str(array.dtype) == "torch.bfloat16" else array
        return np.asarray(shown.detach().cpu().numpy())
    return np.asarray(arrays.to_device(array, "cpu"))
