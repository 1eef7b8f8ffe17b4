"""The leaderboard's tables as Markdown. Every number is computed from the entries' exams."""

from collections.abc import Sequence
from textwrap import fill

from tabulate import tabulate

from grokbench.board.publishing.standings import UNSOLVED, Standing
from grokbench.board.publishing.trust import TRUST_LEGEND, trust
from grokbench.results import statistics
from grokbench.results.markdown import inert
from grokbench.tasks import list_suites

LINE_LENGTH = 120  # of the legend
DIVISIONS = {
    "closed": "A baseline's network and one recipe for all tasks: optimizer, loss, regularization and initialization differ.",
    "open": "Anything that keeps to the protocol.",
}
BOARD_COLUMNS = {
    "rank": (
        "1 + the number of entries in the table that are significantly faster (paired exchange test over tasks and seeds, "
        f"Holm-corrected over the table, {statistics.SIGNIFICANCE:.0%}). Entries that can't be told apart may share a rank. "
        f"*{UNSOLVED}*: fewer than half of the runs generalize."
    ),
    "entry": ("The page of an entry has its curves, tasks, architecture, parameters, tuning, verdicts, and further intervals."),
    "score (95 % interval)": (
        "How many times faster than the pinned reference: the geometric mean over tasks of the ratio of restricted mean steps "
        "(RMST), with a studentized bootstrap interval over seeds."
    ),
    "solved": "The runs that generalize, out of all scored runs.",
    "faster than the reference": "The probability that a run generalizes in fewer steps than a run of the reference.",
    "final rank": "The median effective rank at the end of the runs that generalize, and the number of these runs.",
    "trust": "How the numbers were confirmed. The levels are listed below.",
}


def board(all_standings: Sequence[Standing]) -> str:
    """The tables of every suite and division, and their legend, as Markdown."""
    parts = []
    for suite in list_suites():
        for division, rule in DIVISIONS.items():
            rows = in_division(all_standings, suite.name, division)
            if rows:
                parts += [f"## `{suite.name}`, {division} division", rule, table(rows, all_standings)]
    return "\n\n".join([*parts, *legend()] if parts else ["There are no accepted entries yet."])


def in_division(all_standings: Sequence[Standing], suite: str, division: str) -> list[Standing]:
    """The standings of one suite and division."""
    forms = [(standing, standing.entry.form) for standing in all_standings]
    return [standing for standing, form in forms if (form.suite, form.division) == (suite, division)]


def table(rows: Sequence[Standing], all_standings: Sequence[Standing]) -> str:
    """One table, the best score first. Reproductions are looked for in `all_standings`."""
    ranks = statistics.tied_ranks([row.samples for row in rows])
    ordered = sorted(zip(rows, ranks, strict=True), key=lambda pair: (-pair[0].score, pair[0].entry.name))
    cells = [_cells(row, rank, all_standings) for row, rank in ordered]
    return tabulate(cells, list(BOARD_COLUMNS), tablefmt="github", disable_numparse=True)


def legend() -> list[str]:
    """What the columns and the levels of trust mean, as paragraphs of Markdown."""
    columns = [_item(f"**{name}**: {meaning}") for name, meaning in BOARD_COLUMNS.items()]
    levels = [_item(f"*{level}*: {meaning}") for level, meaning in TRUST_LEGEND.items()]
    return ["## How to read the tables", "\n".join(columns), "Levels of trust:", "\n".join(levels)]


def _item(text: str) -> str:
    return fill(text, LINE_LENGTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cells(row: Standing, rank: int, all_standings: Sequence[Standing]) -> list[str]:
    return [
        UNSOLVED if row.unsolved else str(rank),
        f"[{inert(row.entry.form.title)}](pages/{row.entry.name}.md)",
        row.score_text,
        row.solved_text,
        row.faster_text,
        row.final_rank_text,
        trust(row, all_standings),
    ]
