"""JSON schemas of what the leaderboard stores, for tools of other people."""

import json
from typing import Any

from pydantic import TypeAdapter

from grokbench.board.entries.form import Form
from grokbench.board.entries.verdicts import VERDICTS
from grokbench.runs.records import RunRecord

END = r"(?![\s\S])"  # nothing follows. In Python, "$" would let a line break follow
SCHEMAS: dict[str, TypeAdapter[Any]] = {"entry": TypeAdapter(Form), "run": TypeAdapter(RunRecord), "verdict": VERDICTS}


def schema_text(name: str) -> str:
    """The JSON schema of `entry.toml`, of a line of `runs.jsonl` ("run"), or of a file of verdicts ("verdict")."""
    return json.dumps(_with_whole_patterns(SCHEMAS[name].json_schema()), indent=1) + "\n"


def _with_whole_patterns(node: Any) -> Any:
    """The schema, in which every pattern that ends in `$` matches whole strings alone, in Python too."""
    if isinstance(node, list):
        return [_with_whole_patterns(child) for child in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _with_whole_patterns(child) for key, child in node.items()}
    pattern = node.get("pattern")
    if isinstance(pattern, str) and pattern.endswith("$"):
        changed["pattern"] = pattern.removesuffix("$") + END
    return changed
