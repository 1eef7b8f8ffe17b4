"""All runs of the entries that stand as one Parquet file, a row each, for anyone's analysis: `leaderboard/runs.parquet`.

Written with the types of `datasets` (the extra `hub`) in it, so that `datasets.load_dataset("parquet", …)` finds them.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.files import Entry
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.records import ExamRecord, RunRecord
from grokbench.tasks import Task

FILE = "runs.parquet"
INSTALL = "pip install 'grokbench[hub]'"
TEXT, WHOLE, REAL = "string", "int64", "float64"
EXAM = {
    "step": WHOLE,
    "train": WHOLE,
    "held_out": WHOLE,
    "train_accuracy": REAL,
    "held_out_accuracy": REAL,
    "loss": REAL,
    **dict.fromkeys(MEASURES, REAL),  # of the last layer; null where the features weren't finite
}
RUN = {
    "entry": TEXT,
    "division": TEXT,
    "suite": TEXT,
    "task": TEXT,
    "seed": WHOLE,
    "agent": TEXT,
    "agent_hash": TEXT,
    "budget": WHOLE,
    "steps_to_memorize": WHOLE,
    "steps_to_generalize": WHOLE,
    "first_crossing": WHOLE,
    "censored": "bool",
    "end": TEXT,
    "final_rank": REAL,
    "steps": WHOLE,
    "examples": WHOLE,
    "flops": WHOLE,
    "parameters": WHOLE,
    "seconds": REAL,
    "exams": EXAM,
}


def installed() -> bool:
    """Whether the extra is there."""
    return find_spec("datasets") is not None


def rows(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """A row for every run of every entry that nothing refuses, the control's too, in the order of the entries."""
    standing = [one.entry for one in checked if one.entry is not None and not one.refused]
    return [_row(entry, run) for entry in standing for run in entry.runs]


def write_runs(checked: Sequence[Checked], path: Path) -> bool:
    """Write the file, unless it holds just that already, as the bytes depend on the writer's version; whether it was written.

    Raises:
        ValueError: the extra isn't installed.
    """
    _demand()
    wanted = rows(checked)
    if path.exists() and read_runs(path) == wanted:
        return False
    from pyarrow import Table
    from pyarrow.parquet import write_table

    columns = {**RUN, **{f"exams.list.element.{name}": kind for name, kind in EXAM.items()}}
    floats = [name for name, kind in columns.items() if kind == REAL]  # split by bytes: a quarter smaller
    write_table(
        Table.from_pylist(wanted, schema=_features().arrow_schema),
        path,
        compression="zstd",
        use_byte_stream_split=floats,
        use_dictionary=[name for name in columns if name not in floats],
    )
    return True


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The file's rows.

    Raises:
        ValueError: the extra isn't installed.
    """
    _demand()
    from pyarrow.parquet import read_table

    found: list[dict[str, Any]] = read_table(path).to_pylist()
    return found


def _demand() -> None:
    if not installed():
        raise ValueError(f"Parquet needs the extra `hub`: {INSTALL}")


def _features() -> Any:
    from datasets import Features, Value

    exams = [{name: Value(kind) for name, kind in EXAM.items()}]
    return Features({name: exams if kind is EXAM else Value(kind) for name, kind in RUN.items()})


def _row(entry: Entry, run: RunRecord) -> dict[str, Any]:
    known = {
        "entry": entry.name,
        "division": entry.form.division,
        "suite": entry.form.suite,
        "task": run.task,
        "seed": run.seed,
        "agent": run.agent.name,
        "agent_hash": run.agent.hash,
        "budget": run.parsed_task().budget,
        "exams": [_exam(exam, run.parsed_task()) for exam in run.exams],
        **run.outcome.model_dump(),
        **run.cost.model_dump(),
    }
    return {name: known[name] for name in RUN}


def _exam(exam: ExamRecord, task: Task) -> dict[str, Any]:
    known = {
        **exam.model_dump(),
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        **{name: None if exam.ranks is None else exam.ranks[name][-1] for name in MEASURES},
    }
    return {name: known[name] for name in EXAM}
