"""The folder of runs: records, checkpoints and locks, written so that no kill and no full disk harms them.

`<out>/<task>/<agent>-<hash>/seed-0.json` is a record, and `cohort-….safetensors` beside it a checkpoint. `<out>/.locks/` has a
lock file for every run that some process is making.
"""

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from grokbench.agents import trees
from grokbench.errors import CheckpointError, RecordError, StoreError
from grokbench.runs.plan import Experiment, Run
from grokbench.runs.provenance import COMMON_PACKAGES, installed_versions
from grokbench.runs.records import RunRecord, read_record, to_json

RECORD_NAME = re.compile(r"seed-[0-9]+.*\.json")
LONGEST_FILE_NAME = 60  # characters of the seeds in a checkpoint's name; more seeds are hashed


class Store:
    """Records and checkpoints below one folder. Several processes may use it at once.

    The folder stays the same if an agent changes the current folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out).absolute()
        self._notes: list[str] = []

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            StoreError: it can't be made or written.
        """
        with _explained(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.out):
                pass

    def record_path(self, run: Run) -> Path:
        """The path of a run's record."""
        return self.out / run.experiment.folder / f"seed-{run.seed}{run.experiment.suffix}.json"

    def checkpoint_path(self, experiment: Experiment, seeds: Iterable[int], recipes: Sequence[str] = ()) -> Path:
        """The path of a cohort's checkpoint.

        Args:
            experiment: that of the first run.
            seeds: the seeds of all runs.
            recipes: the hashes of their recipes. Where these differ, another cohort may have the same first run and seeds.
        """
        name = "-".join(map(str, seeds))
        name = name if len(name) <= LONGEST_FILE_NAME else hashlib.sha256(name.encode()).hexdigest()[:16]
        if len(set(recipes)) > 1:
            name += f"-{hashlib.sha256(' '.join(recipes).encode()).hexdigest()[:8]}"
        return self.out / experiment.folder / f"cohort-{name}{experiment.suffix}.safetensors"

    def checkpoint_paths(self, experiment: Experiment) -> list[Path]:
        """The checkpoints in the experiment's folder."""
        return sorted((self.out / experiment.folder).glob("cohort-*.safetensors"))

    def finished(self, run: Run) -> bool:
        """Whether the run has a complete record. A damaged one is moved aside, which `take_notes` tells.

        Raises:
            RecordError: the file can't be read, is another run's record, or other versions of the agent's packages made it.
        """
        path = self.record_path(run)
        if not path.exists():
            return False
        try:
            record = read_record(path)
        except RecordError as error:
            if isinstance(error.__cause__ or error.__context__, OSError):
                raise
            self._notes.append(f"{error}; moved to {self.set_aside(path).name}, the run is made anew")
            return False
        experiment = run.experiment
        expected = (experiment.task, experiment.recipe.hash, run.seed, experiment.salt)
        if (record.parsed_task(), record.agent.hash, record.seed, record.salt) != expected:
            raise RecordError(f"{path}: holds the record of another run; move it away or choose another --out")
        _check_versions(path, record, experiment.recipe.packages)
        return record.incomplete is None

    def take_notes(self) -> list[str]:
        """What `finished` has moved aside since the last call, and why."""
        notes, self._notes = self._notes, []
        return notes

    def write_record(self, run: Run, record: RunRecord) -> Path:
        """Write a record, whole or not at all. Raises StoreError."""
        path = self.record_path(run)
        self.write(path, to_json(record).encode())
        return path

    def write_checkpoint(self, path: Path, tree: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all. Raises StoreError, and AgentError for a tree that can't be stored."""
        self.write(path, trees.pack(tree))

    def remove(self, path: Path) -> None:
        """Remove a checkpoint that is no longer needed."""
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file to `….damaged`, so that it harms nobody and nothing is lost."""
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        return aside

    @contextlib.contextmanager
    def claim_all(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """Hold runs for this process alone. Yields those that no other process holds.

        A killed process holds nothing.
        """
        with contextlib.ExitStack() as held:
            yield [run for run in runs if held.enter_context(self._claim(run))]

    @contextlib.contextmanager
    def _claim(self, run: Run) -> Iterator[bool]:
        name = f"{run.experiment.folder}/{run.seed}{run.experiment.suffix}".replace("/", "+")
        folder = self.out / ".locks"
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def write(self, path: Path, content: bytes) -> None:
        """Write a file below the folder, whole or not at all. Raises StoreError."""
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(temporary, 0o644)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tree in a checkpoint file; its tensors are on the CPU.

    Raises:
        CheckpointError: the file is missing, cut short or damaged.
    """
    try:
        return trees.unpack(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a usable checkpoint: {error}") from None


def find_records(folders: Iterable[Path]) -> tuple[list[RunRecord], list[RecordError]]:
    """All run records below some folders, each once, and the errors of those that can't be read.

    A record is a `.json` file with a key `exams`; other `.json` files are passed over.
    """
    records, errors = [], []
    paths = {path.resolve(): path for folder in folders for path in sorted(_json_files(Path(folder)))}
    for path in paths.values():
        try:
            records.append(read_record(path))
        except RecordError as error:
            if _looks_like_a_record(path):
                errors.append(error)
    return records, errors


def _json_files(folder: Path) -> Iterator[Path]:
    """The `.json` files below a folder. Folders that are links are followed, each once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in files if name.endswith(".json"))


def _looks_like_a_record(path: Path) -> bool:
    """Whether a file has a record's name, or its text mentions exams. A file that can't be read might."""
    if RECORD_NAME.match(path.name):
        return True
    try:
        return '"exams"' in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


def _check_versions(path: Path, record: RunRecord, packages: Iterable[str]) -> None:
    """Refuse a record that other versions of these packages made: they are part of the agent. torch's version isn't."""
    made_with = record.provenance.versions
    for package, version in installed_versions(packages).items():
        if package not in COMMON_PACKAGES and made_with.get(package, version) != version:
            what = f"was made with {package} {made_with[package]}, and {version} is installed"
            raise RecordError(f"{path}: {what}: choose another --out, or install {package}=={made_with[package]}")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "the disk is full: free some space and run the same command again, it goes on where it was"
        else:
            remedy = "make the folder writable or choose another --out"
        raise StoreError(f"can't write {path}: {error.strerror or error}; {remedy}") from error
