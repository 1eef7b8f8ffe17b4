"""The comment on a pull request: the findings about its entry, or its score and how it compares with the others."""

from collections.abc import Sequence
from math import hypot

from grokbench.board.entries.checks import Checked
from grokbench.board.entries.findings import Finding
from grokbench.board.publishing.standings import Standing, standings
from grokbench.results import statistics
from grokbench.results.markdown import inert

MARK = "<!-- grokbench-entry -->"  # by which the workflow finds the comment that it keeps up to date
MOST_FINDINGS = 50
FASTER, SLOWER, SAME = "faster than", "slower than", "not distinguishable from"


def comment(checked: Checked, others: Sequence[Checked]) -> str:
    """The comment as Markdown, in which the entry's own text is nothing but text."""
    own = standings([checked])
    if checked.refused:
        lines = _refusal(checked)
    elif not own:
        lines = ["Consistent. Its suite has no pinned reference yet, so there is no score.", *_notes(checked)]
    else:
        lines = _acceptance(checked, own[0], others)
    return "\n".join([MARK, f"### Entry `{checked.name}`", *lines]) + "\n"


def comment_without_entry(problem: str) -> str:
    """The comment on a pull request whose entry can't be checked, which replaces an earlier one too."""
    return "\n".join([MARK, "### No entry was checked", inert(problem)]) + "\n"


def _refusal(checked: Checked) -> list[str]:
    errors = [finding for finding in checked.findings if finding.refused]
    lines = [f"The entry is refused: {len(errors)} findings, {len(checked.sound_runs)} runs are sound.", *_listed(errors)]
    if len(errors) > MOST_FINDINGS:
        lines.append(f"- and {len(errors) - MOST_FINDINGS} more: `grokbench check {checked.name}` prints all")
    return lines


def _acceptance(checked: Checked, standing: Standing, others: Sequence[Checked]) -> list[str]:
    low, high = standing.interval
    return [
        f"Consistent: every number was recomputed from the exams of {len(checked.sound_runs)} runs.",
        "",
        f"**Score ×{standing.score:.2f}** against the reference (95 % interval {low:.2f}–{high:.2f}); "
        f"{len(standing.solved)} of {len(standing.runs)} runs generalize.",
        "",
        *_comparison(standing, _rivals(standing, others)),
        *_notes(checked),
    ]


def _notes(checked: Checked) -> list[str]:
    return _listed([finding for finding in checked.findings if not finding.refused])


def _listed(findings: Sequence[Finding]) -> list[str]:
    return [f"- {inert(str(finding))}" for finding in findings[:MOST_FINDINGS]]


def _rivals(standing: Standing, others: Sequence[Checked]) -> list[Standing]:
    """The other entries of the same suite and division, the best score first."""
    form = standing.entry.form
    rivals = [each for each in standings(others) if each.entry.form.suite == form.suite]
    rivals = [each for each in rivals if each.entry.form.division == form.division]
    return sorted((rival for rival in rivals if rival.entry.name != standing.entry.name), key=lambda rival: -rival.score)


def _comparison(standing: Standing, rivals: Sequence[Standing]) -> list[str]:
    """Sentences on the best rival, and on the rivals that are slower, faster, or the same."""
    if not rivals:
        return ["It is the first entry of its suite and division."]
    p_values = statistics.holm([_p(standing, rival) for rival in rivals])
    names: dict[str, list[str]] = {FASTER: [], SLOWER: [], SAME: []}
    for rival, p in zip(rivals, p_values, strict=True):
        names[_relation(standing, rival, p)].append(f"`{rival.entry.name}` (×{rival.score:.2f}, p = {p:.3g})")
    return [
        f"The best so far is `{rivals[0].entry.name}`, ×{rivals[0].score:.2f}.",
        *(f"It is {relation} {', '.join(listed)}." for relation, listed in names.items() if listed),
        f"(paired exchange test, Holm-corrected, {statistics.SIGNIFICANCE:.0%})",
    ]


def _p(standing: Standing, rival: Standing) -> float:
    spread = hypot(standing.tuning_spread, rival.tuning_spread)
    return statistics.paired_p(standing.samples, rival.samples, tuning_spread=spread)


def _relation(standing: Standing, rival: Standing, p: float) -> str:
    if p >= statistics.SIGNIFICANCE:
        return SAME
    return FASTER if standing.score > rival.score else SLOWER
