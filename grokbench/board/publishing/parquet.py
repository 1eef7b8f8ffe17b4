"""The board as a dataset: its runs, their exams and the tables, each in a Parquet file of `leaderboard/data`.

The files store the types of `datasets` (the extra `hub`). The README's front matter makes each of them a configuration, so that
`datasets.load_dataset("leaderboard", "runs")` reads a clone, and the same call an exported board.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.entry import Entry
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.tables import grouped, in_order
from grokbench.board.publishing.trust import trust
from grokbench.errors import MissingExtraError, install
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.records import ExamRecord, RunRecord
from grokbench.tasks import Task

DATA = "data"  # the folder of the files
MAGIC = b"PAR1"  # the first and the last bytes of a Parquet file
DECIMALS = 4  # of the table's numbers
TEXT, INTEGER, REAL = "string", "int64", "float64"
Row = dict[str, Any]


class Column(NamedTuple):
    """A column: its type as `datasets` calls it, and what it holds."""

    kind: str
    meaning: str


KEY_COLUMNS = {
    "entry": Column(TEXT, "the entry's name"),
    "task": Column(TEXT, "the task with its version"),
    "seed": Column(INTEGER, "the seed of instance and agent"),
}
RUN_COLUMNS = {
    **KEY_COLUMNS,
    "division": Column(TEXT, "closed or open"),
    "suite": Column(TEXT, "the suite of the entry"),
    "agent": Column(TEXT, "the name of the recipe"),
    "agent_hash": Column(TEXT, "SHA-256 of recipe and code"),
    "budget": Column(INTEGER, "the last step at which a run may generalize"),
    "steps_to_memorize": Column(INTEGER, "the first exam with 99 % of the training questions right"),
    "steps_to_generalize": Column(INTEGER, "T; null if the run didn't generalize within the budget"),
    "first_crossing": Column(INTEGER, "the first exam that passes"),
    "passing_share": Column(REAL, "share of the exams that pass: in the window of T, or without T from the first crossing on"),
    "end": Column(TEXT, "how the run ended"),
    "final_rank": Column(REAL, "effective rank of the last layer, median of the last exams"),
    "rank_at_generalization": Column(REAL, "effective rank of the last layer at T"),
    "steps": Column(INTEGER, "all steps of the run"),
    "examples": Column(INTEGER, "training questions read, repetitions counted"),
    "flops": Column(INTEGER, "floating-point operations of all steps, if the agent states them"),
    "parameters": Column(INTEGER, "parameters of the network, if the agent states them"),
    "seconds": Column(REAL, "wall-clock seconds"),
}
EXAM_COLUMNS = {
    **KEY_COLUMNS,
    "step": Column(INTEGER, "the step of the exam"),
    "train": Column(INTEGER, "right answers to training questions"),
    "held_out": Column(INTEGER, "right answers to held-out questions"),
    "train_accuracy": Column(REAL, "train as a share of its questions"),
    "held_out_accuracy": Column(REAL, "held_out as a share of its questions"),
    "loss": Column(REAL, "the loss that the agent reports"),
    "train_loss": Column(REAL, "mean cross-entropy on training questions, if the agent shows logits"),
    "held_out_loss": Column(REAL, "mean cross-entropy on held-out questions, if the agent shows logits"),
    **{name: Column(REAL, "this measure of the last layer's rank; null where it isn't measured") for name in MEASURES},
}
TABLE_COLUMNS = {
    "suite": Column(TEXT, "the suite of the table"),
    "network": Column(TEXT, "the baseline whose network the entry trains, or own"),
    "rank": Column(TEXT, "the shared rank within suite and network, or why there is none"),
    "entry": Column(TEXT, "the entry's name"),
    "title": Column(TEXT, "the entry's title"),
    "division": Column(TEXT, "closed or open"),
    "tuned": Column("bool", "whether the setting was chosen by the rules of tuning"),
    "score": Column(REAL, "how many times faster than the reference"),
    "score_low": Column(REAL, "lower end of the 95 % interval"),
    "score_high": Column(REAL, "upper end of the 95 % interval"),
    "solved": Column(INTEGER, "scored runs that generalize"),
    "lost": Column(INTEGER, "scored runs that reached the threshold without generalizing"),
    "runs": Column(INTEGER, "scored runs"),
    "final_rank": Column(REAL, "median final effective rank of the runs that generalize"),
    "delay": Column(REAL, "median of steps-to-generalize over steps-to-memorize"),
    "trust": Column(TEXT, "how the numbers were confirmed"),
}


def _run_rows(checked: Sequence[Checked]) -> list[Row]:
    """One row for every run of every accepted entry, the control's too, in the order of the entries."""
    return [_run_row(entry, run) for entry, run in _accepted_runs(checked)]


def _exam_rows(checked: Sequence[Checked]) -> list[Row]:
    """One row for every exam of these runs."""
    rows: list[Row] = []
    for entry, run in _accepted_runs(checked):
        task = run.parsed_task()
        rows += [_exam_row(entry, run, exam, task) for exam in run.exams]
    return rows


def _table_rows(checked: Sequence[Checked]) -> list[Row]:
    """One row for every row of the README's tables, in their order."""
    all_standings = standings(checked)
    tables = [rows for networks in grouped(all_standings).values() for rows in networks.values()]
    return [_table_row(row, mark, all_standings) for rows in tables for row, mark in in_order(rows)]


class Configuration(NamedTuple):
    """What `datasets` calls a configuration: one of the files."""

    columns: Mapping[str, Column]
    rows: Callable[[Sequence[Checked]], list[Row]]


CONFIGURATIONS = {
    "runs": Configuration(RUN_COLUMNS, _run_rows),
    "exams": Configuration(EXAM_COLUMNS, _exam_rows),
    "table": Configuration(TABLE_COLUMNS, _table_rows),
}
FRONT_MATTER = "\n".join(
    [
        "pretty_name: grokbench leaderboard",
        "license: mit",
        "tags:",
        "- grokking",
        "- benchmark",
        "configs:",
        *(
            f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {DATA}/{name}.parquet"
            + ("\n  default: true" if name == "runs" else "")
            for name in CONFIGURATIONS
        ),
    ]
)  # of the README, by which `datasets.load_dataset` knows the folder


def installed() -> bool:
    """Whether the extra `hub` is installed."""
    return find_spec("datasets") is not None


def files(leaderboard: Path) -> dict[str, Path]:
    """The file of every configuration."""
    return {name: leaderboard / DATA / f"{name}.parquet" for name in CONFIGURATIONS}


def rows(checked: Sequence[Checked], name: str) -> list[Row]:
    """The rows of the configuration `name`, of accepted entries alone."""
    return CONFIGURATIONS[name].rows(checked)


def schema() -> str:
    """The columns of all files, as Markdown tables."""
    parts = []
    for name, (columns, _) in CONFIGURATIONS.items():
        cells = [(f"`{column}`", kind, meaning) for column, (kind, meaning) in columns.items()]
        parts += [f"### `{name}`", tabulate(cells, ["column", "type", "contents"], tablefmt="github", disable_numparse=True)]
    return "\n\n".join(parts)


def write_data(checked: Sequence[Checked], leaderboard: Path) -> list[Path]:
    """Write the files that are missing, damaged, or whose rows differ from those of the entries. Returns those. Strays go.

    The comparison is by rows because the bytes depend on the writer's version.

    Raises:
        MissingExtraError: the extra `hub` isn't installed.
    """
    _require_extra()
    written = []
    for name, path in files(leaderboard).items():
        wanted = rows(checked, name)
        if not _holds(path, wanted):
            path.parent.mkdir(exist_ok=True)
            _write(wanted, CONFIGURATIONS[name].columns, path)
            written.append(path)
    for stray in _strays(leaderboard):
        stray.unlink()
    return written


def stale_data(checked: Sequence[Checked], leaderboard: Path) -> list[Path]:
    """The files that are missing, damaged, or hold other rows, and strays among them.

    Without the extra `hub` a file is looked at no further than whether it begins and ends as it should.
    """
    stale = [path for name, path in files(leaderboard).items() if not _is_current(checked, name, path)]
    return stale + _strays(leaderboard)


def _strays(leaderboard: Path) -> list[Path]:
    """What lies among the files and is none of them."""
    return sorted(set((leaderboard / DATA).glob("*")) - set(files(leaderboard).values()))


def read_rows(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        MissingExtraError: the extra `hub` isn't installed.
    """
    _require_extra()
    from pyarrow.parquet import read_table

    read: list[Row] = read_table(path).to_pylist()
    return read


def _is_current(checked: Sequence[Checked], name: str, path: Path) -> bool:
    if installed():
        return _holds(path, rows(checked, name))
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 2 * len(MAGIC) and content.startswith(MAGIC) and content.endswith(MAGIC)


def _holds(path: Path, wanted: list[Row]) -> bool:
    """Whether the file is there, can be read, and has these rows."""
    from pyarrow import ArrowInvalid

    try:
        return path.exists() and read_rows(path) == wanted
    except (ArrowInvalid, OSError):
        return False


def _write(wanted: list[Row], columns: Mapping[str, Column], path: Path) -> None:
    from datasets import Features, Value
    from pyarrow import Table
    from pyarrow.parquet import write_table

    features = Features({name: Value(kind) for name, (kind, _) in columns.items()})
    floats = [name for name, (kind, _) in columns.items() if kind == REAL]  # split by bytes, which saves a quarter of the file
    write_table(
        Table.from_pylist(wanted, schema=features.arrow_schema),
        path,
        compression="zstd",
        use_byte_stream_split=floats,
        use_dictionary=[name for name in columns if name not in floats],
    )


def _require_extra() -> None:
    if not installed():
        raise MissingExtraError(f"Parquet needs the extra `hub`: {install('hub')}")


def _accepted_runs(checked: Sequence[Checked]) -> Iterable[tuple[Entry, RunRecord]]:
    accepted = [each.entry for each in checked if each.entry is not None and not each.refused]
    return ((entry, run) for entry in accepted for run in entry.runs)


def _run_row(entry: Entry, run: RunRecord) -> Row:
    values = {
        "entry": entry.name,
        "task": run.task,
        "seed": run.seed,
        "division": entry.form.division,
        "suite": entry.form.suite,
        "agent": run.agent.name,
        "agent_hash": run.agent.hash,
        "budget": run.parsed_task().budget,
        **run.outcome.model_dump(),
        **run.cost.model_dump(),
    }
    return {name: values[name] for name in RUN_COLUMNS}


def _exam_row(entry: Entry, run: RunRecord, exam: ExamRecord, task: Task) -> Row:
    values = {
        "entry": entry.name,
        "task": run.task,
        "seed": run.seed,
        **exam.model_dump(),
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        **{name: None if exam.ranks is None else exam.ranks[name][-1] for name in MEASURES},
    }
    return {name: values.get(name) for name in EXAM_COLUMNS}  # records leave out what wasn't measured


def _table_row(row: Standing, mark: str, all_standings: Sequence[Standing]) -> Row:
    low, high = (None, None) if row.is_reference else row.interval
    values = {
        "suite": row.entry.form.suite,
        "network": row.entry.network,
        "rank": mark,
        "entry": row.entry.name,
        "title": row.entry.form.title,
        "division": row.entry.form.division,
        "tuned": row.tuning is not None,
        "score": row.score,
        "score_low": low,
        "score_high": high,
        "solved": len(row.solved),
        "lost": len(row.lost),
        "runs": len(row.runs),
        "final_rank": row.final_rank,
        "delay": row.delay,
        "trust": trust(row, all_standings),
    }
    rounded = {name: round(value, DECIMALS) if isinstance(value, float) else value for name, value in values.items()}
    return {name: rounded[name] for name in TABLE_COLUMNS}
