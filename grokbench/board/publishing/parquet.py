"""All runs of the accepted entries in one Parquet file, `leaderboard/runs.parquet`, one run in each row.

The file stores the types of `datasets` (the extra `hub`), so `datasets.load_dataset("parquet", …)` restores them.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.entry import Entry
from grokbench.errors import HUB_EXTRA, MissingExtraError
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.records import ExamRecord, RunRecord
from grokbench.tasks import Task

FILE = "runs.parquet"
MAGIC = b"PAR1"  # the first and the last bytes of a Parquet file
TEXT, INTEGER, REAL = "string", "int64", "float64"
EXAM_COLUMNS = {
    "step": INTEGER,
    "train": INTEGER,
    "held_out": INTEGER,
    "train_accuracy": REAL,
    "held_out_accuracy": REAL,
    "loss": REAL,
    "train_loss": REAL,
    "held_out_loss": REAL,
    **dict.fromkeys(MEASURES, REAL),  # of the last layer; null at exams that don't measure ranks
}
RUN_COLUMNS = {
    "entry": TEXT,
    "division": TEXT,
    "suite": TEXT,
    "task": TEXT,
    "seed": INTEGER,
    "agent": TEXT,
    "agent_hash": TEXT,
    "budget": INTEGER,
    "steps_to_memorize": INTEGER,
    "steps_to_generalize": INTEGER,
    "first_crossing": INTEGER,
    "passing_share": REAL,
    "end": TEXT,
    "final_rank": REAL,
    "rank_at_generalization": REAL,
    "steps": INTEGER,
    "examples": INTEGER,
    "flops": INTEGER,
    "parameters": INTEGER,
    "seconds": REAL,
    "exams": EXAM_COLUMNS,
}


def installed() -> bool:
    """Whether the extra `hub` is installed."""
    return find_spec("datasets") is not None


def rows(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """One row for every run of every accepted entry, the control's too, in the order of the entries."""
    accepted = [each.entry for each in checked if each.entry is not None and not each.refused]
    return [_run_row(entry, run) for entry in accepted for run in entry.runs]


def write_runs(checked: Sequence[Checked], path: Path) -> bool:
    """Write the file if it is damaged or its rows differ from those of the entries. Returns whether it was written.

    The comparison is by rows because the bytes depend on the writer's version.

    Raises:
        MissingExtraError: the extra `hub` isn't installed.
    """
    _require_extra()
    wanted = rows(checked)
    if _holds(path, wanted):
        return False
    from pyarrow import Table
    from pyarrow.parquet import write_table

    columns = {**RUN_COLUMNS, **{f"exams.list.element.{name}": kind for name, kind in EXAM_COLUMNS.items()}}
    floats = [name for name, kind in columns.items() if kind == REAL]  # split by bytes, which saves a quarter of the file
    write_table(
        Table.from_pylist(wanted, schema=_features().arrow_schema),
        path,
        compression="zstd",
        use_byte_stream_split=floats,
        use_dictionary=[name for name in columns if name not in floats],
    )
    return True


def is_current(checked: Sequence[Checked], path: Path) -> bool:
    """Whether the file has the entries' runs. Without the extra `hub`, whether it is there and begins and ends as it should."""
    if installed():
        return _holds(path, rows(checked))
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 2 * len(MAGIC) and content.startswith(MAGIC) and content.endswith(MAGIC)


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The rows of the file.

    Raises:
        MissingExtraError: the extra `hub` isn't installed.
    """
    _require_extra()
    from pyarrow.parquet import read_table

    read: list[dict[str, Any]] = read_table(path).to_pylist()
    return read


def _holds(path: Path, wanted: list[dict[str, Any]]) -> bool:
    """Whether the file is there, can be read, and has these rows."""
    from pyarrow import ArrowInvalid

    try:
        return path.exists() and read_runs(path) == wanted
    except (ArrowInvalid, OSError):
        return False


def _require_extra() -> None:
    if not installed():
        raise MissingExtraError(f"Parquet needs the extra `hub`: {HUB_EXTRA}")


def _features() -> Any:
    from datasets import Features, Value

    exams = [{name: Value(kind) for name, kind in EXAM_COLUMNS.items()}]
    return Features({name: exams if kind is EXAM_COLUMNS else Value(kind) for name, kind in RUN_COLUMNS.items()})


def _run_row(entry: Entry, run: RunRecord) -> dict[str, Any]:
    task = run.parsed_task()
    values = {
        "entry": entry.name,
        "division": entry.form.division,
        "suite": entry.form.suite,
        "task": run.task,
        "seed": run.seed,
        "agent": run.agent.name,
        "agent_hash": run.agent.hash,
        "budget": task.budget,
        "exams": [_exam_row(exam, task) for exam in run.exams],
        **run.outcome.model_dump(),
        **run.cost.model_dump(),
    }
    return {name: values[name] for name in RUN_COLUMNS}


def _exam_row(exam: ExamRecord, task: Task) -> dict[str, Any]:
    values = {
        **exam.model_dump(),
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        **{name: None if exam.ranks is None else exam.ranks[name][-1] for name in MEASURES},
    }
    return {name: values.get(name) for name in EXAM_COLUMNS}  # records leave out what wasn't measured
