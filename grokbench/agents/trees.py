"""Trees of arrays as bytes: state dicts in checkpoints, and messages to the process of an entry's agent. Never a pickle.

A tree is made of dicts, lists, arrays of any library, and JSON scalars. Its arrays go into one safetensors file, and its shape
into that file's header as JSON. A torch tensor comes back as one, on the CPU; other arrays come back as numpy's, and tuples as
lists. torch's own pytree isn't used: this works without torch, names the place of a value that can't be stored, and reads
bytes of strangers without running any code.
"""

import hashlib
import json
import sys
from typing import Any

import array_api_compat as arrays
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from grokbench.agents.agent import Action
from grokbench.errors import AgentError, CheckpointError

_ARRAY, _TENSOR, _BFLOAT, _ITEMS = "__array__", "__tensor__", "__bfloat16__", "__items__"
_AXES, _PERMUTED = "__axes__", "__permuted__"  # a tensor whose memory has its axes in another order
_MARKS = {_ARRAY, _TENSOR, _BFLOAT, _ITEMS, _AXES, _PERMUTED}


def pack(tree: dict[str, Any]) -> bytes:
    """The bytes of a tree.

    Raises:
        AgentError: the tree holds something that can't be stored; the message names its place.
    """
    stored: dict[str, NDArray[Any]] = {}
    skeleton = json.dumps(_take_arrays(tree, "", stored))
    return save(stored, {"tree": skeleton, "sha256": _digest(skeleton, stored)})


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
        tree = _put_arrays(json.loads(metadata["tree"]), stored)
        if not isinstance(tree, dict):
            raise CheckpointError(f"it holds a {type(tree).__name__}, not a dict")
        return tree
    except CheckpointError:
        raise
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{type(error).__name__}: {error}") from None


def _take_arrays(node: Any, path: str, stored: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        taken = {_checked_key(key, path): _take_arrays(value, f"{path}/{key}", stored) for key, value in node.items()}
        # JSON's keys are text, but an optimizer's state has numbers for keys. A key that is a mark must not be taken for it.
        plain = all(isinstance(key, str) for key in taken) and not _MARKS & taken.keys()
        return taken if plain else {_ITEMS: [list(item) for item in taken.items()]}
    if isinstance(node, list | tuple):
        return [_take_arrays(value, f"{path}/{i}", stored) for i, value in enumerate(node)]
    if arrays.is_array_api_obj(node) and not isinstance(node, np.generic):
        name, is_tensor = str(len(stored)), arrays.is_torch_array(node)
        if is_tensor and (axes := _axes_by_stride(node)):
            return {_AXES: axes, _PERMUTED: _take_arrays(node.permute(axes), path, stored)}
        if is_tensor and str(node.dtype) == "torch.bfloat16":  # numpy has no bfloat16, so its bits are stored
            stored[name] = _native(node.view(sys.modules["torch"].int16), path)
            return {_BFLOAT: name}
        stored[name] = _native(node, path)
        return {_TENSOR if is_tensor else _ARRAY: name}
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise AgentError(f"state_dict holds a {type(node).__name__} at {path or '/'}: use arrays, numbers, text, lists and dicts")


def _checked_key(key: Any, path: str) -> Any:
    plain = key.item() if isinstance(key, np.generic) else key
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise AgentError(f"state_dict holds a {type(key).__name__} as a key at {path or '/'}: use text and numbers as keys")


def _native(array: Any, path: str) -> NDArray[Any]:
    """The array as numpy's, in the order of C and of this machine's bytes: safetensors writes its memory as it is."""
    try:
        native = to_numpy(array)
    except TypeError as error:  # numpy has no sparse arrays, and no floats of eight bits
        raise AgentError(f"state_dict holds an array at {path or '/'} that can't be stored: {error}") from error
    if native.dtype.kind in "OSUMm" or native.dtype.itemsize > 8:
        raise AgentError(f"state_dict holds an array of {native.dtype} at {path or '/'}: use numbers of at most 64 bits")
    return np.asarray(native, dtype=native.dtype.newbyteorder("="), order="C")


def _axes_by_stride(tensor: Any) -> list[int] | None:
    """The order of axes in which a tensor is contiguous, if it is another than its own.

    A matrix product can round otherwise on a transposed matrix, so a resumed run needs the same memory.
    """
    if tensor.is_contiguous():
        return None
    axes = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
    return axes if tensor.permute(axes).is_contiguous() else None


def _put_arrays(node: Any, stored: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return stored[node[_ARRAY]]
        if set(node) == {_TENSOR}:
            import torch

            # The file's own memory may be unaligned, which torch's generators don't survive.
            return torch.from_numpy(stored[node[_TENSOR]]).clone()
        if set(node) == {_BFLOAT}:
            import torch

            return torch.from_numpy(stored[node[_BFLOAT]]).clone().view(torch.bfloat16)
        if set(node) == {_AXES, _PERMUTED}:
            permuted = _put_arrays(node[_PERMUTED], stored)
            return permuted.permute([node[_AXES].index(axis) for axis in range(permuted.ndim)])
        if set(node) == {_ITEMS}:
            return {key: _put_arrays(value, stored) for key, value in node[_ITEMS]}
        return {key: _put_arrays(value, stored) for key, value in node.items()}
    return [_put_arrays(value, stored) for value in node] if isinstance(node, list) else node


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
    """An array of any library and device, or nested lists, as a numpy array on the host."""
    if not arrays.is_array_api_obj(array):
        return np.asarray(array)
    if arrays.is_torch_array(array):
        return np.asarray(array.detach().cpu().numpy())
    return np.asarray(arrays.to_device(array, "cpu"))
