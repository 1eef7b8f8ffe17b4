"""Blocks of code in Markdown files, to be run by the tests."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        path: the Markdown file.
        line: the line of the block's first line of code, counted from 1.
        language: what follows the opening fence, such as `python`; empty if nothing does.
        code: the text between the fences.
    """

    path: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        name = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{name}:{self.line}"

    def run(self, names: dict[str, object]) -> None:
        """Execute the code with `names` as its globals. A traceback names the line of the Markdown file."""
        exec(compile("\n" * (self.line - 1) + self.code, str(self.path), "exec"), names)


def blocks(path: Path, *, language: str) -> list[Block]:
    """The blocks of one language in a Markdown file, in order."""
    text = path.read_text(encoding="utf-8")
    found = (Block(path, text.count("\n", 0, match.start("code")) + 1, *match.groups()) for match in BLOCK.finditer(text))
    return [block for block in found if block.language == language]
