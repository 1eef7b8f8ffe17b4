"""Runs as pandas DataFrames: one row per run, or one row per exam."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from grokbench.agents.recipes import flattened
from grokbench.errors import RecordError, ResultError
from grokbench.evaluation.rows import COLUMNS, NAMES, exam_row
from grokbench.results.duplicates import without_duplicates
from grokbench.results.files import base_path, with_ending, write_files
from grokbench.results.phase import PowerLaw, phase_table, phase_title, power_law
from grokbench.results.tables import report
from grokbench.runs.records import Cost, OutcomeRecord, RunRecord
from grokbench.runs.store import find_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTCOMES = (*OutcomeRecord.model_fields, *Cost.model_fields)
RUN_COLUMNS = (*NAMES[1:], "code", "incomplete", *OUTCOMES, "budget", "exam_grid")  # beside parts of tasks, hyperparameters
WHOLE_NUMBERS = ("steps_to_memorize", "first_crossing", "steps_to_generalize", "examples", "flops", "parameters")
NUMBERS = ("passing_share", "final_rank", "rank_at_generalization")


class SavedPhase(NamedTuple):
    """A phase diagram on disk.

    Attributes:
        files: the written files.
        law: the fit that was asked for, else None.
    """

    files: list[Path]
    law: PowerLaw | None


class _Phase(NamedTuple):
    """A phase diagram: its table, the fit that was asked for, and the figure."""

    table: pd.DataFrame
    law: PowerLaw | None
    figure: "Figure"


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        record: the run record.
    """

    record: RunRecord

    @property
    def steps_to_memorize(self) -> int | None:
        """The step of the first exam with at least 99 % of the training answers right; None if there was none."""
        return self.record.outcome.steps_to_memorize

    @property
    def steps_to_generalize(self) -> int | None:
        """T, in steps; None if the run didn't generalize within its budget, or is incomplete."""
        return self.record.outcome.steps_to_generalize

    @property
    def final_rank(self) -> float | None:
        """The median effective rank of the last layer's features at the last five exams that measured it; None if none did."""
        return self.record.outcome.final_rank

    @cached_property
    def exams(self) -> pd.DataFrame:
        """One row per exam: `step`, `train_accuracy`, `held_out_accuracy`, `loss`, every rank of the last layer, and metrics.

        `evaluation.rows.exam_row` has all of them.
        """
        return _exams_frame(_exam_rows(self.record))

    def __hash__(self) -> int:
        record = self.record
        return hash((record.task, record.agent.hash, record.seed, record.salt))

    def plot(self) -> "Figure":
        """Accuracies and effective rank over steps, as a matplotlib figure."""
        return Runs((self.record,)).plot()

    def __repr__(self) -> str:
        outcome = self.record.outcome
        return (
            f"RunResult({self.record.task} {self.record.agent.name} seed {self.record.seed}: "
            f"{self.record.incomplete or outcome.end}, steps_to_memorize={outcome.steps_to_memorize}, "
            f"steps_to_generalize={outcome.steps_to_generalize}, final_rank={outcome.final_rank})"
        )


@dataclass(frozen=True, repr=False)
class Runs(Sequence[RunResult]):
    """Several runs: a sequence of `RunResult`, and tables of all of them.

    Attributes:
        records: the run records.
    """

    records: tuple[RunRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Runs(self.records[index])
        return RunResult(self.records[index])

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: task, agent, seed, outcome, cost, the task's `operation`, `p` and `ratio`, and hyperparameters.

        `code` is where the agent's class is, with the start of its code's hash if it is none of the baselines.
        A hyperparameter's column has its full name, such as `optimizer.weight_decay`. One that is called like one of the other
        columns, such as a dropout rate `p`, is `hyperparameter.p`.
        """
        frame = pd.DataFrame([_run_row(record) for record in self.records], columns=None if self.records else RUN_COLUMNS)
        return frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys(NUMBERS, "float64"))

    @cached_property
    def exams(self) -> pd.DataFrame:
        """One row per exam of every run: `run`, `task`, `agent`, `seed`, `salt`, and the columns of `RunResult.exams`.

        `run` is the number of the run's row in `runs`, so `exams.join(runs[["ratio"]], on="run")` adds its columns.
        """
        rows = (({"run": n} | _names(record) | row) for n, record in enumerate(self.records) for row in _exam_rows(record))
        return _exams_frame(list(rows), names=NAMES)

    def table(self) -> str:
        """What `grokbench score` prints: outcomes per task and agent, and scores against the pinned reference."""
        return report(list(self.records))

    def plot(self) -> "Figure":
        """Accuracies and effective rank over steps, a panel pair per task, as a matplotlib figure.

        Raises:
            ResultError: no run has exams.
        """
        from grokbench.results.plots import curves_figure

        return curves_figure(self.records)

    def phase_table(self, x: str, y: str | None = None, *, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """A row for every value of x, and of y: median T with its interval, solved runs, and the phase.

        `results.phase.phase_table` has the columns and the errors.
        """
        return phase_table(self.runs, x, y, where=where)

    def phase(self, x: str, y: str | None = None, *, where: Mapping[str, Any] | None = None, fit: bool = False) -> "Figure":
        """A phase diagram of two things that vary, or curves over one, as a matplotlib figure.

        Args:
            x: what varies, such as `ratio` or `weight_decay`.
            y: a second thing that varies.
            where: name → value, to choose among runs that differ in more.
            fit: draw T ∝ x^a too, over one thing that varies.

        Raises:
            ResultError: there is no such name, the runs differ in more, or the fit has too few points or two axes.
        """
        return self._phase(x, y, where, fit).figure

    def save_phase(
        self, path: str | Path, *, x: str, y: str | None = None, where: Mapping[str, Any] | None = None, fit: bool = False
    ) -> "SavedPhase":
        """Write the phase diagram as `<path>.png`, `.svg` and `.html`, and its table as `.csv` and, with pyarrow, `.parquet`.

        In a folder the files are called `phase`. The page shows the curves of the setting under the pointer. The arguments are
        those of `phase`, and so are the errors.

        Returns:
            The written files, and the fit.

        Raises:
            ResultError: a file can't be written.
        """
        from grokbench.results.phase_page import phase_page

        table, law, figure = self._phase(x, y, where, fit)
        page = phase_page(self.runs, [run.exams for run in self], table, x, y, where or {})
        writers: dict[str, Callable[[Path], Any]] = {
            "png": partial(figure.savefig, dpi=150),
            "svg": partial(figure.savefig, dpi=150),
            "csv": partial(table.to_csv, index=False),
            "parquet": partial(table.to_parquet, index=False),
            "html": partial(Path.write_text, data=page, encoding="utf-8", newline="\n"),
        }
        if find_spec("pyarrow") is None:
            del writers["parquet"]
        base = base_path(Path(path), "phase")
        return SavedPhase(write_files({with_ending(base, ending): write for ending, write in writers.items()}), law)

    def _phase(self, x: str, y: str | None, where: Mapping[str, Any] | None, fit: bool) -> "_Phase":
        from grokbench.results.phase_plots import phase_figure

        if fit and y is not None:
            raise ResultError("a power law is fitted over one thing that varies: leave out y, or the fit")
        table = self.phase_table(x, y, where=where)
        law = power_law(self.runs, x, where=where) if fit else None
        return _Phase(table, law, phase_figure(table, law, title=phase_title(self.runs, where=where)))

    def __repr__(self) -> str:
        return f"Runs({len(self)} runs of {len({record.task for record in self.records})} tasks)"


def load_runs(*folders: str | Path) -> Runs:
    """All runs below some folders, by default below `runs`, each once.

    Raises:
        RecordError: a folder doesn't exist, or a record in it is damaged.
        ResultError: two complete records of the same run have different exams.
    """
    paths = [Path(folder) for folder in folders or ("runs",)]
    for path in paths:
        if not path.is_dir():
            raise RecordError(f"there is no folder {path}: name one that `grokbench run` or `sweep` has written")
    records, errors = find_records(paths)
    if errors:
        raise RecordError(f"{len(errors)} damaged records: {errors[0]}; remove them or run the command again")
    return Runs(tuple(without_duplicates(records)))


def _names(record: RunRecord) -> dict[str, Any]:
    return {"task": record.task, "agent": record.agent.name, "seed": record.seed, "salt": record.salt}


def _exams_frame(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of exams, with the columns that every table has, and NaN where nothing was measured."""
    columns = [*names, *COLUMNS]
    frame = pd.DataFrame([{**dict.fromkeys(columns), **row} for row in rows], columns=None if rows else columns)
    return frame.astype(dict.fromkeys(COLUMNS[1:], "float64"))


def _run_row(record: RunRecord) -> dict[str, Any]:
    row = {
        **_names(record),
        "code": f"{record.agent.target} {record.agent.source[:8]}".strip(),
        "incomplete": record.incomplete,
        **record.outcome.model_dump(),
        **record.cost.model_dump(),
        "budget": record.budget,
        "exam_grid": record.exam_grid or "full",
        **record.parsed_task().parts,
    }
    for name, value in flattened(record.agent.hyperparameters):
        shown = f"hyperparameter.{name}" if name in row else name
        row[shown] = tuple(value) if isinstance(value, list) else value  # pandas compares and groups tuples
    return row


def _exam_rows(record: RunRecord) -> list[dict[str, Any]]:
    task = record.parsed_task()
    return [exam_row(exam.exam(), task) for exam in record.exams]
