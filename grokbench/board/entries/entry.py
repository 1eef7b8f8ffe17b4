"""An entry: a folder with `entry.toml`, the recipe (or `agent.py`) and `runs.jsonl`, as a pull request brings it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from grokbench.agents.recipes import Recipe, find_recipe, recipe_names
from grokbench.agents.targets import BASELINES, is_baseline, own_target
from grokbench.board.entries.files import (
    CODE,
    FORM,
    RECIPE,
    RUNS,
    TUNING,
    digest_of,
    read_file,
    read_line,
    read_toml,
    stray_files,
)
from grokbench.board.entries.findings import Finding, UnreadableFile
from grokbench.board.entries.form import NAME_RULE, OWN_AGENT, Form, is_entry_name, make_form
from grokbench.board.entries.tuning_lines import PACK_TUNING_AGAIN, PackedTuning, read_tuning
from grokbench.errors import EntryError
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs.records import RunRecord
from grokbench.runs.schema import StoredCount
from grokbench.tasks import get_suite, make_instance, parse_id

MOST_RUNS = 1_000
PACK_AGAIN = "write the file with `grokbench submit`"

RunKey = tuple[str, StoredCount]  # task and seed


@dataclass(frozen=True)
class Entry:
    """An entry that could be read.

    Attributes:
        name: the folder's name.
        form: the contents of `entry.toml`.
        recipe: what makes the agent. The target `agent:Class` is a class in `agent.py` of the folder.
        digest: SHA-256 of what a re-execution depends on. A verdict holds for one digest, and salts are mixed with it.
        runs: the records in the file's order, without those that can't be read.
        tuning: the contents of `tuning.jsonl`; None for an untuned setting.
    """

    name: str
    form: Form
    recipe: Recipe
    digest: str
    runs: tuple[RunRecord, ...]
    tuning: PackedTuning | None = None

    @property
    def network(self) -> str:
        """The baseline whose network the entry trains, or "own"."""
        target = self.recipe.target
        return target.rpartition(":")[2] if is_baseline(target) else "own"


def read_entry(folder: Path) -> tuple[Entry | None, list[Finding]]:
    """The entry in `folder` and everything that is wrong with its files. None: a file can't be read at all."""
    findings = list(stray_files(folder))
    try:
        form = _read_form(folder)
        recipe = _read_recipe(folder, form)
        runs, unreadable = _read_runs(folder)
        tuning = _read_tuning(folder)
        digest = digest_of(folder, form)
    except UnreadableFile as error:
        return None, [*findings, error.finding]
    return Entry(folder.name, form, recipe, digest, tuple(runs), tuning), findings + unreadable


def entry_folder(leaderboard: Path, name: str) -> Path:
    """The folder of the entry `name`, whether it exists or not.

    Raises:
        EntryError: no entry can have this name.
    """
    if not is_entry_name(name):
        raise EntryError(f"an entry's name has {NAME_RULE}, got {name!r}")
    return leaderboard / "entries" / name


def run_key(record: RunRecord) -> RunKey:
    """Task and seed: what tells a run from the others of an entry."""
    return record.task, record.seed


@cache
def official_runs(suite_name: str) -> list[RunKey]:
    """Task and seed of every run that an entry to the suite has, the control's too, in the file's order."""
    suite = get_suite(suite_name)
    scored = [(parse_id(task).id, seed) for task in suite.tasks for seed in PROTOCOL.official_seeds]
    return sorted(scored + [(parse_id(suite.control).id, seed) for seed in suite.control_seeds])


@cache
def instance_fingerprint(task: str, seed: int, salt: str = "") -> str:
    """The fingerprint that a run of this task, seed and salt must have."""
    return make_instance(parse_id(task), seed, salt).fingerprint


@cache
def baseline_networks() -> dict[str, list[dict[str, Any]]]:
    """The targets of the baselines' recipes, each with the [network] tables of its recipes."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for recipe in map(find_recipe, recipe_names()):
        networks.setdefault(recipe.target, []).append(recipe.plain_hyperparameters["network"])
    return networks


def _read_form(folder: Path) -> Form:
    content = read_toml(folder, FORM)
    try:
        return make_form(content)
    except EntryError as error:
        remedy = "leaderboard/schemas/entry.schema.json has what it may hold"
        raise UnreadableFile(Finding(FORM, "", str(error), remedy)) from None


def _read_recipe(folder: Path, form: Form) -> Recipe:
    """The recipe of the entry, from its files alone: `agent.py` isn't imported."""
    has_code = (folder / CODE).exists()
    source = hashlib.sha256(read_file(folder, CODE)).hexdigest() if has_code else ""
    if form.agent != RECIPE:
        if not has_code:
            raise UnreadableFile(Finding(CODE, "", "is missing", f"put the class of {form.agent} into it"))
        return Recipe(folder.name, form.agent, {}, source)
    hyperparameters = read_toml(folder, RECIPE)
    target = _checked_target(hyperparameters.pop("agent", None))
    _check_own_target(own_target(target, hyperparameters), has_code)
    return Recipe(folder.name, target, hyperparameters, source)


def packed_recipe(recipe: Recipe) -> Recipe:
    """The recipe as an entry states it: what it takes from outside grokbench is in `agent.py`."""
    own, hyperparameters = own_target(recipe.target, recipe.hyperparameters), recipe.plain_hyperparameters
    if own is None:
        return recipe
    packed = packed_target(str(own))
    if not is_baseline(recipe.target):
        return Recipe(recipe.name, packed, hyperparameters, recipe.source)
    hyperparameters["optimizer"]["target"] = packed
    return Recipe(recipe.name, recipe.target, hyperparameters, recipe.source)


def packed_target(target: str) -> str:
    """The class `target` as an entry names it, whose file is `agent.py`."""
    return f"agent:{target.rpartition(':')[2]}"


def _checked_target(target: Any) -> str:
    """The agent's target, if it is a baseline or a class in `agent.py`."""
    if not isinstance(target, str) or (target not in baseline_networks() and not OWN_AGENT.fullmatch(target)):
        remedy = f'name a baseline ("{BASELINES}.agents:transformer") or a class in {CODE} ("agent:MyAgent")'
        raise UnreadableFile(Finding(RECIPE, "", "has no agent that can be run from here", remedy))
    return target


def _check_own_target(target: Any, has_code: bool) -> None:
    """Refuse a class, the agent or a baseline's optimizer, that isn't in `agent.py`, and an `agent.py` that nothing needs."""
    in_code = isinstance(target, str) and OWN_AGENT.fullmatch(target) is not None
    if target is not None and not in_code:
        remedy = f'put the class into {CODE} and write target = "agent:MyOptimizer"'
        raise UnreadableFile(Finding(RECIPE, "", f"names the class {str(target)[:80]}, which isn't in {CODE}", remedy))
    if in_code != has_code:
        problem = f"names {str(target)[:80]}, and {CODE} is {'' if has_code else 'not '}there"
        remedy = f'bring {CODE} if the recipe has a class "agent:…", and only then'
        raise UnreadableFile(Finding(RECIPE, "", problem, remedy))


def _read_runs(folder: Path) -> tuple[list[RunRecord], list[Finding]]:
    """The records that can be read, and what is wrong with the other lines and with their order."""
    *lines, rest = read_file(folder, RUNS).split(b"\n")
    runs: list[RunRecord] = []
    findings = []
    if rest != b"":
        findings.append(Finding(RUNS, "", "doesn't end with a line break: it may be cut short", PACK_AGAIN))
    if len(lines) > MOST_RUNS:
        raise UnreadableFile(Finding(RUNS, "", f"has {len(lines):,} lines, more than {MOST_RUNS:,}", PACK_AGAIN))
    for number, line in enumerate(lines, start=1):
        try:
            runs.append(read_line(RunRecord, line))
        except ValueError as error:
            findings.append(Finding(RUNS, f"line {number}", str(error)[:500], PACK_AGAIN))
    if [run_key(run) for run in runs] != sorted(run_key(run) for run in runs):
        findings.append(Finding(RUNS, "", "isn't sorted by task and seed", PACK_AGAIN))
    return runs, findings


def _read_tuning(folder: Path) -> PackedTuning | None:
    if not (folder / TUNING).exists():
        return None
    try:
        return read_tuning(read_file(folder, TUNING))
    except EntryError as error:
        raise UnreadableFile(Finding(TUNING, "", str(error), PACK_TUNING_AGAIN)) from None
