"""Checkpoints: a tree of arrays and JSON scalars in one safetensors file, never a pickle.

What goes in as a torch tensor comes back as one, on the CPU; other arrays come back as numpy's. Tuples come back as lists.
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

_ARRAY, _TENSOR, _BFLOAT, _ITEMS = "__array__", "__tensor__", "__bfloat16__", "__items__"


def pack(tree: dict[str, Any]) -> bytes:
    """The file's bytes for a tree of dicts, lists, arrays (of any library) and JSON scalars.

    Raises:
        TypeError: the tree holds something else.
    """
    found: dict[str, NDArray[Any]] = {}
    skeleton = json.dumps(_take_arrays(tree, "", found), allow_nan=False)
    return save(found, {"tree": skeleton, "sha256": _digest(skeleton, found)})


def unpack(data: bytes) -> dict[str, Any]:
    """The tree that `pack` made these bytes of.

    Raises:
        ValueError: they are cut short, damaged, or something else.
    """
    try:
        found = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if metadata["sha256"] != _digest(metadata["tree"], found):
            raise ValueError("its checksum doesn't match")
        tree: dict[str, Any] = _put_arrays(json.loads(metadata["tree"]), found)
        return tree
    except (SafetensorError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _take_arrays(node: Any, path: str, found: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        taken = {key: _take_arrays(value, f"{path}/{key}", found) for key, value in node.items()}
        # JSON's keys are text; an optimizer's, say, are numbers.
        return taken if all(isinstance(key, str) for key in taken) else {_ITEMS: [list(item) for item in taken.items()]}
    if isinstance(node, list | tuple):
        return [_take_arrays(value, f"{path}/{i}", found) for i, value in enumerate(node)]
    if arrays.is_array_api_obj(node) and not isinstance(node, np.generic):
        name = str(len(found))
        if arrays.is_torch_array(node) and str(node.dtype) == "torch.bfloat16":  # which numpy hasn't: its bits
            found[name] = np.asarray(to_numpy(node.view(sys.modules["torch"].int16)), order="C")
            return {_BFLOAT: name}
        found[name] = np.asarray(to_numpy(node), order="C")
        return {_TENSOR if arrays.is_torch_array(node) else _ARRAY: name}
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"state_dict holds a {type(node).__name__} at {path or '/'}: use arrays, numbers, text, lists and dicts")


def _put_arrays(node: Any, found: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return found[node[_ARRAY]]
        if set(node) == {_TENSOR}:
            import torch

            # The file's own memory may be unaligned, which torch's generators don't survive.
            return torch.from_numpy(found[node[_TENSOR]]).clone()
        if set(node) == {_BFLOAT}:
            import torch

            return torch.from_numpy(found[node[_BFLOAT]]).clone().view(torch.bfloat16)
        if set(node) == {_ITEMS}:
            return {key: _put_arrays(value, found) for key, value in node[_ITEMS]}
        return {key: _put_arrays(value, found) for key, value in node.items()}
    return [_put_arrays(value, found) for value in node] if isinstance(node, list) else node


def _digest(skeleton: str, found: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(skeleton.encode())
    for name in sorted(found):
        digest.update(f"{name}{found[name].dtype}{found[name].shape}".encode() + found[name].tobytes())
    return digest.hexdigest()


def batch_of_one(action: Action) -> Action:
    """The action of a single agent as that of a batch with one member; what is no dict is left for `mark` to refuse."""
    if not isinstance(action, dict):
        return action
    return {name: value[None] if hasattr(value, "ndim") else [value] for name, value in action.items()}


def to_numpy(array: Any) -> NDArray[Any]:
    """`array` as a numpy array on the host, whatever library or device it comes from; nested lists too."""
    if not arrays.is_array_api_obj(array):
        return np.asarray(array)
    if arrays.is_torch_array(array):
        return np.asarray(array.detach().cpu().numpy())
    return np.asarray(arrays.to_device(array, "cpu"))
