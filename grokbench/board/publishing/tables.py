"""The leaderboard's tables as Markdown. Every number is computed from the entries' exams."""

from collections.abc import Sequence
from textwrap import fill

from tabulate import tabulate

from grokbench.board.entries.division import Hold, hold
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
    "place": (
        "Counted from the best score down. A row shares the place above unless it is significantly slower than the first row "
        f"of that place (paired exchange test over tasks and seeds, {statistics.SIGNIFICANCE:.0%}). "
        f"*{UNSOLVED}*: fewer than half of the runs generalize."
    ),
    "entry": "The page of an entry has its curves, tasks, architecture, parameters, tuning, verdicts, and further intervals.",
    "score (95 % interval)": (
        "How many times sooner than the pinned reference: the geometric mean over tasks of the ratio of restricted mean steps "
        "(RMST), with a studentized bootstrap interval over the seeds of both."
    ),
    "sooner than AdamW?": (
        "*yes* or *slower* where the entry differs significantly from the reference (the same test, Holm-corrected over the "
        f"rows of the table, {statistics.SIGNIFICANCE:.0%}). *depends on the task*: without some task the score lies on the "
        "other side of 1."
    ),
    "solved": (
        "The runs that generalize, out of all scored runs. *lost*: the runs that reached the threshold without generalizing. "
        "They unlearned the task, or passed too few exams."
    ),
    "final effective rank": "The median at the end of the runs that generalize, and the number of these runs.",
    "trust": (
        "How the numbers were confirmed. The levels are listed below. *averaged*: a running average of the weights answers. "
        "*stopped*: the features of a run that generalized no longer change."
    ),
}
PROVISIONAL = (
    "The reference is provisional: AdamW at learning rate 1e-2 and weight decay 1. It isn't tuned by a study yet, and neither "
    "is any row."
)


def board(all_standings: Sequence[Standing]) -> str:
    """The tables of every suite and division, and their legend, as Markdown."""
    parts = []
    for suite in list_suites():
        for division, rule in DIVISIONS.items():
            rows = in_division(all_standings, suite.name, division)
            if rows:
                parts += [f"## `{suite.name}`, {division} division, as published", rule, table(rows, all_standings)]
    return "\n\n".join([fill(PROVISIONAL, LINE_LENGTH), *parts, *legend()] if parts else ["There are no accepted entries yet."])


def in_division(all_standings: Sequence[Standing], suite: str, division: str) -> list[Standing]:
    """The standings of one suite and division."""
    forms = [(standing, standing.entry.form) for standing in all_standings]
    return [standing for standing, form in forms if (form.suite, form.division) == (suite, division)]


def table(rows: Sequence[Standing], all_standings: Sequence[Standing]) -> str:
    """One table, the best score first. Reproductions are looked for in `all_standings`."""
    ordered = sorted(rows, key=lambda row: (-row.score, row.entry.name))
    places = statistics.shared_places([row.samples for row in ordered])
    answers = sooner(ordered)
    cells = [_cells(row, place, answer, all_standings) for row, place, answer in zip(ordered, places, answers, strict=True)]
    return tabulate(cells, list(BOARD_COLUMNS), tablefmt="github", disable_numparse=True)


def sooner(rows: Sequence[Standing]) -> list[str]:
    """For every row of a table, whether it is sooner than the reference. One test a row, Holm-corrected."""
    tested = [row for row in rows if not row.is_reference]
    p_values = dict(zip(map(id, tested), statistics.holm([row.p for row in tested]), strict=True))
    return [_sooner(row, p_values.get(id(row))) for row in rows]


def _sooner(row: Standing, p: float | None) -> str:
    if p is None:
        return "the reference"
    differs = p < statistics.SIGNIFICANCE
    answer = ("yes" if row.score > 1 else "slower") if differs else "not shown"
    return f"{answer}, depends on the task" if row.depends_on_the_task else answer


def legend() -> list[str]:
    """What the columns and the levels of trust mean, as paragraphs of Markdown."""
    columns = [_item(f"**{name}**: {meaning}") for name, meaning in BOARD_COLUMNS.items()]
    levels = [_item(f"*{level}*: {meaning}") for level, meaning in TRUST_LEGEND.items()]
    return ["## How to read the tables", "\n".join(columns), "Levels of trust:", "\n".join(levels)]


def _item(text: str) -> str:
    return fill(text, LINE_LENGTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cells(row: Standing, place: int, answer: str, all_standings: Sequence[Standing]) -> list[str]:
    return [
        UNSOLVED if row.unsolved else str(place),
        f"[{inert(row.entry.form.title)}](pages/{row.entry.name}.md)",
        row.score_text,
        answer,
        row.solved_text,
        row.final_rank_text,
        _trust(row, all_standings),
    ]


def _trust(row: Standing, all_standings: Sequence[Standing]) -> str:
    """The level of trust, and how the runs hold their level if they don't train on."""
    held = hold(row.entry)
    level = trust(row, all_standings)
    return str(level) if held == Hold.TRAINING else f"{level}, {held}"
