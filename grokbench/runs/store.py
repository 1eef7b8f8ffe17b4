"""The folder of runs: where records, checkpoints and locks stand, written so that no kill or full disk harms them.

`<out>/<task>/<agent>-<hash>/seed-0.json` is a record, `batch-….safetensors` beside it a checkpoint, `<out>/.locks/` holds a
lock for every run that some process is at.
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from grokbench.agents import trees
from grokbench.agents.trees import unpack
from grokbench.errors import CheckpointError, RecordError, StoreError
from grokbench.runs.plan import Experiment
from grokbench.runs.records import RunRecord, read_record, to_json


class Store:
    """Records and checkpoints below one folder. Several processes may use it at once."""

    def __init__(self, out: Path) -> None:
        self.out = Path(out)

    def prepare(self) -> None:
        """Make the folder and make sure that it can be written.

        Raises:
            StoreError: it can't.
        """
        with _explained(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.out):
                pass

    def record_path(self, experiment: Experiment, seed: int) -> Path:
        """Where the record of a run stands."""
        return self.out / experiment.folder / f"seed-{seed}{experiment.suffix}.json"

    def checkpoint_path(self, experiment: Experiment, seeds: Iterable[int]) -> Path:
        """Where the checkpoint of a batch stands."""
        name = "-".join(map(str, seeds))
        name = name if len(name) <= 60 else hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.out / experiment.folder / f"batch-{name}{experiment.suffix}.safetensors"

    def checkpoint_paths(self, experiment: Experiment) -> list[Path]:
        """The checkpoints that stand for a experiment."""
        return sorted((self.out / experiment.folder).glob("batch-*.safetensors"))

    def finished(self, experiment: Experiment, seed: int) -> bool:
        """Whether a run's record stands and is complete; a damaged one is moved aside so that the run is done again.

        Raises:
            RecordError: the file is another run's record.
        """
        path = self.record_path(experiment, seed)
        if not path.exists():
            return False
        try:
            record = read_record(path)
        except RecordError:
            self.set_aside(path)
            return False
        if (record.task, record.agent.hash, record.seed, record.salt) != (
            experiment.task.id,
            experiment.recipe.hash,
            seed,
            experiment.salt,
        ):
            raise RecordError(f"{path}: holds the record of another run; move it away or choose another --out")
        return record.incomplete is None

    def write_record(self, experiment: Experiment, record: RunRecord) -> Path:
        """Write a record, whole or not at all. Raises StoreError."""
        path = self.record_path(experiment, record.seed)
        self._write(path, to_json(record).encode())
        return path

    def write_checkpoint(self, path: Path, tree: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all. Raises StoreError, and TypeError for a tree that can't be kept."""
        self._write(path, trees.pack(tree))

    def remove(self, path: Path) -> None:
        """Remove a checkpoint that is no longer needed."""
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file to `….damaged`, so that it harms nobody and nothing is lost."""
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        return aside

    @contextlib.contextmanager
    def claim(self, experiment: Experiment, seed: int) -> Iterator[bool]:
        """Hold a run for this process alone; gives False where another process holds it. A killed process holds nothing."""
        name = f"{experiment.folder}/{seed}{experiment.suffix}".replace("/", "+")
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

    def _write(self, path: Path, content: bytes) -> None:
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


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "the disk is full: free some space and run the same command again, it goes on where it was"
        else:
            remedy = "make the folder writable or choose another --out"
        raise StoreError(f"can't write {path}: {error.strerror or error}; {remedy}") from error


def find_records(folders: Iterable[Path]) -> tuple[list[RunRecord], list[RecordError]]:
    """All run records below some folders, and what is wrong with those that can't be read.

    A record is a `.json` file with a top-level `exams`; other `.json` files are passed over.
    """
    records, errors = [], []
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.json")):
            try:
                records.append(read_record(path))
            except RecordError as error:
                if '"exams"' in _beginning(path):
                    errors.append(error)
    return records, errors


def _beginning(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f'"exams" {error}'


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tree in the file `path`, its arrays as numpy arrays.

    Raises:
        CheckpointError: the file is missing, cut short or damaged.
    """
    try:
        return unpack(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a usable checkpoint: {error}") from None
