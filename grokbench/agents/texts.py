"""Text files that people write: their line ends and a byte-order mark don't count."""

from pathlib import Path


def text_bytes(path: Path) -> bytes:
    """The content of the text file with the line ends of Unix. So a hash is the same on Windows, where git can change them.

    Raises:
        OSError: the file can't be read.
    """
    return with_unix_line_ends(path.read_bytes())


def with_unix_line_ends(content: bytes) -> bytes:
    r"""The bytes of a text with `\n` for `\r\n` and for `\r`."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def decoded(content: bytes) -> str:
    """The text of UTF-8 bytes, without the byte-order mark that some editors put before it.

    Raises:
        UnicodeDecodeError: the bytes aren't UTF-8.
    """
    return content.decode("utf-8-sig")


def encodable(text: str) -> str:
    """The text as UTF-8 can encode it. Bytes of a file's name that are no text become escapes."""
    return text.encode(errors="backslashreplace").decode()
