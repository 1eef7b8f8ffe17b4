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
BOARD_COLUMNS = {
    "rank": (
        "Methods that were tuned by the rules are ranked within their network, from the best score down. A row shares the "
        "rank above unless it is significantly slower than the first row of that rank (paired exchange test over tasks and "
        f"seeds, with the spread of both tunings, {statistics.SIGNIFICANCE:.0%}, Holm-corrected). Neighbors of different ranks "
        f"may still be equally fast. *{UNSOLVED}*: fewer than half of the runs "
        "generalize. *untuned*: a setting that wasn't tuned by the rules, without a rank; its page says where it comes from. "
        "*open*: anything that keeps to the protocol, without a rank."
    ),
    "entry": "Its page has its tuning, cost, curves, the ratio on every task, its verdicts, and the commands that repeat it.",
    "score (95 % interval)": (
        "How many times faster than the pinned reference: the geometric mean over tasks of the ratio of restricted mean steps "
        "(RMST). An unsolved run counts as the whole budget, so without any solved run the score is an upper bound (≤). The "
        "interval counts the seeds of both, and the spread that tuning brings to both."
    ),
    "solved": (
        "The runs that generalize, out of all scored runs. *lost*: the runs that reached the threshold without generalizing. "
        "They unlearned the task, or passed too few exams."
    ),
    "final effective rank": (
        "The median over the runs that generalize, and the number of these runs. It is measured at the later of 3·T and "
        "T + 1,000, at twice the budget at the latest. It depends "
        "on the network, and on when it is measured: at 3·T where T is large, and at ten times T where T is about 100."
    ),
    "delay": "The median of steps-to-generalize over steps-to-memorize, over the runs that generalize. Failures don't count.",
    "trust": "How the numbers were confirmed. The levels are listed below.",
}
ABOUT = (
    "The reference of all scores is AdamW on the one-layer transformer, tuned by the same rules as every ranked row. Ranks "
    "compare methods on the same network, because scores mix network and method."
)
NETWORKS = {
    "transformer": "One-layer transformer",
    "decoder": "Two-layer transformer",
    "mlp": "MLP",
    "deep_mlp": "Deep MLP",
    "own": "Networks of the entries' own",
}  # a baseline's network → its heading, in the order of the tables


def board(all_standings: Sequence[Standing]) -> str:
    """A table for every suite and network that has entries, and their legend, as Markdown."""
    groups = grouped(all_standings)
    if not groups:
        return "There are no accepted entries yet."
    parts = []
    for suite, networks in groups.items():
        parts.append(f"## `{suite}`")
        for network, rows in networks.items():
            parts += [f"### {NETWORKS[network]}", table(rows, all_standings)]
    return "\n\n".join([fill(ABOUT, LINE_LENGTH), *parts, *legend()])


def grouped(all_standings: Sequence[Standing]) -> dict[str, dict[str, list[Standing]]]:
    """Suite → network → its standings, in the order of the tables. What has no standing is left out."""
    groups: dict[str, dict[str, list[Standing]]] = {
        suite.name: {network: [] for network in NETWORKS} for suite in list_suites()
    }
    for standing in all_standings:
        groups[standing.entry.form.suite][standing.entry.network].append(standing)
    kept = {suite: {network: rows for network, rows in networks.items() if rows} for suite, networks in groups.items()}
    return {suite: networks for suite, networks in kept.items() if networks}


def table(rows: Sequence[Standing], all_standings: Sequence[Standing]) -> str:
    """One table. `all_standings` has reproductions."""
    cells = [_cells(row, mark, all_standings) for row, mark in in_order(rows)]
    return tabulate(cells, list(BOARD_COLUMNS), tablefmt="github", disable_numparse=True)


def in_order(rows: Sequence[Standing]) -> list[tuple[Standing, str]]:
    """The rows of one table with their marks: the ranked ones, then the others, each with the best score first."""
    ordered = sorted(rows, key=lambda row: (not row.is_ranked, -row.score, row.entry.name))
    ranked = [row for row in ordered if row.is_ranked]
    places = statistics.shared_places([row.samples for row in ranked], [row.tuning_spread for row in ranked])
    ranks = [UNSOLVED if row.unsolved else str(place) for row, place in zip(ranked, places, strict=True)]
    marks = [*ranks, *(_mark(row) for row in ordered[len(ranked) :])]
    return list(zip(ordered, marks, strict=True))


def _mark(row: Standing) -> str:
    """Why a row has no rank."""
    marks = [*(["open"] if row.entry.form.division == "open" else []), *(["untuned"] if row.tuning is None else [])]
    return ", ".join(marks)


def legend() -> list[str]:
    """What the columns and the levels of trust mean, as paragraphs of Markdown."""
    columns = [_item(f"**{name}**: {meaning}") for name, meaning in BOARD_COLUMNS.items()]
    levels = [_item(f"*{level}*: {meaning}") for level, meaning in TRUST_LEGEND.items()]
    return ["## How to read the tables", "\n".join(columns), "Levels of trust:", "\n".join(levels)]


def _item(text: str) -> str:
    return fill(text, LINE_LENGTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cells(row: Standing, mark: str, all_standings: Sequence[Standing]) -> list[str]:
    return [
        mark,
        f"[{inert(row.entry.form.title)}](pages/{row.entry.name}.md)",
        row.score_text,
        row.solved_text,
        row.final_rank_text,
        row.delay_text,
        trust(row, all_standings),
    ]
