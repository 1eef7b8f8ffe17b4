"""The page of an entry: its form, its results by task, its verdicts and its reproductions."""

from collections.abc import Sequence

from tabulate import tabulate

from grokbench.board.entries.division import hold
from grokbench.board.entries.files import RECIPE
from grokbench.board.entries.form import Form
from grokbench.board.entries.verdicts import Verdict
from grokbench.board.publishing.standings import Standing
from grokbench.board.publishing.trust import Reproduction, current_verdicts, reproductions, trust
from grokbench.results import statistics
from grokbench.results.markdown import inert
from grokbench.results.sequential import ALLOWED_SPEEDUP, HIDDEN
from grokbench.results.tables import task_table
from grokbench.sweeps.tuning import COUNTS, expected_steps

VERDICT_COLUMNS = (
    "files",
    "runs repeated",
    "the same to the bit",
    "times compared",
    "sandbox",
    "machine",
    "claimed times",
    "mean time, fresh / claimed (95 % interval)",
    "seconds a step / AdamW",
    "result",
)


def page(standing: Standing, all_standings: Sequence[Standing]) -> str:
    """The page as Markdown, in which the entry's own text is nothing but text."""
    form = standing.entry.form
    parts = [
        f"# {inert(form.title)}",
        f"{', '.join(map(inert, form.authors))} · <{form.link}> · license {inert(form.license)}",
        inert(form.description),
    ]
    if form.reproduces:
        parts.append(f"An independent reproduction of [{form.reproduces}]({form.reproduces}.md).")
    parts += [
        _results(standing, all_standings),
        *_tuning(standing),
        *_ratios(standing),
        task_table(standing.entry.runs, "github"),
        f"![Accuracy and effective rank over steps]({standing.entry.name}.png)",
        *_verdicts(standing),
        *_reproductions(standing, all_standings),
        *_commands(standing),
    ]
    return "\n\n".join(parts) + "\n"


def _results(standing: Standing, all_standings: Sequence[Standing]) -> str:
    form = standing.entry.form
    rows = {
        "suite": f"`{form.suite}`, {form.division} division",
        "score (95 % interval)": standing.score_text,
        "solved (95 % interval)": f"{standing.solved_text} ({standing.solve_rate_text})",
        "reached the threshold and left it": f"{len(standing.lost)}/{len(standing.runs)}",
        "a run is faster than one of the reference": standing.faster_text,
        "faster than the reference?": faster(standing, all_standings),
        "delay (median of T over steps to memorize)": "" if standing.delay is None else f"{standing.delay:.1f}",
        "final effective rank": standing.final_rank_text,
        "holds its level by": hold(standing.entry),
        "network": standing.entry.network,
        "parameters": standing.parameters_text,
        "settings tried": _settings_tried(form),
        "trust": trust(standing, all_standings),
    }
    return tabulate(rows.items(), ["result", "value"], tablefmt="github", disable_numparse=True)


def _ratios(standing: Standing) -> list[str]:
    """The ratio to the reference on every task, and the score without it."""
    if standing.is_reference or len(standing.tasks) < 2:
        return []
    rows = [
        (task.id, f"×{ratio:.2f}", f"×{without:.2f}")
        for task, ratio, without in zip(standing.tasks, standing.ratios, standing.scores_without, strict=True)
    ]
    headers = ["task", "times faster than the reference", "score without this task"]
    return [tabulate(rows, headers, tablefmt="github", disable_numparse=True)]


def faster(standing: Standing, all_standings: Sequence[Standing]) -> str:
    """Whether the entry is faster than the reference: one test a row of its suite's table, Holm-corrected over the rows."""
    if standing.is_reference:
        return "the reference"
    suite = standing.entry.form.suite
    tested = [row for row in all_standings if row.entry.form.suite == suite and not row.is_reference]
    p_values = dict(zip((row.entry.name for row in tested), statistics.holm([row.p for row in tested]), strict=True))
    p = p_values[standing.entry.name]
    answer = ("yes" if standing.score > 1 else "slower") if p < statistics.SIGNIFICANCE else "not shown"
    depends = ", depends on the task" if standing.depends_on_the_task else ""
    return f"{answer}{depends} (p = {p:.2g}, Holm-corrected over the {len(tested)} rows of the suite)"


def _settings_tried(form: Form) -> str:
    tasks = ", ".join(map(inert, form.tuning.tasks))
    return f"{form.tuning.settings:,} on {tasks}" if tasks else f"{form.tuning.settings:,}"


def _tuning(standing: Standing) -> list[str]:
    """What the tuning chose and what it brought, with its figure."""
    tuning = standing.tuning
    if tuning is None:
        return []
    steps = [f"{expected_steps(tuning.sampled, count):,.0f}" for count in COUNTS]
    headers = ["settings tried", *map(str, COUNTS)]
    expected = tabulate([["expected RMST", *steps]], headers, tablefmt="github", disable_numparse=True)
    return [
        "Tuned by the rules, on the suite `tuning`. " + inert(str(tuning).replace("\n", ". ")) + ".",
        expected,
        f"![RMST over learning rate and weight decay, and over the settings tried]({standing.entry.name}-tuning.png)",
    ]


def _commands(standing: Standing) -> list[str]:
    """The commands that make the runs again, and that check the entry."""
    form, name = standing.entry.form, standing.entry.name
    recipe = f"leaderboard/entries/{name}/recipe.toml"
    runs = [f"grokbench run --suite {form.suite} --agents {recipe} --out runs"] if form.agent == RECIPE else []
    return ["The same again:", "\n".join(["```", *runs, f'grokbench verify {name} --salt "$(openssl rand -hex 16)"', "```"])]


def _verdicts(standing: Standing) -> list[str]:
    """The verdicts as a table with a heading, the newest last."""
    if not standing.verdicts:
        return []
    current = current_verdicts(standing)
    rows = [_verdict_cells(verdict, verdict in current) for verdict in standing.verdicts]
    heading = (
        "Re-executions. Rounds of runs on fresh instances go on until they confirm the claimed times, or contradict them. "
        '"Slower" is the probability that honest runs are by chance so much slower, or so much more often unsolved. "Too fast" '
        f"is the probability that the new runs do so well by chance if the claims are {ALLOWED_SPEEDUP:g} times too fast, or "
        f"leave out {HIDDEN:.0%} of runs that are unsolved. Both tests look at ranks and at the number of unsolved runs. "
        "A score is made of means, in which a few unsolved runs weigh much. So the means are compared too."
    )
    return [heading, tabulate(rows, VERDICT_COLUMNS, tablefmt="github", disable_numparse=True)]


def _verdict_cells(verdict: Verdict, current: bool) -> list[str]:
    provenance = verdict.provenance
    versions = [f"{name} {number}" for name, number in provenance.versions.items()]
    result = ", ".join(["passed" if verdict.passed else "FAILED", *verdict.problems])
    pace = f"{verdict.pace.ratio:.2f}" if verdict.pace else ""
    return [
        "these files" if current else "earlier files",
        inert(", ".join(f"{task} seed {seed}" for task, seed in verdict.runs)),
        _repeated_text(verdict),
        inert("; ".join(f"{task} {times}" for task, times in verdict.fresh.items())),
        "yes" if verdict.sandboxed else "no",
        inert(", ".join([provenance.device, f"{provenance.threads} threads", *versions])),
        verdict.decision_text,
        verdict.ratio_text,
        pace,
        inert(result),
    ]


def _repeated_text(verdict: Verdict) -> str:
    """How many runs repeated to the bit, those of the tuning by themselves."""
    tuning = f", tuning {len(verdict.tuning.repeated)} of {len(verdict.tuning.runs)}" if verdict.tuning else ""
    return f"{len(verdict.repeated)} of {len(verdict.runs)}{tuning}"


def _reproductions(standing: Standing, all_standings: Sequence[Standing]) -> list[str]:
    lines = [_reproduction(reproduction) for reproduction in reproductions(standing, all_standings)]
    return ["Independent reproductions:", "\n".join(lines)] if lines else []


def _reproduction(reproduction: Reproduction) -> str:
    entry, score = reproduction.by.entry, reproduction.by.score
    result = "not told apart from this entry" if reproduction.agrees else "DIFFERS"
    return f"- [{inert(entry.form.title)}]({entry.name}.md): ×{score:.2f}, {result} (p = {reproduction.p:.3g})"
