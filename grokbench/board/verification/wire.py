"""Messages over a pipe: trees of arrays and JSON scalars with their length before them, never a pickle."""

import os
import select
import struct
import time
from io import RawIOBase
from typing import Any

from grokbench.agents import trees
from grokbench.errors import RemoteError

LARGEST_MESSAGE = 1 << 30  # bytes
LARGEST_READ = 1 << 20  # bytes at once
MESSAGE_LENGTH = struct.Struct("<Q")


def send(stream: RawIOBase, message: dict[str, Any], *, deadline: float | None = None) -> None:
    """Write a message.

    Args:
        stream: an unbuffered stream. It must not block if there is a deadline.
        message: a tree of dicts, lists, arrays and JSON scalars.
        deadline: the `time.monotonic()` until which the reader must have read enough.

    Raises:
        RemoteError: the reader hasn't read enough by the deadline.
    """
    data = trees.pack(message)
    rest = memoryview(MESSAGE_LENGTH.pack(len(data)) + data)
    while rest:
        _, ready, _ = select.select([], [stream], [], _seconds_until(deadline))
        if not ready:
            raise _too_slow()
        rest = rest[os.write(stream.fileno(), rest) :]


def receive(stream: RawIOBase, *, deadline: float | None = None) -> dict[str, Any] | None:
    """The next message, or None at the stream's end.

    Args:
        stream: an unbuffered stream.
        deadline: the `time.monotonic()` until which the whole message must be there.

    Raises:
        RemoteError: the message is too large, can't be read, or isn't there by the deadline.
    """
    head = _read(stream, MESSAGE_LENGTH.size, deadline)
    if not head:
        return None
    (length,) = MESSAGE_LENGTH.unpack(head)
    if length > LARGEST_MESSAGE:
        raise RemoteError(f"the agent sent a message of {length:,} bytes, more than {LARGEST_MESSAGE:,}")
    data = _read(stream, length, deadline)
    try:
        return trees.unpack(data)
    except ValueError as error:
        raise RemoteError(f"the agent sent a message that can't be read ({error})") from None


def _read(stream: RawIOBase, count: int, deadline: float | None) -> bytes:
    """Exactly `count` bytes, or none at the stream's end."""
    data = bytearray()
    while len(data) < count:
        ready, _, _ = select.select([stream], [], [], _seconds_until(deadline))
        if not ready:
            raise _too_slow()
        chunk = os.read(stream.fileno(), min(count - len(data), LARGEST_READ))
        if not chunk and data:
            raise RemoteError("the agent's process ended in the middle of a message")
        if not chunk:
            return b""
        data += chunk
    return bytes(data)


def _seconds_until(deadline: float | None) -> float | None:
    """The time that is left. An answer after the deadline is too late, also if it is there already."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise _too_slow()
    return left


def _too_slow() -> RemoteError:
    return RemoteError("the agent took longer than its time limit")
