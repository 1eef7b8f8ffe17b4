"""An entry's own page, and text of other people's made harmless."""

from collections.abc import Sequence

from tabulate import tabulate

from grokbench.board.entries.verdicts import LEVEL, Verdict
from grokbench.board.publishing.standings import Standing
from grokbench.board.publishing.trust import Reproduction, current, reproductions, trust
from grokbench.results.markdown import inert
from grokbench.results.tables import task_table

VERDICT_COLUMNS = ("of", "cells run again", "repeated to the bit", "times compared", "p", "sandbox", "machine", "result")


def page(one: Standing, standing: Sequence[Standing]) -> str:
    """An entry's own page: what it says of itself, its numbers per task, its verdicts and who reproduced it."""
    form = one.entry.form
    lines = [
        f"# {inert(form.title)}",
        f"{', '.join(map(inert, form.authors))} · <{form.link}> · license {inert(form.license)}",
        inert(form.description),
        f"Suite `{form.suite}`, {form.division} division, architecture {one.entry.architecture}; "
        f"{form.tuning.settings:,} setting{'s' * (form.tuning.settings != 1)} tried{_tuned_on(form.tuning.tasks)}.",
    ]
    if form.reproduces:
        lines.append(f"An independent reproduction of [{form.reproduces}]({form.reproduces}.md).")
    lines += [
        f"Score ×{one.score:.2f} ({one.interval[0]:.2f}–{one.interval[1]:.2f}).",
        task_table(one.entry.runs, "github"),
        f"![Accuracy and effective rank over steps]({one.entry.name}.png)",
        f"Trust: {trust(one, standing)}.",
        *_verdicts(one),
        *_reproductions(one, standing),
    ]
    return "\n\n".join(lines) + "\n"


def _verdicts(one: Standing) -> list[str]:
    """What re-executions found, the newest last."""
    if not one.verdicts:
        return []
    rows = [_verdict_cells(verdict, verdict in current(one)) for verdict in one.verdicts]
    about = f"Re-executions; p: how likely honest runs are to be so much slower than the claimed ones, refused below {LEVEL}."
    return [about, tabulate(rows, VERDICT_COLUMNS, tablefmt="github", disable_numparse=True)]


def _verdict_cells(verdict: Verdict, present: bool) -> list[str]:
    provenance = verdict.provenance
    versions = [f"{name} {number}" for name, number in provenance.versions.items()]
    return [
        "these files" if present else "earlier files",
        inert(", ".join(f"{task} seed {seed}" for task, seed in verdict.runs)),
        f"{len(verdict.repeated)} of {len(verdict.runs)}",
        inert("; ".join(f"{task} {times}" for task, times in verdict.fresh.items())),
        f"{verdict.p:.4f}",
        "yes" if verdict.sandboxed else "no",
        inert(", ".join([provenance.device, f"{provenance.threads} threads", *versions])),
        inert(", ".join(["passed" if verdict.passed else "FAILED", *verdict.problems])),
    ]


def _reproductions(one: Standing, standing: Sequence[Standing]) -> list[str]:
    found = [_reproduction(reproduction) for reproduction in reproductions(one, standing)]
    return ["Independent reproductions:", "\n".join(found)] if found else []


def _reproduction(found: Reproduction) -> str:
    form, how = found.by.entry.form, "not told apart from it" if found.agrees else "DIFFERS"
    return f"- [{inert(form.title)}]({found.by.entry.name}.md): ×{found.by.score:.2f}, {how} (p = {found.p:.3g})"


def _tuned_on(tasks: Sequence[str]) -> str:
    return f" on {', '.join(map(inert, tasks))}" if tasks else ""
