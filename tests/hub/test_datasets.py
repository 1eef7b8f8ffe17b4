"""Tasks as datasets: the same arrays as in the environment, before and after every way to store them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset, load_from_disk
from torch.nn.functional import cross_entropy, one_hot

import grokbench
from grokbench.errors import MissingExtraError, TaskError
from grokbench.hub.datasets import to_datasets, write_dataset
from grokbench.tasks import make_instance, parse_id
from grokbench.tasks.images import ImageInstance
from grokbench.tasks.tables import TableInstance

TASKS = ("add_mod7-0.5", "div_mod11-0.6", "compose_s3-0.5", "random_mod7-0.5")


def observed(splits: DatasetDict) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Inputs (N, 2) and targets (N,) as an agent sees them, with the blank for held-out answers."""
    size = sum(len(rows) for rows in splits.values())
    inputs, targets = np.zeros((size, 2), dtype=np.int64), np.zeros(size, dtype=np.int64)
    for name, rows in splits.items():
        table = rows.with_format("numpy")
        question = table["question"][:]
        inputs[question] = np.stack([table["a"][:], table["b"][:]], axis=1)
        blank = rows.features["answer"].num_classes
        targets[question] = table["answer"][:] if name == "train" else blank
    return inputs, targets


def stored(splits: DatasetDict, how: str, folder: Path, task: str) -> DatasetDict:
    """The splits after they were stored and read again."""
    if how == "disk":
        splits.save_to_disk(folder)
        return DatasetDict(load_from_disk(folder))
    if how == "parquet":
        folder.mkdir()
        for name, rows in splits.items():
            rows.to_parquet(folder / f"{name}.parquet")
        return DatasetDict({name: Dataset.from_parquet(str(folder / f"{name}.parquet")) for name in splits})
    write_dataset(folder, task, seed=3, salt="s")
    return DatasetDict(load_dataset(str(folder), cache_dir=str(folder.with_name("cache"))))


@pytest.mark.parametrize("how", ["memory", "disk", "parquet", "folder"])
@pytest.mark.parametrize("task", TASKS)
def test_a_dataset_has_the_arrays_of_the_environment(task: str, how: str, tmp_path: Path) -> None:
    """Seed and salt too; shown symbols are class labels."""
    splits = to_datasets(task, seed=3, salt="s")
    splits = splits if how == "memory" else stored(splits, how, tmp_path / "data", task)
    env = grokbench.make(task, salt="s")
    observation, _ = env.reset(seed=3)
    inputs, targets = observed(splits)
    np.testing.assert_array_equal(inputs, observation["inputs"])
    np.testing.assert_array_equal(targets, observation["targets"])
    assert isinstance(splits["train"].features["answer"], ClassLabel)
    assert splits["train"].features["a"].num_classes == parse_id(task).num_symbols


def test_true_symbols_stand_beside_the_shown_ones() -> None:
    """They follow the formula, and one permutation relates both."""
    instance = make_instance(parse_id("add_mod7-0.5"), 0)
    assert isinstance(instance, TableInstance)
    for rows in to_datasets("add_mod7-0.5").values():
        table = rows.with_format("numpy")
        true = [table[name][:] for name in ("true_a", "true_b", "true_answer")]
        np.testing.assert_array_equal((true[0] + true[1]) % 7, true[2])
        np.testing.assert_array_equal(instance.permutation[true[2]], table["answer"][:])


def test_digits_are_pictures(tmp_path: Path) -> None:
    """Every pixel survives."""
    write_dataset(tmp_path / "digits", "mnist5k-n60", seed=1)
    splits = load_dataset(str(tmp_path / "digits"), cache_dir=str(tmp_path / "cache"))
    instance = make_instance(parse_id("mnist5k-n60"), 1)
    assert isinstance(instance, ImageInstance)
    assert [len(splits[name]) for name in ("train", "test")] == [60, 4_940]
    for row in splits["train"]:
        np.testing.assert_array_equal(np.asarray(row["image"]).reshape(-1), instance.pixels[row["question"]])
        assert row["answer"] == instance.answers[row["question"]]


def test_a_card_says_what_may_be_trained_on(tmp_path: Path) -> None:
    """Formula, sizes, seed, salt, fingerprint, license, citation; so does the description of the splits."""
    write_dataset(tmp_path, "div_mod11-0.6", seed=2, salt="mine")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    instance = make_instance(parse_id("div_mod11-0.6"), 2, salt="mine")
    stated = ("a / b, b ≠ 0", "110", "66 questions", "44 held-out", "'mine'", "license: mit", "@article{power")
    for part in (*stated, instance.fingerprint):
        assert part in text
    info = to_datasets("div_mod11-0.6", seed=2, salt="mine")["test"].info
    assert "Train on the answers of `train` alone" in info.description
    assert instance.fingerprint in info.description
    assert (info.license, "power2022" in info.citation) == ("mit", True)


def test_what_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such task, a folder with other files, no package."""
    with pytest.raises(TaskError):
        grokbench.to_datasets("add_mod98-0.5")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TaskError, match=r"has other files \(mine.txt\): choose an empty folder"):
        write_dataset(tmp_path, "add_mod7-0.5")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[hub\]'"):
        to_datasets("add_mod7-0.5")


def held_out_accuracy(inputs: Any, targets: Any, answers: Any, *, symbols: int) -> float:
    """The share of held-out answers that the MLP of docs/datasets.md gets right after its training.

    Args:
        inputs: (N, 2) operands in shown symbols.
        targets: (N,) training answers, and the blank for held-out questions.
        answers: (N,) all answers.
        symbols: the number of symbols, which is the blank.
    """
    torch.manual_seed(0)
    x = one_hot(torch.as_tensor(inputs), symbols).flatten(1).float()
    y, train = torch.as_tensor(answers), torch.as_tensor(targets) != symbols
    first, last = torch.nn.Linear(2 * symbols, 128, bias=False), torch.nn.Linear(128, symbols, bias=False)
    optimizer = torch.optim.AdamW([*first.parameters(), *last.parameters()], lr=3e-3, weight_decay=3.0)
    for _ in range(600):
        optimizer.zero_grad()
        cross_entropy(last(first(x[train]) ** 2), y[train]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        right = last(first(x[~train]) ** 2).argmax(1) == y[~train]
    return float(right.float().mean())


def test_a_trainer_reaches_the_same_accuracy_with_the_dataset_and_with_the_environment() -> None:
    """It generalizes far beyond chance, and to the bit as far with either."""
    splits, task = to_datasets("add_mod23-0.7"), parse_id("add_mod23-0.7")
    observation, _ = grokbench.make(task.id).reset(seed=0)
    answers = make_instance(task, 0).shown_answers.copy()
    with_env = held_out_accuracy(observation["inputs"], observation["targets"], answers, symbols=23)
    assert held_out_accuracy(*observed(splits), answers, symbols=23) == with_env
    assert with_env > 0.9
