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
from grokbench.agents.texts import decoded, text_bytes
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
    if all((folder / name).exists() for name in files):
        if _identity(read_folder(folder)[0]) != _identity(space):
            raise TuningError(f"{folder} has the tuning of another recipe or with other ranges: choose another --out")
        return Store(folder / RUNS)
    Store(folder).prepare()
    for name, content in files.items():
        Store(folder).write(folder / name, content)
    return Store(folder / RUNS)


def _identity(space: Space) -> tuple[Any, ...]:
    """What tells tunings apart."""
    return space.published.name, space.published.hash, space.family, space.own


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
        content = tomllib.loads(decoded(text_bytes(path)))
        name, family, own = content["name"], content["family"], content["own"]
    except (OSError, ValueError, KeyError) as error:
        raise TuningError(f"can't read {path}: {error}") from error
    published = replace(find_recipe(str(folder / PUBLISHED)), name=name)
    return Space.of(published, family=family, own=own), Store(folder / RUNS)


def recipe_text(recipe: Recipe) -> bytes:
    """The recipe as a file for `grokbench run`. Raises TuningError for a value that TOML doesn't have."""
    content: dict[str, Any] = {"agent": recipe.target, **recipe.plain_hyperparameters}
    try:
        return tomli_w.dumps(content).encode()
    except TypeError as error:
        raise TuningError(f"{recipe.name} can't be written as a recipe file ({error}): leave such a value out") from None


def _space_text(space: Space) -> bytes:
    return tomli_w.dumps({"name": space.published.name, "family": space.family, "own": space.ranges}).encode()
