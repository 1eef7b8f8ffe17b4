"""What tuning buys, over the tuned entries of the leaderboard: `python -m tools.draw_tuning` writes docs/images/tuning.png.

A curve for each method: the expected RMST on the suite `tuning` of the best of n settings. The table beneath the figure goes
into docs/tuning.md. Its last row says how well the order of the methods after n settings agrees with their order after 32.
"""

from collections.abc import Mapping
from math import exp
from pathlib import Path

from matplotlib.figure import Figure
from scipy.stats import spearmanr
from tabulate import tabulate

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import standings
from grokbench.results.markdown import write_section
from grokbench.sweeps.tuning import COUNTS, PUBLISHED, Tuning, expected_steps, log_steps, solving_share

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FIGURE = DOCS / "tuning.md", DOCS / "images" / "tuning.png"
SECTION = "tunings"
SUITE = "mini"  # every tuned method has an entry to it
FEWEST_RANKED = 3  # methods, below which a correlation of their orders says nothing


def tunings() -> dict[str, Tuning]:
    """Title → tuning of the tuned entries to one suite, the soonest after all settings first."""
    rows = [row for row in standings(check_entries()) if row.entry.form.suite == SUITE]
    found = {row.entry.form.title: row.tuning for row in rows if row.tuning is not None}
    return dict(sorted(found.items(), key=lambda item: expected_steps(item[1].sampled, COUNTS[-1])))


def draw(methods: Mapping[str, Tuning]) -> Figure:
    """The expected RMST of every method over the number of settings."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for title, tuning in methods.items():
        axes.plot(COUNTS, [expected_steps(tuning.sampled, count) for count in COUNTS], marker="o", label=title)
    axes.set(xscale="log", yscale="log", xlabel="settings tried", ylabel="expected RMST of the best of them, steps")
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=2)
    return figure


def table(methods: Mapping[str, Tuning]) -> str:
    """A row for every method, and the rank correlation of each column with the last one."""
    expected = {title: [expected_steps(tuning.sampled, count) for count in COUNTS] for title, tuning in methods.items()}
    rows = [
        [
            title,
            f"{exp(log_steps(tuning.search[PUBLISHED])):,.0f}",
            *(f"{steps:,.0f}" for steps in expected[title]),
            f"{solving_share(tuning.sampled):.0%}",
        ]
        for title, tuning in methods.items()
    ]
    if len(methods) >= FEWEST_RANKED:
        columns = list(zip(*expected.values(), strict=True))
        correlations = [spearmanr(column, columns[-1]).statistic for column in columns]
        rows.append(["*rank correlation with 32 settings*", "", *(f"{value:.2f}" for value in correlations), ""])
    headers = ["method", "starting setting", *map(str, COUNTS), "settings that solve half"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Draw the figure, write the table into the page and print it."""
    methods = tunings()
    draw(methods).savefig(FIGURE, dpi=130)
    write_section(PAGE, SECTION, table(methods))
    print(table(methods))


if __name__ == "__main__":
    main()
