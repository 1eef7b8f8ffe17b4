"""What differs between an experiment and earlier runs under the same name, so that a changed helper doesn't go unnoticed."""

import re
from collections.abc import Iterator
from pathlib import Path

from grokbench.agents.recipes import Recipe, flattened
from grokbench.errors import RecordError
from grokbench.runs.plan import Experiment
from grokbench.runs.records import AgentRecord, RunRecord, read_record
from grokbench.runs.store import Store

MOST_NAMED = 5
FOLDER_HASH = re.compile(r"-[0-9a-f]{8}")


def change_note(experiment: Experiment, store: Store) -> str | None:
    """What differs from the latest runs that another recipe of this name left on the task, in words. None: nothing to say.

    There is nothing to say either once the experiment has records of its own.
    """
    own = store.out / experiment.folder
    if any(own.glob("seed-*.json")):
        return None
    earlier = _latest_record(experiment, store)
    if earlier is None:
        return None
    differing = list(differences(earlier.agent, experiment.recipe))
    more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
    named = ", ".join(differing[:MOST_NAMED]) or "the hash alone"
    name, folder = experiment.recipe.name, f"{earlier.agent.name}-{earlier.agent.hash[:8]}"
    return (
        f"{name}: differs from the earlier runs in {folder} by {named}{more}; its runs are made anew, and the earlier ones stay"
    )


def differences(before: AgentRecord, recipe: Recipe) -> Iterator[str]:
    """The names of what differs: target, hyperparameters with both values, and modules of the agent's code."""
    if before.target != recipe.target:
        yield f"target {before.target} → {recipe.target}"
    old, new = dict(flattened(before.hyperparameters)), dict(flattened(recipe.plain_hyperparameters))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} {old.get(key)!r} → {new.get(key)!r}"
    modules, now = before.sources or {}, recipe.sources.modules
    yield from sorted(f"the code of {name}" for name in modules.keys() | now.keys() if modules.get(name) != now.get(name))


def _latest_record(experiment: Experiment, store: Store) -> RunRecord | None:
    """A record of the latest runs on the task whose recipe has the same name and another hash."""
    own, name = store.out / experiment.folder, experiment.recipe.name
    folders = [folder for folder in own.parent.glob("*") if folder != own and folder.name.startswith(name)]
    named = [folder for folder in folders if FOLDER_HASH.fullmatch(folder.name.removeprefix(name))]
    for path in sorted((path for folder in named for path in folder.glob("seed-*.json")), key=_time, reverse=True):
        try:
            return read_record(path)
        except RecordError:
            continue
    return None


def _time(path: Path) -> float:
    return path.stat().st_mtime
