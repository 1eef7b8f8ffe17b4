"""The leaderboard's tables and pages: everything shown is recomputed from the entries' exams."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tabulate import tabulate

from grokbench.board.entries.checks import Checked
from grokbench.board.publishing.pages import page
from grokbench.board.publishing.standings import Standing, standings
from grokbench.board.publishing.trust import trust
from grokbench.results import statistics
from grokbench.results.markdown import inert, with_section
from grokbench.tasks import list_suites

COLUMNS = (
    "rank",
    "entry",
    "architecture",
    "score",
    "95 % interval",
    "solved",
    "95 % interval",
    "sooner than the reference",
    "final rank",
    "settings tried",
    "parameters",
    "trust",
)
DIVISIONS = {
    "closed": "a baseline's network and one recipe for all tasks: optimizer, loss, regularization and initialization differ",
    "open": "anything that keeps to the protocol",
}
LEGEND = (
    "Score: times faster than the pinned reference, the geometric mean over tasks of the ratio of restricted mean steps "
    "(RMST), with a studentized bootstrap interval over seeds. Rank: 1 + the number of rows significantly faster (paired "
    "exchange test over task and seed, Holm-corrected over the table, 5 %); rows that can't be told apart share one; "
    "*unsolved* where under half of the runs generalize. Sooner: the chance that a run generalizes before one of the "
    "reference's. Final rank: median effective rank over generalized runs, and their number. Settings tried: the tuning "
    "that the entry declares. Trust: *consistent* means that every number was recomputed from the exams and checked; "
    "*re-executed*, that cells chosen by salt and fresh instances were run again, the agent in a sandbox, and every such "
    "verdict on the files as they are is good; *reproduced*, that besides other people's entry, made to reproduce this one "
    "and re-executed too, can't be told apart from it (paired exchange test, 5 %). A failed re-execution stays listed."
)


def board(checked: Sequence[Checked]) -> str:
    """The tables of every suite and division, as Markdown."""
    parts = []
    standing = standings(checked)
    for suite in list_suites():
        for division, about in DIVISIONS.items():
            rows = [s for s in standing if (s.entry.form.suite, s.entry.form.division) == (suite.name, division)]
            if rows:
                parts += [f"## `{suite.name}`, {division} division", f"{about[0].upper()}{about[1:]}.", table(rows, standing)]
    return "\n\n".join([*parts, LEGEND] if parts else ["No entry stands yet."])


def table(rows: Sequence[Standing], standing: Sequence[Standing]) -> str:
    """One table, the best score first; `standing` is where reproductions are looked for."""
    ranks = statistics.tied_ranks([row.samples for row in rows])
    ordered = sorted(zip(rows, ranks, strict=True), key=lambda pair: (-pair[0].score, pair[0].entry.name))
    cells = [[*_cells(row, rank), trust(row, standing)] for row, rank in ordered]
    return tabulate(cells, COLUMNS, tablefmt="github", disable_numparse=True)


def _cells(row: Standing, rank: int) -> list[str]:
    form, solved, runs = row.entry.form, row.solved, row.runs
    low, high = row.interval
    least, most = statistics.wilson_interval(len(solved), len(runs))
    ranks = [run.outcome.final_rank for run in solved if run.outcome.final_rank is not None]
    parameters = {run.cost.parameters for run in runs}
    few, many = (f(p for p in parameters if p is not None) for f in (min, max)) if parameters != {None} else (None, None)
    return [
        str(rank) if 2 * len(solved) >= len(runs) else "unsolved",
        f"[{inert(form.title)}](pages/{row.entry.name}.md)",
        row.entry.architecture,
        f"×{row.score:.2f}",
        f"{low:.2f}–{high:.2f}",
        f"{len(solved)}/{len(runs)}",
        f"{least:.0%}–{most:.0%}",
        f"{statistics.improvement_probability(row.samples, row.references):.0%}",
        f"{median(ranks):.1f} ({len(ranks)})" if ranks else "",
        f"{form.tuning.settings:,}",
        "" if few is None else f"{few:,}" if few == many else f"{few:,}–{many:,}",
    ]


def write_board(checked: Sequence[Checked], leaderboard: Path) -> None:
    """Put the tables into `leaderboard/README.md`, between the marks, and write every entry's page with its curves."""
    from grokbench.results.plots import draw_curves

    readme = leaderboard / "README.md"
    readme.write_text(with_board(readme.read_text(encoding="utf-8"), checked), encoding="utf-8")
    pages = leaderboard / "pages"
    pages.mkdir(exist_ok=True)
    standing = standings(checked)
    for path in _stray_pages(pages, standing):
        path.unlink()
    for one in standing:
        (pages / f"{one.entry.name}.md").write_text(page(one, standing), encoding="utf-8")
        draw_curves(list(one.runs), pages / one.entry.name, endings=("png",))


def with_board(content: str, checked: Sequence[Checked]) -> str:
    """The README's `content` with today's tables.

    Raises:
        ValueError: it lacks the marks.
    """
    return with_section(content, "board", board(checked))


def drift(checked: Sequence[Checked], leaderboard: Path) -> list[Path]:
    """The generated files that don't say what the entries amount to."""
    readme = leaderboard / "README.md"
    content = readme.read_text(encoding="utf-8")
    wanted = {readme: with_board(content, checked)}
    standing = standings(checked)
    wanted |= {leaderboard / "pages" / f"{one.entry.name}.md": page(one, standing) for one in standing}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return stale + _stray_pages(leaderboard / "pages", standing)


def _stray_pages(pages: Path, standing: Sequence[Standing]) -> list[Path]:
    """What lies among the pages and is no standing entry's."""
    names = {f"{one.entry.name}.{ending}" for one in standing for ending in ("md", "png")}
    return sorted(path for path in pages.glob("*") if path.name not in names)
