"""What a pull request is told about its entry, in words: findings, or where the method stands and how sure that is."""

from collections.abc import Sequence

from grokbench.board.entries.checks import Checked
from grokbench.board.publishing.standings import Standing, standings
from grokbench.results import statistics
from grokbench.results.markdown import inert

MOST_FINDINGS = 50
LEVEL = 0.05


def comment(checked: Checked, others: Sequence[Checked]) -> str:
    """The comment, as Markdown in which nothing of the entry's own text is more than text."""
    lines = [f"### Entry `{checked.name}`"]
    found = [finding for finding in checked.findings if finding.refused]
    if found:
        lines.append(f"It can't stand as it is: {len(found)} findings, {len(checked.sound)} runs are sound.")
        lines += [f"- {inert(str(finding))}" for finding in found[:MOST_FINDINGS]]
        if len(found) > MOST_FINDINGS:
            lines.append(f"- and {len(found) - MOST_FINDINGS} more: `grokbench check {checked.name}` prints all")
        return "\n".join(lines) + "\n"
    own = standings([checked])
    if not own:
        return "\n".join([*lines, "Consistent. Its suite has no pinned reference yet, so there is no score."]) + "\n"
    (one,) = own
    low, high = one.interval
    lines += [
        f"Consistent: every number was recomputed from the exams of {len(checked.sound)} runs.",
        "",
        f"**Score ×{one.score:.2f}** against the reference (95 % interval {low:.2f}–{high:.2f}); "
        f"{len(one.solved)} of {len(one.runs)} runs generalize.",
        "",
        *_compared(one, _rivals(one, others)),
    ]
    notes = [finding for finding in checked.findings if not finding.refused]
    lines += [f"- {inert(str(note))}" for note in notes[:MOST_FINDINGS]]
    return "\n".join(lines) + "\n"


def _rivals(one: Standing, others: Sequence[Checked]) -> list[Standing]:
    """The entries of the same suite and division, the best score first."""
    key = (one.entry.form.suite, one.entry.form.division)
    rivals = [s for s in standings(others) if (s.entry.form.suite, s.entry.form.division) == key]
    return sorted((s for s in rivals if s.entry.name != one.entry.name), key=lambda s: -s.score)


def _compared(one: Standing, rivals: Sequence[Standing]) -> list[str]:
    if not rivals:
        return ["It is the first entry of its suite and division."]
    p_values = statistics.holm([statistics.paired_p(one.samples, rival.samples) for rival in rivals])
    words: dict[str, list[str]] = {"faster than": [], "slower than": [], "not distinguishable from": []}
    for rival, p in zip(rivals, p_values, strict=True):
        how = "not distinguishable from" if p >= LEVEL else "faster than" if one.score > rival.score else "slower than"
        words[how].append(f"`{rival.entry.name}` (×{rival.score:.2f}, p = {p:.3g})")
    best = f"The best so far is `{rivals[0].entry.name}`, ×{rivals[0].score:.2f}."
    told = [f"It is {how} {', '.join(names)}." for how, names in words.items() if names]
    return [best, *told, f"(paired exchange test, Holm-corrected, {LEVEL:.0%})"]
