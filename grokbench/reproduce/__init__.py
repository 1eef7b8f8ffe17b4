"""Papers reproduced: the grid of runs, what is measured on them, and each published statement with a verdict.

Every study is a module with a `TITLE`, what its `SMALL_SCALE` is, `batches(scale)`, and `statements`, `tables` and `figures` of
what was measured.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from grokbench.reproduce.curves import Curves
from grokbench.reproduce.grids import Batch, Measured, Scale
from grokbench.reproduce.report import Statement, statements_table, verdicts
from grokbench.runs.progress import Progress
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.runner import counts, run
from grokbench.runs.store import Store

STUDIES = ("deep-grokking", "omnigrok", "pattern-learning", "model-wise")


class Study(Protocol):
    """What a study's module offers."""

    TITLE: str
    SMALL_SCALE: str  # what the small scale has instead of the paper's settings

    def batches(self, scale: Scale) -> list[Batch]:
        """The runs, batch by batch."""

    def statements(self, measured: Measured) -> list[Statement]:
        """Every published statement with what was measured."""

    def tables(self, measured: Measured) -> list[str]:
        """The numbers, as Markdown."""

    def figures(self, measured: Measured, folder: Path) -> list[str]:
        """Draw the figures into a folder; returns their names."""


def find_study(name: str) -> Study:
    """The study called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in STUDIES:
        raise ValueError(f"no study is called {name!r}: expected one of {', '.join(STUDIES)}")
    study: Study = import_module(f"grokbench.reproduce.{name.replace('-', '_')}")
    return study


def reproduce(name: str, scale: Scale, runs: Path, out: Path, device: str) -> list[Statement] | None:
    """Make the study's runs that aren't made yet and write its report and figures into `out`.

    Returns:
        The statements, None where a run is incomplete.

    Raises:
        ValueError: no study has that name.
    """
    study, store = find_study(name), Store(runs)
    batches = study.batches(scale)
    plans = [one.plan for one in batches]
    with Progress(*counts(plans, store)) as progress:
        if not run(plans, store, progress, device, probes=True):
            return None
    measured = {
        setting: [Curves(read_record(store.record_path(setting.cell, seed))) for seed in batch.seeds]
        for batch in batches
        for setting in batch.settings
    }
    statements = study.statements(measured)
    out.mkdir(parents=True, exist_ok=True)
    pictures = study.figures(measured, out)
    text = _report(name, study, scale, statements, measured, pictures)
    (out / "README.md").write_text(text, encoding="utf-8")
    return statements


def _report(
    name: str, study: Study, scale: Scale, statements: Sequence[Statement], measured: Measured, pictures: Sequence[str]
) -> str:
    records = [one.record for seeds in measured.values() for one in seeds]
    parts = [
        f"# {study.TITLE}",
        f"`grokbench reproduce {name} --scale {scale}`: {verdicts(statements)}.",
        _about(records),
        *([study.SMALL_SCALE] if scale == "small" else []),
        statements_table(statements),
        *(f"![{Path(picture).stem}]({picture})" for picture in pictures),
        *study.tables(measured),
    ]
    return "\n\n".join(parts) + "\n"


def _about(records: Sequence[RunRecord]) -> str:
    """How much ran, where, and how long it took."""
    settings = len({(record.task, record.agent.hash) for record in records})
    where = sorted(
        {f"{r.where.device}, {r.where.threads} threads, torch {r.where.versions.get('torch', '?')}" for r in records}
    )
    minutes = sum(record.cost.seconds for record in records) / 60
    return f"{len(records)} runs of {settings} settings, {minutes:,.0f} minutes of training and exams ({'; '.join(where)})."


__all__ = ["STUDIES", "find_study", "reproduce"]
