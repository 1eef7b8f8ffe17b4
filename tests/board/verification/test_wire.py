"""Messages over a pipe: what goes in comes out, and neither side waits forever."""

import os
import time
from collections.abc import Iterator
from io import RawIOBase
from typing import Any, cast

import numpy as np
import pytest
import torch

from grokbench.board.verification.wire import receive, send
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
    """The deadline holds for the whole message."""
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
