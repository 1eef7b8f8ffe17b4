"""The leaderboard's tables and pages: everything shown is recomputed from the entries' exams."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from tabulate import tabulate

from grokbench import scoring
from grokbench.board.check import Checked
from grokbench.board.entries import Entry
from grokbench.report import task_table, with_section
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task, list_suites, list_tasks

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
    "closed": "a baseline's network and one recipe for all tasks: optimiser, loss, regularisation and initialisation differ",
    "open": "anything that keeps to the protocol",
}
LEGEND = (
    "Score: times faster than the pinned reference, the geometric mean over tasks of the ratio of restricted mean steps "
    "(RMST), with a bootstrap interval over seeds. Rank: 1 + the number of rows significantly faster (paired exchange test "
    "over task and seed, Holm-corrected over the table, 5 %); rows that can't be told apart share one; *unsolved* where under "
    "half of the runs generalise. Sooner: the chance that a run generalises before one of the reference's. Final rank: median "
    "effective rank over generalised runs, and their number. Settings tried: the tuning that the entry declares. Trust: "
    "*consistent* means that every number was recomputed from the exams and checked."
)


@dataclass(frozen=True)
class Standing:
    """What an entry's runs amount to on its suite."""

    entry: Entry
    runs: tuple[RunRecord, ...]  # the scored ones, the control's not among them

    @cached_property
    def tasks(self) -> list[Task]:
        """The suite's scored tasks."""
        return list_tasks(self.entry.form.suite)

    @cached_property
    def samples(self) -> list[list[int]]:
        """Per task every seed's min(T, budget), in the order of seeds."""
        return [list(scoring.restricted(self._times(task), task.budget).values()) for task in self.tasks]

    @cached_property
    def references(self) -> list[list[int]]:
        """The same for the pinned reference."""
        pinned = scoring.reference().tasks
        times = [{seed: pinned[task.id][seed] for seed in self._times(task)} for task in self.tasks]
        return [list(scoring.restricted(one, task.budget).values()) for one, task in zip(times, self.tasks, strict=True)]

    def _times(self, task: Task) -> dict[int, int | None]:
        return {run.seed: run.outcome.steps_to_generalize for run in self.runs if run.task == task.id}

    @property
    def score(self) -> float:
        """Times faster than the reference."""
        pairs = zip(self.references, self.samples, strict=True)
        return scoring.score([sum(theirs) / sum(ours) for theirs, ours in pairs])

    @property
    def interval(self) -> tuple[float, float]:
        """The score's bootstrap interval."""
        return scoring.bootstrap_interval(self.samples, [sum(s) / len(s) for s in self.references])

    @property
    def solved(self) -> list[RunRecord]:
        """The runs that generalised."""
        return [run for run in self.runs if run.outcome.steps_to_generalize is not None]


def standings(checked: Sequence[Checked]) -> list[Standing]:
    """Those entries that nothing refuses, and whose suite has a pinned reference."""
    found = []
    for one in checked:
        if one.entry is None or one.refused:
            continue
        tasks = {task.id for task in list_tasks(one.entry.form.suite)}
        if tasks <= set(scoring.reference().tasks):
            found.append(Standing(one.entry, tuple(run for run in one.entry.runs if run.task in tasks)))
    return found


def board(checked: Sequence[Checked]) -> str:
    """The tables of every suite and division, as Markdown."""
    parts = []
    standing = standings(checked)
    for suite in list_suites():
        for division, about in DIVISIONS.items():
            rows = [s for s in standing if (s.entry.form.suite, s.entry.form.division) == (suite.name, division)]
            if rows:
                parts += [f"## `{suite.name}`, {division} division", f"{about[0].upper()}{about[1:]}.", table(rows)]
    return "\n\n".join([*parts, LEGEND] if parts else ["No entry stands yet."])


def table(rows: Sequence[Standing]) -> str:
    """One table, the best score first."""
    ranks = scoring.tied_ranks([row.samples for row in rows])
    ordered = sorted(zip(rows, ranks, strict=True), key=lambda pair: (-pair[0].score, pair[0].entry.name))
    cells = [_cells(row, rank) for row, rank in ordered]
    return tabulate(cells, COLUMNS, tablefmt="github", disable_numparse=True)


def _cells(row: Standing, rank: int) -> list[str]:
    form, solved, runs = row.entry.form, row.solved, row.runs
    low, high = row.interval
    least, most = scoring.wilson_interval(len(solved), len(runs))
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
        f"{scoring.improvement_probability(row.samples, row.references):.0%}",
        f"{median(ranks):.1f} ({len(ranks)})" if ranks else "",
        f"{form.tuning.settings:,}",
        "" if few is None else f"{few:,}" if few == many else f"{few:,}–{many:,}",
        "consistent",
    ]


def page(one: Standing) -> str:
    """An entry's own page: what it says of itself, and its numbers per task."""
    form = one.entry.form
    lines = [
        f"# {inert(form.title)}",
        f"{', '.join(map(inert, form.authors))} · <{form.link}> · licence {inert(form.licence)}",
        inert(form.description),
        f"Suite `{form.suite}`, {form.division} division, architecture {one.entry.architecture}; "
        f"{form.tuning.settings:,} settings tried{_tuned_on(form.tuning.tasks)}.",
    ]
    if form.reproduces:
        lines.append(f"An independent reproduction of [{form.reproduces}]({form.reproduces}.md).")
    lines += [
        f"Score ×{one.score:.2f} ({one.interval[0]:.2f}–{one.interval[1]:.2f}).",
        task_table(one.entry.runs, "github"),
        f"![Accuracy and effective rank over steps]({one.entry.name}.png)",
    ]
    return "\n\n".join(lines) + "\n"


def _tuned_on(tasks: Sequence[str]) -> str:
    return f" on {', '.join(map(inert, tasks))}" if tasks else ""


def inert(text: str) -> str:
    """Text that is nothing but text wherever Markdown or HTML is read: no tag, link, mention or table cell comes of it."""
    plain = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    return "".join(c if c.isalnum() or c in " ,;-" else f"&#{ord(c)};" for c in plain)


def write_board(checked: Sequence[Checked], leaderboard: Path) -> None:
    """Put the tables into `leaderboard/README.md`, between the marks, and write every entry's page with its curves."""
    from grokbench.plots import draw_curves

    readme = leaderboard / "README.md"
    readme.write_text(with_board(readme.read_text(encoding="utf-8"), checked), encoding="utf-8")
    pages = leaderboard / "pages"
    pages.mkdir(exist_ok=True)
    for one in standings(checked):
        (pages / f"{one.entry.name}.md").write_text(page(one), encoding="utf-8")
        draw_curves(list(one.runs), pages / one.entry.name, ("png",))


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
    wanted |= {leaderboard / "pages" / f"{one.entry.name}.md": page(one) for one in standings(checked)}
    return [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
