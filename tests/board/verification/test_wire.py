"""Messages over a pipe: what goes in comes out, and neither side waits forever."""

import os
import struct
import threading
import time
from collections.abc import Iterator
from io import RawIOBase
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from grokbench.agents import trees
from grokbench.board.verification.wire import LARGEST_MESSAGE, receive, send
from grokbench.errors import RemoteError

Pipe = tuple[RawIOBase, RawIOBase]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """The reading and the writing end of a pipe."""
    source, target = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as reader, os.fdopen(target, "wb", buffering=0) as writer:
        yield cast(RawIOBase, reader), cast(RawIOBase, writer)


def test_a_message_arrives_as_it_was_sent(pipe: Pipe) -> None:
    """Arrays, tensors and nested scalars; several messages in their order."""
    reader, writer = pipe
    message: dict[str, Any] = {"array": np.arange(6).reshape(2, 3), "tensor": torch.ones(3), "rest": {"a": [1, None, "x"]}}
    send(writer, message)
    send(writer, {"next": True})
    arrived = receive(reader)
    assert arrived is not None
    np.testing.assert_array_equal(arrived["array"], message["array"])
    assert torch.equal(arrived["tensor"], message["tensor"])
    assert arrived["rest"] == message["rest"]
    assert receive(reader) == {"next": True}


def test_a_closed_pipe_has_no_message(pipe: Pipe) -> None:
    """None, not an error: the other process may just have ended."""
    reader, writer = pipe
    writer.close()
    assert receive(reader) is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff" * 8, "a message of 18,446,744,073,709,551,615 bytes"),
        (b"\x04\0\0\0\0\0\0\0junk", "can't be read"),
        (b"\x04\0\0\0\0\0\0\0ju", "in the middle of a message"),
        (b"\x04\0", "in the middle of a message"),
        (b"\0" * 8, "can't be read"),
        (struct.pack("<Q", LARGEST_MESSAGE + 1), "a message of 1,073,741,825 bytes"),
    ],
)
def test_nonsense_is_an_error(pipe: Pipe, data: bytes, problem: str) -> None:
    """A huge length is refused before anything is read."""
    reader, writer = pipe
    os.write(writer.fileno(), data)
    writer.close()
    with pytest.raises(RemoteError, match=problem):
        receive(reader)


def test_a_silent_sender_is_not_waited_for(pipe: Pipe) -> None:
    """The deadline is for the whole message."""
    reader, writer = pipe
    os.write(writer.fileno(), b"\x04\0\0\0")
    with pytest.raises(RemoteError, match="longer than its time limit"):
        receive(reader, deadline=time.monotonic() + 0.2)


def test_a_reader_that_never_reads_is_not_waited_for(pipe: Pipe) -> None:
    """Once the pipe is full."""
    _, writer = pipe
    os.set_blocking(writer.fileno(), False)
    with pytest.raises(RemoteError, match="longer than its time limit"):
        send(writer, {"table": np.zeros(1_000_000)}, deadline=time.monotonic() + 0.2)


def framed(data: bytes) -> bytes:
    """The data with its length before it."""
    return struct.pack("<Q", len(data)) + data


@pytest.mark.parametrize("tree", [[1, 2], 5, None, "error"], ids=str)
def test_a_message_is_a_dict(pipe: Pipe, tree: Any) -> None:
    """Another tree is refused. None isn't taken for the stream's end."""
    reader, writer = pipe
    os.write(writer.fileno(), framed(trees.pack(tree)))
    with pytest.raises(RemoteError, match=f"can't be read .*it holds a {type(tree).__name__}, not a dict"):
        receive(reader)


@pytest.mark.parametrize(
    "skeleton",
    [
        '{"__kind__": "tensor", "value": 1}',
        '{"__kind__": "dict", "value": [[1]]}',
        '{"__kind__": "x", "value": 1}',
        "[" * 10_000,
    ],
)
def test_a_tree_that_can_not_be_built_is_an_error(pipe: Pipe, skeleton: str) -> None:
    """Its checksum is right, so only the building of its arrays can find it."""
    reader, writer = pipe
    stored = {"0": np.zeros(3, np.int8)}
    data = save(stored, {"tree": skeleton, "sha256": trees._digest(skeleton, stored)})
    os.write(writer.fileno(), framed(data))
    with pytest.raises(RemoteError, match="can't be read"):
        receive(reader)


def test_a_message_may_arrive_in_pieces(pipe: Pipe) -> None:
    """Even in the middle of its length."""
    reader, writer = pipe
    data = framed(trees.pack({"a": [1, 2]}))

    def write_slowly() -> None:
        for start in (0, 3, 9, 50):
            end = {0: 3, 3: 9, 9: 50, 50: len(data)}[start]
            os.write(writer.fileno(), data[start:end])
            time.sleep(0.01)

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert receive(reader, deadline=time.monotonic() + 30) == {"a": [1, 2]}
    thread.join()


def test_a_deadline_that_has_passed(pipe: Pipe) -> None:
    """What has arrived meanwhile is too late, and nothing is sent any more: else a quick answer would never be late."""
    reader, writer = pipe
    send(writer, {"a": 1})
    with pytest.raises(RemoteError, match="longer than its time limit"):
        receive(reader, deadline=time.monotonic() - 1)
    with pytest.raises(RemoteError, match="longer than its time limit"):
        send(writer, {"a": 1}, deadline=time.monotonic() - 1)
