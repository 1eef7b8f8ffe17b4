"""An entry: a folder with `entry.toml`, the recipe (or `agent.py`) and `runs.jsonl`, as a pull request brings it.

Whatever stands in the folder is taken for hostile: sizes are looked at before contents, links aren't followed, and text is
data until `table.py` has escaped it.
"""

import hashlib
import json
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from grokbench.agents.recipes import RECIPES, find_recipe, is_baseline, recipe_names
from grokbench.board.entries.findings import Finding, Unreadable
from grokbench.board.entries.form import NAME, OWN, Form, make_form
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs.records import RunRecord, refuse_constant
from grokbench.tasks import get_suite, parse_id

FORM, RUNS, RECIPE, CODE = "entry.toml", "runs.jsonl", "recipe.toml", "agent.py"
LARGEST = {FORM: 16_384, RECIPE: 16_384, CODE: 262_144, RUNS: 64 << 20}  # bytes
LONGEST_LINE = 2 << 20  # bytes of one run
MOST_RUNS = 1_000
DEEPEST = 30  # levels of nesting


@dataclass(frozen=True)
class Entry:
    """An entry that could be read.

    Attributes:
        name: the folder's.
        target: what makes the agent, as `module:Class`; `agent:Class` is `agent.py` in the folder.
        hyperparameters: the recipe's.
        source: SHA-256 of `agent.py`, empty without one.
        digest: SHA-256 of all its files: what a verdict speaks of, and what a salt is mixed with.
        runs: the records, in the file's order; those that can't be read are missing.
    """

    name: str
    form: Form
    target: str
    hyperparameters: dict[str, Any]
    source: str
    digest: str
    runs: tuple[RunRecord, ...]

    @property
    def architecture(self) -> str:
        """The baseline whose network it trains, or what it calls its own."""
        return self.target.rpartition(":")[2] if is_baseline(self.target) else "own"


def read_entry(folder: Path) -> tuple[Entry | None, list[Finding]]:
    """The entry in `folder`, as far as it can be read, and everything about its files that is wrong."""
    findings = list(_stray(folder))
    try:
        form = _form(folder)
        target, hyperparameters, source = _recipe(folder, form)
        runs, unreadable = _runs(folder)
        digest = _digest(folder)
    except Unreadable as error:
        return None, [*findings, error.finding]
    return Entry(folder.name, form, target, hyperparameters, source, digest, tuple(runs)), findings + unreadable


def entry_folder(leaderboard: Path, name: str) -> Path:
    """Where the entry of this name stands. Raises ValueError for a name that can't be an entry's."""
    if not NAME.fullmatch(name):
        raise ValueError(f"an entry's name has small letters, digits and hyphens, 2 to 41 in all, got {name!r}")
    return leaderboard / "entries" / name


def canonical(record: RunRecord) -> str:
    """The record as the one line that `runs.jsonl` has for it."""
    return json.dumps(
        record.model_dump(by_alias=True), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def run_key(record: RunRecord) -> tuple[str, int]:
    """Where the record stands among the others."""
    return record.task, record.seed


def _stray(folder: Path) -> Iterator[Finding]:
    if not NAME.fullmatch(folder.name):
        yield Finding(".", "", "the folder's name isn't one", "use small letters, digits and hyphens, 2 to 41 in all")
    for path in sorted(folder.iterdir()):
        shown = ascii(path.name)[1:-1][:80]
        if path.is_symlink():
            yield Finding(shown, "", "is a link", "put the file itself there")
        elif path.name not in LARGEST:
            yield Finding(shown, "", "doesn't belong to an entry", f"leave only {', '.join(LARGEST)}")


def _digest(folder: Path) -> str:
    """Of every file's name and contents."""
    content = hashlib.sha256()
    for name in sorted(name for name in LARGEST if (folder / name).exists()):
        content.update(f"{name} {hashlib.sha256(_bytes(folder, name)).hexdigest()}\n".encode())
    return content.hexdigest()


def _bytes(folder: Path, name: str) -> bytes:
    return read_plain(folder / name, name, LARGEST[name])


def read_plain(path: Path, name: str, limit: int) -> bytes:
    """The contents of a plain file of at most `limit` bytes.

    Raises:
        Unreadable: it isn't one; the finding calls it `name`.
    """
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(Finding(name, "", "isn't a plain file", "put the file itself there"))
        if found.st_size > limit:
            raise Unreadable(Finding(name, "", f"has {found.st_size:,} bytes, more than {limit:,}", "bring no more than that"))
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(
            Finding(name, "", f"can't be read ({error.strerror})", "put a plain file there that everyone may read")
        ) from None


def _toml(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(_bytes(folder, name).decode("utf-8"))
        _see_its_depth(content)
        return content
    except UnicodeDecodeError:
        raise Unreadable(Finding(name, "", "isn't UTF-8 text", "save it as UTF-8")) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(Finding(name, "", f"isn't valid TOML ({error})", "see an entry that stands")) from None


def _form(folder: Path) -> Form:
    content = _toml(folder, FORM)
    try:
        return make_form(content)
    except ValueError as error:
        raise Unreadable(Finding(FORM, "", str(error), "leaderboard/schemas/entry.schema.json says what it may hold")) from None


def _recipe(folder: Path, form: Form) -> tuple[str, dict[str, Any], str]:
    """Target, hyperparameters and the source's hash, from the files alone."""
    has_code = (folder / CODE).exists()
    source = hashlib.sha256(_bytes(folder, CODE)).hexdigest() if has_code else ""
    if form.agent != RECIPE:
        if not has_code:
            raise Unreadable(Finding(CODE, "", "is missing", f"{form.agent} has to stand in it"))
        return form.agent, {}, source
    content = _toml(folder, RECIPE)
    target = content.pop("agent", None)
    if not isinstance(target, str) or (target not in baseline_networks() and not OWN.fullmatch(target)):
        remedy = f'name a baseline ("{RECIPES}.agents:transformer") or the code beside it ("agent:MyAgent")'
        raise Unreadable(Finding(RECIPE, "", "has no agent that could be run from here", remedy))
    if target.startswith("agent:") != has_code:
        remedy = f'bring {CODE} just where the recipe says agent = "agent:…"'
        raise Unreadable(Finding(RECIPE, "", f"names {target[:80]}, and {CODE} is {'' if has_code else 'not '}there", remedy))
    return target, content, source


@cache
def baseline_networks() -> dict[str, list[dict[str, Any]]]:
    """What makes the baselines' agents, each with the [network] tables of its recipes."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for recipe in map(find_recipe, recipe_names()):
        networks.setdefault(recipe.target, []).append(recipe.hyperparameters["network"])
    return networks


def _runs(folder: Path) -> tuple[list[RunRecord], list[Finding]]:
    """The records that can be read, and what is wrong with the other lines and with their order."""
    runs: list[RunRecord] = []
    findings = []
    lines = _bytes(folder, RUNS).split(b"\n")
    remedy = "write the file with `grokbench submit`"
    if lines.pop() != b"":
        findings.append(Finding(RUNS, "", "doesn't end with a line break: it may be cut short", remedy))
    if len(lines) > MOST_RUNS:
        raise Unreadable(Finding(RUNS, "", f"has {len(lines):,} lines, more than {MOST_RUNS:,}", remedy))
    for number, line in enumerate(lines, start=1):
        try:
            runs.append(_run(line))
        except ValueError as error:
            findings.append(Finding(RUNS, f"line {number}", str(error)[:500], remedy))
    if [run_key(run) for run in runs] != sorted(run_key(run) for run in runs):
        findings.append(Finding(RUNS, "", "isn't sorted by task and seed", remedy))
    return runs, findings


def _run(line: bytes) -> RunRecord:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"has {len(line):,} bytes, more than {LONGEST_LINE:,}")
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=_no_duplicates)
        _see_its_depth(content)
        record = RunRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg']}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("isn't UTF-8 text") from None
    if canonical(record).encode() != line:
        raise ValueError("isn't in canonical form")
    return record


def _see_its_depth(content: Any) -> None:
    """Raise ValueError where something is nested so deeply that looking at it could fail."""
    level = [content]
    for _ in range(DEEPEST):
        nodes = [list(node.values()) if isinstance(node, dict) else node for node in level]
        level = [child for node in nodes if isinstance(node, list) for child in node]
    if level:
        raise ValueError("is nested too deeply")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


@cache
def official_runs(suite_name: str) -> list[tuple[str, int]]:
    """Task id and seed of every run that an entry to the suite has, the control's too, in the file's order."""
    suite = get_suite(suite_name)
    cells = [(parse_id(task).id, seed) for task in suite.tasks for seed in PROTOCOL.official_seeds]
    return sorted(cells + [(parse_id(suite.control).id, seed) for seed in suite.control_seeds])
