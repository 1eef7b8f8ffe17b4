"""The folder of a tuning.

| file | holds |
|---|---|
| `published.toml` | the published recipe |
| `space.toml` | its name, the family of its optimizer, and the method's own ranges |
| `runs` | the records of all runs |
| `<name>-tuned.toml`, `tuning.png` | the chosen recipe and the figure, once it is finished |
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.errors import TuningError
from grokbench.runs.store import Store
from grokbench.sweeps.space import Space

PUBLISHED, SPACE, RUNS, FIGURE = "published.toml", "space.toml", "runs", "tuning.png"


def open_folder(folder: Path, space: Space) -> Store:
    """The runs of a tuning in a folder, which is made if it isn't there.

    Raises:
        TuningError: the folder has another tuning.
        StoreError: it can't be written.
    """
    files = {PUBLISHED: recipe_text(space.published), SPACE: _space_text(space)}
    for name, content in files.items():
        if (folder / name).exists() and (folder / name).read_bytes() != content:
            raise TuningError(f"{folder} has the tuning of another recipe or with other ranges: choose another --out")
    Store(folder).prepare()
    for name, content in files.items():
        Store(folder).write(folder / name, content)
    return Store(folder / RUNS)


def tuned_file(folder: Path, name: str) -> Path:
    """Where the chosen recipe goes. Agents are called by their files, so the tuned methods of a table are told apart."""
    return folder / f"{name}-tuned.toml"


def read_folder(folder: Path) -> tuple[Space, Store]:
    """The space and the runs of a tuning that was begun.

    Raises:
        TuningError: the folder has no tuning.
        RecipeError: its recipe can't be read.
    """
    path = folder / SPACE
    if not path.exists():
        raise TuningError(f"{folder} has no {SPACE}: name a folder that `grokbench tune --out` has written")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        name, family, own = content["name"], content["family"], content["own"]
    except (OSError, ValueError, KeyError) as error:
        raise TuningError(f"can't read {path}: {error}") from error
    published = replace(find_recipe(str(folder / PUBLISHED)), name=name)
    return Space.of(published, family=family, own=own), Store(folder / RUNS)


def recipe_text(recipe: Recipe) -> bytes:
    """The recipe as a file for `grokbench run`."""
    content: dict[str, Any] = {"agent": recipe.target, **recipe.plain_hyperparameters}
    return tomli_w.dumps(content).encode()


def _space_text(space: Space) -> bytes:
    return tomli_w.dumps({"name": space.published.name, "family": space.family, "own": space.ranges}).encode()
