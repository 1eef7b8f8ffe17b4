"""Tasks as Hugging Face datasets: the questions of one instance in the splits `train` and `test`, with a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grokbench.errors import MissingExtraError, TaskError, install
from grokbench.hub.cards import CITATION, HOMEPAGE, LICENSE, about, card
from grokbench.tasks import Instance, make_instance, parse_id
from grokbench.tasks.images import ImageInstance
from grokbench.tasks.tables import TableInstance

if TYPE_CHECKING:
    from datasets import DatasetDict, Features

SIDE = 28  # pixels


def to_datasets(task: str, *, seed: int = 0, salt: str = "") -> "DatasetDict":
    """The instance of a task as a `datasets.DatasetDict` with the splits `train` and `test`.

    A row is a question. A table has the columns `a`, `b` and `answer` in shown symbols, as class labels; `true_a`, `true_b` and
    `true_answer` in true symbols; and `question`, the question's row in the environment's observation. Digits have `image`,
    `answer` and `question`. `test` has the held-out questions: nothing may be trained on its answers.

    Args:
        task: any task id, such as `add_mod97-0.3`.
        seed: the seed of the instance.
        salt: any text draws a fresh instance; empty for the published one.

    Raises:
        TaskError: the id, the seed or the salt names no instance.
        MissingExtraError: `datasets` isn't installed.
    """
    return _splits(make_instance(parse_id(task), seed, salt=salt))


def write_dataset(folder: Path, task: str, *, seed: int = 0, salt: str = "") -> None:
    """Write the splits as Parquet files beside a card, so that `datasets.load_dataset(folder)` reads them.

    Raises:
        TaskError: the id, the seed or the salt names no instance, or the folder has other files.
        MissingExtraError: `datasets` isn't installed.
    """
    instance = make_instance(parse_id(task), seed, salt=salt)
    splits = _splits(instance)
    names = {"README.md", *(f"{split}.parquet" for split in splits)}
    folder.mkdir(parents=True, exist_ok=True)
    if strays := sorted(path.name for path in folder.iterdir() if path.name not in names):
        raise TaskError(f"{folder} has other files ({', '.join(strays[:3])}): choose an empty folder")
    for split, rows in splits.items():
        rows.to_parquet(folder / f"{split}.parquet")
    (folder / "README.md").write_text(card(instance, list(splits)), encoding="utf-8", newline="\n")


def _splits(instance: Instance) -> "DatasetDict":
    """The questions of an instance. Raises MissingExtraError."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingExtraError(f"tasks as datasets need the package datasets: {install('hub')}") from None
    columns, features = _columns(instance)
    texts = {"description": about(instance), "citation": CITATION, "homepage": HOMEPAGE, "license": LICENSE}
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {column: list(values[chosen]) for column, values in columns.items()},
                features=features,
                info=datasets.DatasetInfo(**texts, features=features),
                split=name,
            )
            for name, chosen in (("train", instance.train), ("test", ~instance.train))
        }
    )


def _columns(instance: Instance) -> tuple[Mapping[str, NDArray[Any]], "Features"]:
    """The columns of all questions, in the order of the environment, and their types."""
    import datasets

    label = datasets.ClassLabel(names=[str(symbol) for symbol in range(instance.task.num_symbols)])
    number = datasets.Value("int64")
    common = {"answer": instance.shown_answers, "question": np.arange(instance.task.num_questions)}
    types = {"answer": label, "question": number}
    if isinstance(instance, TableInstance):
        shown, true = instance.shown_inputs.T, instance.inputs.T
        columns = {"a": shown[0], "b": shown[1], **common}
        columns |= {"true_a": true[0], "true_b": true[1], "true_answer": instance.answers}
        types = {"a": label, "b": label, **types, "true_a": number, "true_b": number, "true_answer": number}
        return columns, datasets.Features(types)
    if isinstance(instance, ImageInstance):
        return {"image": instance.pixels.reshape(-1, SIDE, SIDE), **common}, datasets.Features(
            {"image": datasets.Image(), **types}
        )
    raise TaskError(f"{instance.task.id} has no form as a dataset")
