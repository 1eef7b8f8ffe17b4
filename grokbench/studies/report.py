"""A study's report as Markdown: each statement beside its measurement, figures and tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from tabulate import tabulate

from grokbench.analysis.curves import Curves
from grokbench.runs.records import RunRecord
from grokbench.studies.settings import SettingType
from grokbench.studies.statements import Statement

Columns = Mapping[str, Callable[[SettingType, list[Curves]], str]]  # header: the text of a setting's cell


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every cell is text."""
    return tabulate(list(rows), headers, tablefmt="github", disable_numparse=True)


def settings_table(columns: Columns[SettingType], curves: Mapping[SettingType, list[Curves]]) -> str:
    """A Markdown table with a row for each setting."""
    rows = [[cell(setting, seeds) for cell in columns.values()] for setting, seeds in curves.items()]
    return table(list(columns), rows)


def statements_table(statements: Sequence[Statement]) -> str:
    """A Markdown table with a row for each statement."""
    rows = [
        (
            statement.text,
            statement.source,
            str(statement.measurement or ""),
            f"**{statement.conclusion}**",
        )
        for statement in statements
    ]
    return table(("statement", "source", "measured here", "conclusion"), rows)


def spread(values: Sequence[float | None], digits: int = 0) -> str:
    """The mean with the lowest and the highest value, as text: "1,582 (1,447–1,768, 1 never)". None counts as never."""
    known = [value for value in values if value is not None]
    if not known:
        return "never"
    never = f", {len(values) - len(known)} never" if len(known) < len(values) else ""
    return f"{mean(known):,.{digits}f} ({min(known):,.{digits}f}–{max(known):,.{digits}f}{never})"


def percent(shares: Sequence[float]) -> str:
    """The spread of shares in [0, 1], in percent with one decimal."""
    return f"{spread([100 * share for share in shares], digits=1)} %"


def report(
    *,
    title: str,
    summary: str,
    notes: Sequence[str],
    statements: Sequence[Statement],
    figures: Iterable[str],
    tables: Sequence[str],
) -> str:
    """The whole report.

    Args:
        title: The first heading.
        summary: The command, with the number of statements that were reproduced.
        notes: Paragraphs above the statements.
        statements: The statements, in order.
        figures: File names of the figures, beside the report.
        tables: Markdown below the figures.
    """
    images = [f"![{Path(name).stem}]({name})" for name in figures]
    parts = [f"# {title}", summary, *notes, statements_table(statements), *images, *tables]
    return "\n\n".join(parts) + "\n"


def describe_runs(records: Sequence[RunRecord]) -> str:
    """How many runs there are, how long they took and on which machines."""
    settings = len({(record.task, record.agent.hash) for record in records})
    machines = "; ".join(sorted({_machine(record) for record in records}))
    minutes = sum(record.cost.seconds for record in records) / 60
    return f"{len(records)} runs of {settings} settings, {minutes:,.0f} minutes of training and exams ({machines})."


def _machine(record: RunRecord) -> str:
    provenance = record.provenance
    return f"{provenance.device}, {provenance.threads} threads, torch {provenance.versions.get('torch', '?')}"
