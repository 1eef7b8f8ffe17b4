"""Pack an entry out of finished runs."""

import contextlib
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from grokbench.agents.recipes import Recipe
from grokbench.agents.sources import Sources
from grokbench.agents.targets import importable_here, is_baseline, own_target
from grokbench.agents.texts import text_bytes
from grokbench.board import LEADERBOARD
from grokbench.board.entries.checks import Checked, check_entry, entry_names
from grokbench.board.entries.entry import entry_folder, official_runs, packed_recipe, packed_target, run_key
from grokbench.board.entries.files import CODE, FILE_LIMITS, FORM, RECIPE, RUNS, TUNING, canonical, contents
from grokbench.board.entries.form import OWN_AGENT, Division, Form, make_form
from grokbench.board.entries.imports import import_findings
from grokbench.board.entries.run_checks import AGENT_NAME
from grokbench.board.entries.tuning import pack_tuning
from grokbench.errors import EntryError
from grokbench.results.duplicates import without_duplicates
from grokbench.runs.records import RunRecord
from grokbench.sweeps.tuning import RULES
from grokbench.sweeps.tuning_folder import read_folder

MOST_LISTED = 5  # missing runs that an error message names


def pack_entry(
    records: Sequence[RunRecord],
    name: str,
    *,
    title: str,
    authors: Sequence[str],
    link: str,
    description: str,
    settings_tried: int | None = None,
    tuned_on: Sequence[str] = (),
    tuning: Path | None = None,
    suite: str = "core",
    division: Division = "closed",
    agent: str | None = None,
    license: str = "MIT",
    reproduces: str | None = None,
    leaderboard: Path = LEADERBOARD,
) -> Checked:
    """Write an entry to the leaderboard's folder and check it.

    Args:
        records: finished runs, among them all official runs of the suite by one agent.
        name: the entry's folder: small letters, digits and hyphens.
        title: the entry's name in tables.
        authors: the people who made it.
        link: a web address with more about the method.
        description: the method in a few sentences.
        settings_tried: how many settings were tried before this one.
        tuned_on: the tasks on which they were tried.
        tuning: the folder of a finished tuning, or the `tuning.jsonl` of the method's entry to another suite. It says both,
            and makes the entry a tuned one.
        suite: the suite whose runs the entry has.
        division: "closed" (a baseline's network, unchanged; its optimizer may be yours) or "open".
        agent: the agent whose runs are packed. Needed if the records have several.
        license: the license of recipe and code.
        reproduces: the entry of other people that this one reproduces.
        leaderboard: the folder of the leaderboard.

    Returns:
        The written entry with its findings. Findings that refuse it leave the files where they are.

    Raises:
        EntryError: runs are missing, the form can't be right, another entry is there already, or the agent's code has changed.
        ResultError: a run is there twice, with different exams.
    """
    packed = _packed_tuning(tuning, settings_tried, tuned_on)
    content = {
        "title": title,
        "authors": list(authors),
        "link": link,
        "description": description,
        "license": license,
        "protocol": 2,
        "suite": suite,
        "agent": RECIPE,
        "division": division,
        "tuning": {"settings": packed.settings, "tasks": packed.tasks},
        "reproduces": reproduces,
    }
    folder = entry_folder(leaderboard, name)
    write_entry(folder, make_form(content), runs_to_submit(records, suite=suite, agent=agent), tuning=packed.content)
    return check_entry(folder, known_entries=entry_names(folder.parent))


class _PackedTuning(NamedTuple):
    """How an entry was tuned: the number of settings, the tasks, and the file of a tuning by the rules."""

    settings: int
    tasks: list[str]
    content: bytes | None


def _packed_tuning(folder: Path | None, settings: int | None, tasks: Sequence[str]) -> _PackedTuning:
    """What an entry says of its tuning.

    Raises:
        EntryError: both a tuning and a number of settings are given, or neither.
        TuningError: the tuning isn't finished.
    """
    if (folder is None) == (settings is None) or (folder is not None and tasks):
        raise EntryError(
            "say how the recipe was tuned: --tuning with the folder of `grokbench tune`, or --settings-tried and --tuned-on "
            "for an untuned setting"
        )
    if folder is None:
        return _PackedTuning(settings or 0, list(tasks), None)
    content = text_bytes(folder) if folder.is_file() else pack_tuning(*read_folder(folder)).content
    return _PackedTuning(RULES.settings, list(RULES.tasks), content)


def runs_to_submit(records: Sequence[RunRecord], *, suite: str, agent: str | None = None) -> list[RunRecord]:
    """The complete official runs of one agent over a suite, sorted by task and seed.

    Raises:
        EntryError: several agents or recipes have such runs, or runs are missing.
        ResultError: a run is there twice, with different exams.
    """
    wanted = official_runs(suite)
    official = [run for run in records if not run.salt and run.exam_grid is None and run.incomplete is None]
    candidates = [run for run in official if run_key(run) in wanted]
    name = _chosen_agent(candidates, suite, agent)
    chosen = [run for run in candidates if run.agent.name == name]
    if len({run.agent.hash for run in chosen}) > 1:
        raise EntryError("these runs were made by different recipes of the same name: keep each in a folder of its own")
    by_key = {run_key(run): run for run in without_duplicates(chosen)}
    missing = [f"{task} seed {seed}" for task, seed in wanted if (task, seed) not in by_key]
    if missing:
        more = f" and {len(missing) - MOST_LISTED} more" if len(missing) > MOST_LISTED else ""
        shown = ", ".join(missing[:MOST_LISTED]) + more
        raise EntryError(
            f"an entry to {suite!r} has all {len(wanted)} runs; missing or unfinished: {shown}. "
            f"`grokbench run --suite {suite} --agents …` makes them and continues those that were stopped"
        )
    return [by_key[key] for key in wanted]


def _chosen_agent(candidates: Sequence[RunRecord], suite: str, agent: str | None) -> str | None:
    """The agent asked for, or the only one. None: there are no runs at all."""
    names = sorted({run.agent.name for run in candidates})
    if agent is None and len(names) > 1:
        raise EntryError(f"these are runs of {', '.join(names)}: choose one with --agent")
    if agent is not None and agent not in names:
        available = ", ".join(names) or "no agent"
        raise EntryError(f"there are no finished runs of {agent!r} on {suite!r} here, only of {available}")
    return names[0] if agent is None and names else agent


def write_entry(folder: Path, form: Form, runs: Sequence[RunRecord], *, tuning: bytes | None = None) -> None:
    """Write the files of an entry. A folder that has these files already stays as it is.

    Args:
        folder: the entry's folder.
        form: the contents of `entry.toml`.
        runs: its official runs.
        tuning: the contents of `tuning.jsonl`, if it was tuned by the rules.

    Raises:
        EntryError: the folder exists and has other contents, or the agent isn't a baseline and its code has changed or
            enters the closed division.
    """
    agent = runs[0].agent
    files: dict[str, bytes] = {}
    content = form.model_dump(exclude_none=True)
    if not is_baseline(agent.target) and form.division == "closed":
        raise EntryError("the closed division trains a baseline's network; your own agent enters with --division open")
    if own := own_target(agent.target, agent.hyperparameters):
        files[CODE] = _packable_code(own, agent.source)
    packed = packed_recipe(agent.recipe)
    if is_baseline(packed.target) or packed.hyperparameters:
        files[RECIPE] = _toml({"agent": packed.target, **packed.plain_hyperparameters})
    else:
        content["agent"] = packed.target
    files[FORM] = _toml(content)
    files[RUNS] = "".join(f"{canonical(with_shown_name(run, folder.name))}\n" for run in runs).encode()
    if tuning is not None:
        files[TUNING] = tuning
    if folder.exists():
        if contents(folder) == files:
            return
        raise EntryError(f"{folder} is there already, with other contents: choose another name, or remove it")
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def with_shown_name(run: RunRecord, name: str) -> RunRecord:
    """The record, with `name` for its agent if tables can't show the name of the recipe's file. The hash has no name in it."""
    if AGENT_NAME.fullmatch(run.agent.name):
        return run
    return run.model_copy(update={"agent": run.agent.model_copy(update={"name": name})})


def _toml(content: dict[str, Any]) -> bytes:
    return tomli_w.dumps(content).encode()


def obstacles(recipe: Recipe) -> list[str]:
    """What would keep runs of the recipe out of the leaderboard, found before they are made. No code runs."""
    own = own_target(recipe.target, recipe.hyperparameters)
    try:
        return _code_problems(_read_code(own, recipe.source), own) if isinstance(own, str) else []
    except EntryError as error:
        return [str(error)]


def _packable_code(target: str, source: str) -> bytes:
    """The file that defines the class `target`.

    Raises:
        EntryError: it isn't the one that made the runs, or couldn't be run again.
    """
    code = _read_code(target, source)
    if problems := _code_problems(code, target):
        raise EntryError("; ".join(problems))
    return code


def _read_code(target: str, source: str) -> bytes:
    """The file that defines the class `target`, if it is still the one that made the runs, with SHA-256 `source`.

    That is the hash of the file alone, or with its other modules, which no entry can bring.
    """
    module = target.partition(":")[0]
    if module == "__main__":
        raise EntryError(f"{target} was made in a notebook or a script: put the class into a file of its own and run again")
    spec = None
    with importable_here(), contextlib.suppress(ImportError):  # a package on the way to the module is missing
        spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise EntryError(f"can't find the module {module!r} that made these runs: go to the folder of its file")
    code = text_bytes(Path(spec.origin))
    if source not in (hashlib.sha256(code).hexdigest(), Sources.of_module(module).hash):
        raise EntryError(f"{spec.origin} has changed since it made these runs: bring back the code that did, or run again")
    return code


def _code_problems(code: bytes, target: str) -> list[str]:
    """What is wrong with the file that defines `target`, as the code of an entry."""
    shown = f"the file of {target}"
    problems = [f"{shown} {finding.problem}: {finding.remedy}" for finding in import_findings(code)]
    if not OWN_AGENT.fullmatch(packed_target(target)):
        problems.append(f"{target!r} isn't a class at the top of its file with an ASCII name: make it one and run again")
    if len(code) > FILE_LIMITS[CODE]:
        problems.append(f"{shown} has {len(code):,} bytes, more than {FILE_LIMITS[CODE]:,}: shorten it and run again")
    return problems
