"""A study's report: each published statement beside what was measured, with a verdict, as Markdown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Literal, Protocol, get_args

from tabulate import tabulate

from grokbench.analysis.curves import Curves
from grokbench.runs.engine import counts, run
from grokbench.runs.progress import Progress
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store
from grokbench.studies.settings import JointSettings, Measured, Scale

Conclusion = Literal["reproduced", "not reproduced", "not tested at this scale"]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Evidence:
    """What was measured about a statement, in words and numbers, and whether it bears the statement out."""

    measured: str
    holds: bool


@dataclass(frozen=True)
class Statement:
    """A published statement and where it stands."""

    text: str
    source: str
    evidence: Evidence | None

    @property
    def verdict(self) -> Conclusion:
        """What follows."""
        if self.evidence is None:
            return "not tested at this scale"
        return "reproduced" if self.evidence.holds else "not reproduced"


def statements_table(statements: Sequence[Statement]) -> str:
    """One row per statement."""
    rows = [(one.text, one.source, one.evidence.measured if one.evidence else "", f"**{one.verdict}**") for one in statements]
    return table(("statement", "where", "measured here", "verdict"), rows)


def verdicts(statements: Sequence[Statement]) -> str:
    """How many statements there are of each verdict."""
    counts = Counter(one.verdict for one in statements)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Conclusion) if counts[verdict])


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text."""
    return tabulate(list(rows), headers, tablefmt="github", disable_numparse=True)


def spread(values: Sequence[float | None], digits: int = 0) -> str:
    """The mean with the lowest and the highest; None is what never came."""
    known = [value for value in values if value is not None]
    missing = f", {len(values) - len(known)} never" if len(known) < len(values) else ""
    if not known:
        return "never"
    return f"{mean(known):,.{digits}f} ({min(known):,.{digits}f}–{max(known):,.{digits}f}{missing})"


STUDIES = ("deep-grokking", "omnigrok", "pattern-learning", "model-wise")


class Study(Protocol):
    """What a study's module offers."""

    TITLE: str
    SMALL_SCALE: str  # what the small scale has instead of the paper's settings

    def batches(self, scale: Scale) -> list[JointSettings]:
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
    study: Study = import_module(f"grokbench.studies.{name.replace('-', '_')}")
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
        if not run(plans, store, callbacks=[progress], device=device, probes=True):
            return None
    measured = {
        setting: [Curves(read_record(store.record_path(setting.experiment, seed))) for seed in batch.seeds]
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
        {
            f"{r.provenance.device}, {r.provenance.threads} threads, torch {r.provenance.versions.get('torch', '?')}"
            for r in records
        }
    )
    minutes = sum(record.cost.seconds for record in records) / 60
    return f"{len(records)} runs of {settings} settings, {minutes:,.0f} minutes of training and exams ({'; '.join(where)})."
