"""Trees of arrays and JSON scalars over a pipe, never a pickle."""

import os
import select
import struct
import time
from io import RawIOBase
from typing import Any

from grokbench.agents import trees
from grokbench.errors import RemoteError

LARGEST_MESSAGE = 1 << 30  # bytes


TOO_LONG = "it took longer than it may"


def send(stream: RawIOBase, tree: dict[str, Any], deadline: float | None = None) -> None:
    """Write a tree of arrays and JSON scalars, its length before it.

    Raises:
        RemoteError: nobody has read it by the deadline (`time.monotonic`); `stream` mustn't block then.
    """
    data = trees.pack(tree)
    rest = memoryview(struct.pack("<Q", len(data)) + data)
    while rest:
        if deadline is not None and not select.select([], [stream], [], max(0.0, deadline - time.monotonic()))[1]:
            raise RemoteError(TOO_LONG)
        rest = rest[os.write(stream.fileno(), rest) :]


def receive(stream: RawIOBase, deadline: float | None = None) -> dict[str, Any] | None:
    """The next tree, or None at the stream's end.

    Raises:
        RemoteError: it isn't one, or isn't there by the deadline (`time.monotonic`).
    """
    head = _read(stream, 8, deadline)
    if not head:
        return None
    (length,) = struct.unpack("<Q", head)
    if length > LARGEST_MESSAGE:
        raise RemoteError(f"a message of {length:,} bytes, more than {LARGEST_MESSAGE:,}")
    try:
        return trees.unpack(_read(stream, length, deadline))
    except ValueError as error:
        raise RemoteError(f"a message that can't be read ({error})") from None


def _read(stream: RawIOBase, count: int, deadline: float | None) -> bytes:
    """Exactly `count` bytes, or none at the stream's end."""
    data = bytearray()
    while len(data) < count:
        if deadline is not None and not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise RemoteError(TOO_LONG)
        chunk = os.read(stream.fileno(), min(count - len(data), 1 << 20))
        if not chunk:
            if data:
                raise RemoteError("it ended in the middle of a message")
            return b""
        data += chunk
    return bytes(data)
