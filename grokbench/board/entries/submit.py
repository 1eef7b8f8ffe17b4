"""Packing an entry out of a folder of runs, and opening its pull request."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import tomli_w

from grokbench.agents.recipes import is_baseline, look_here
from grokbench.board.entries.files import CODE, FORM, RECIPE, RUNS, canonical, official_runs, run_key
from grokbench.board.entries.form import Form
from grokbench.runs.records import RunRecord


def runs_to_submit(records: Sequence[RunRecord], suite: str, agent: str | None) -> list[RunRecord]:
    """The complete official runs of one agent over a suite, sorted.

    Raises:
        ValueError: there are several agents to choose from, or none, or runs are missing.
    """
    cells = official_runs(suite)
    fitting = [run for run in records if run_key(run) in cells and run.incomplete is None and not run.salt]
    names = sorted({run.agent.name for run in fitting})
    if agent is None and len(names) > 1:
        raise ValueError(f"these are runs of {', '.join(names)}: choose one with --agent")
    chosen = [run for run in fitting if run.agent.name == (agent or run.agent.name)]
    if len({run.agent.hash for run in chosen}) > 1:
        raise ValueError("these runs were made by different recipes of the same name: keep each in a folder of its own")
    by_place = {run_key(run): run for run in chosen}
    if agent is not None and agent not in names:
        raise ValueError(f"there are no finished runs of {agent!r} on {suite!r} here, but of {', '.join(names) or 'none'}")
    missing = [f"{task} seed {seed}" for task, seed in cells if (task, seed) not in by_place]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ValueError(
            f"an entry to {suite!r} has all {len(cells)} runs; missing or unfinished: {shown}. "
            f"`grokbench run --suite {suite} --agents …` makes them and goes on with those that were stopped"
        )
    return [by_place[cell] for cell in cells]


def write_entry(folder: Path, form: Form, runs: Sequence[RunRecord]) -> None:
    """Write the entry's files.

    Raises:
        ValueError: it is there already, or the agent's code has changed since.
    """
    if folder.exists():
        raise ValueError(f"{folder} is there already: choose another name, or remove it")
    agent = runs[0].agent
    own = not is_baseline(agent.target)
    if own and form.division == "closed":
        raise ValueError("the closed division trains a baseline's network; an agent of your own enters with --division open")
    code = _code(agent.target, agent.source) if own else b""
    target = f"agent:{agent.target.rpartition(':')[2]}" if own else agent.target
    folder.mkdir(parents=True)
    if own:
        (folder / CODE).write_bytes(code)
    content = form.model_dump(exclude_none=True)
    if own and not agent.hyperparameters:
        content["agent"] = target
    else:
        (folder / RECIPE).write_text(tomli_w.dumps({"agent": target, **agent.hyperparameters}), encoding="utf-8")
    (folder / FORM).write_text(tomli_w.dumps(content), encoding="utf-8")
    (folder / RUNS).write_text("".join(f"{canonical(run)}\n" for run in runs), encoding="utf-8")


def _code(target: str, source: str) -> bytes:
    """The file of the agent's class, which must be the one that made the runs."""
    module = target.partition(":")[0]
    look_here()
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"can't find the module {module!r} that made these runs: go to the folder where it stands")
    code = Path(spec.origin).read_bytes()
    if hashlib.sha256(code).hexdigest() != source:
        raise ValueError(f"{spec.origin} has changed since it made these runs: bring back the code that did, or run again")
    return code


def pull_request(folder: Path, title: str) -> list[list[str]]:
    """The commands that bring the entry as a pull request."""
    branch, message = f"entry-{folder.name}", f"Entry: {folder.name}"
    return [
        ["git", "switch", "--create", branch],
        ["git", "add", str(folder)],
        ["git", "commit", "--message", message, "--", str(folder)],
        ["git", "push", "--set-upstream", "origin", branch],
        ["gh", "pr", "create", "--title", f"{message} ({title})", "--body", "Packed with `grokbench submit`."],
    ]


def open_pull_request(commands: Sequence[Sequence[str]]) -> bool:
    """Run the commands; False where `gh` isn't installed.

    Raises:
        ValueError: one of them failed.
    """
    if shutil.which("gh") is None:
        return False
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return True
