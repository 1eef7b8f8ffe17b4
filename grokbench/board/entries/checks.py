"""What an entry must hold: every number in it recomputed from its exams, all findings at once.

The same program runs at home and in CI. It reads data only.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from grokbench.agents.recipes import Recipe, is_baseline
from grokbench.board.entries.files import FORM, RECIPE, RUNS, Entry, baseline_networks, official_runs, read_entry, run_key
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.verdicts import Verdict, read_verdicts, strays
from grokbench.evaluation.ranks import MEASURES
from grokbench.results.scoring import beats_chance, reference
from grokbench.runs.records import OutcomeRecord, RunRecord
from grokbench.tasks import make_instance, parse_id

RERUN = "run it again with `grokbench run` and pack the entry with `grokbench submit`"
IMPLAUSIBLE = 10  # times sooner than the reference on a task: worth a look
INITIALIzATION = {"init_scale"}  # what of a [network] table the closed division may change
ROUNDING = 1e-6
MOST_LAYERS = 100  # of a baseline's network, whatever its recipe claims
AGENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True)
class Checked:
    """An entry and what was found.

    Attributes:
        entry: None where its files couldn't be read.
        sound: the runs without a finding of their own.
        verdicts: what re-executions of it found, the oldest first.
    """

    name: str
    entry: Entry | None
    findings: tuple[Finding, ...]
    sound: tuple[RunRecord, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether anything was found that refuses it."""
        return any(finding.refused for finding in self.findings)


def check_entry(folder: Path, beside: Collection[str] | None = None) -> Checked:
    """Everything about the entry in `folder`; `beside` names the entries of the leaderboard that it stands in or goes to."""
    if folder.is_symlink() or not folder.is_dir():
        missing = Finding(str(folder), "", "is no entry's folder", "name one below leaderboard/entries, or its folder")
        return Checked(folder.name, None, (missing,), ())
    entry, findings = read_entry(folder)
    if entry is None:
        return Checked(folder.name, None, tuple(findings), ())
    sound = []
    for run in entry.runs:
        found = list(_run_findings(run, entry))
        findings += found
        if not any(finding.refused for finding in found):
            sound.append(run)
    findings += [*_missing(entry), *_repeated(entry), *_division(entry)]
    original = entry.form.reproduces
    if beside is not None and original is not None and (original == folder.name or original not in beside):
        findings.append(Finding(FORM, "", f"it reproduces {original!r}, which isn't another entry", "name one that stands"))
    return Checked(folder.name, entry, tuple(findings), tuple(sound))


def entry_names(entries: Path) -> list[str]:
    """The names of all entries below `entries`."""
    return sorted(folder.name for folder in entries.iterdir() if folder.is_dir() and not folder.is_symlink())


def check_all(entries: Path) -> list[Checked]:
    """Every entry below `entries` with the verdicts beside them, and runs that stand in two of them."""
    names = entry_names(entries)
    checked: list[Checked] = []
    for name in names:
        one = check_entry(entries / name, names)
        verdicts, unreadable = read_verdicts(entries.parent, name)
        one = replace(one, findings=(*one.findings, *unreadable), verdicts=verdicts)
        checked.append(with_copies(one, checked))
    left = sorted(path.name for path in entries.iterdir() if path.name not in {*names, ".gitkeep"})
    remedy = "leave only the entries' folders"
    found = [(ascii(name)[1:-1][:80], Finding("entries", "", "holds what is no entry", remedy)) for name in left]
    found += strays(entries.parent, set(names))
    return checked + [Checked(name, None, (finding,), ()) for name, finding in found]


def with_copies(one: Checked, others: Sequence[Checked]) -> Checked:
    """The entry with a note on every run whose exams stand in another entry too; an honest repetition may be one."""
    owner = {(run_key(run), trajectory(run)): other.name for other in others for run in other.sound}
    found = []
    for run in one.sound:
        first = owner.get((run_key(run), trajectory(run)))
        if first and run.outcome.end != "diverged":
            problem = f"has the same exams as in {first!r}"
            found.append(Finding(RUNS, _name(run), problem, "say in the description why", refused=False))
    return replace(one, findings=(*one.findings, *found))


def _name(run: RunRecord) -> str:
    return f"{run.task} seed {run.seed}"


def _run_findings(run: RunRecord, entry: Entry) -> Iterator[Finding]:
    """What is wrong with one run by itself; one that isn't official is `_missing`'s to name."""
    if run_key(run) not in official_runs(entry.form.suite):
        return

    def finding(problem: str, remedy: str = RERUN, refused: bool = True) -> Finding:
        return Finding(RUNS, _name(run), problem, remedy, refused)

    try:
        recomputed = OutcomeRecord.of(run.recomputed())
    except (ValueError, LookupError) as error:
        yield finding(f"its exams don't follow the protocol ({str(error)[:200]})")
        return
    if recomputed != run.outcome:
        yield finding("the outcome it states doesn't follow from its exams")
    if run.incomplete is not None or recomputed.end is None:
        yield finding("is incomplete", "let it run to its end")
    if run.salt:
        yield finding("ran on a salted instance", "official runs have no salt")
    elif run.fingerprint != _fingerprint(run.task, run.seed):
        yield finding("its fingerprint isn't that of the instance", "run it with an unchanged grokbench")
    yield from _agent_findings(run, entry, finding)
    yield from _number_findings(run, entry, finding)


def _agent_findings(run: RunRecord, entry: Entry, finding: Any) -> Iterator[Finding]:
    if not AGENT_NAME.fullmatch(run.agent.name):
        yield finding("its agent has a name that can't be shown", "use letters, digits, points, hyphens, 60 at most")
    made = Recipe(run.agent.name, run.agent.target, run.agent.hyperparameters, run.agent.source)
    target = made.target if is_baseline(made.target) else f"agent:{made.target.rpartition(':')[2]}"
    if (target, made.hyperparameters, made.source) != (entry.target, entry.hyperparameters, entry.source):
        yield finding("was made by another recipe or code than the entry's", "bring the recipe and code that made the runs")
    elif run.agent.hash != made.hash:
        yield finding("its agent's hash isn't that of the recipe that it states")


def _number_findings(run: RunRecord, entry: Entry, finding: Any) -> Iterator[Finding]:
    task = run.parsed_task()
    if run.cost.steps != (run.exams[-1].step if run.exams else 0):
        yield finding("its cost doesn't fit its exams")
    if run.seed not in run.cohort or len(set(run.cohort)) < len(run.cohort):
        yield finding("its batch isn't one that it could have been in")
    yield from _rank_findings(run, entry, finding)
    if task.control and beats_chance(task, [exam.exam() for exam in run.exams]):
        yield finding("answers held-out cells of the random control", "nothing that learns honestly can: find the leak")
    pinned = reference().tasks.get(run.task, {})
    typical = [t for t in pinned.values() if t is not None]
    if run.outcome.steps_to_generalize is not None and run.outcome.steps_to_memorize is None:
        yield finding("generalizes without having memorized", "expect questions", refused=False)
    if task.control and run.outcome.end == "diverged":
        yield finding("diverged on the random control, which then shows nothing", "expect questions", refused=False)
    if typical and (run.outcome.steps_to_generalize or task.budget) * IMPLAUSIBLE < min(typical):
        yield finding(f"generalizes {IMPLAUSIBLE} times sooner than the reference ever did", "expect questions", refused=False)


def _rank_findings(run: RunRecord, entry: Entry, finding: Any) -> Iterator[Finding]:
    measured = [exam.ranks for exam in run.exams if exam.ranks]
    layers = {tuple(sorted((name, len(values)) for name, values in ranks.items())) for ranks in measured}
    if len(layers) > 1 or any({name for name, _ in one} != set(MEASURES) or len({n for _, n in one}) > 1 for one in layers):
        yield finding("its exams don't all have every measure of rank for the same layers")
        return
    widths = _widths(entry) or run.agent.feature_dims
    if widths is None:
        yield finding("doesn't state the widths of the layers that it showed, agent.feature_dims")
        return
    if run.agent.feature_dims not in (None, widths):
        yield finding(f"states layers of widths {run.agent.feature_dims}, its network's are {widths}")
    if measured and len(measured[0]["effective_rank"]) != len(widths):
        yield finding(f"has ranks of other layers than those that it showed, of widths {widths}")
        return
    most = [min(width, run.parsed_task().num_questions - 1) + ROUNDING for width in widths]
    rows = [row for ranks in measured for row in ranks.values()]
    if any(not 0 <= rank <= top for row in rows for rank, top in zip(row, most, strict=True)):
        yield finding(f"a rank lies outside what {run.parsed_task().num_questions} rows of widths {widths} allow")


def _widths(entry: Entry) -> list[int] | None:
    """The widths of the layers that a baseline's network shows, None for a network of the entry's own."""
    network = entry.hyperparameters.get("network")
    if entry.architecture == "own" or not isinstance(network, dict):
        return None
    hidden, width, depth = (network.get(name) for name in ("hidden", "width", "depth"))
    if isinstance(hidden, list) and all(isinstance(one, int) for one in hidden):
        return hidden
    layers = depth - 1 if isinstance(depth, int) and 2 <= depth <= MOST_LAYERS else 1
    return [width] * layers if isinstance(width, int) else None


def _missing(entry: Entry) -> Iterator[Finding]:
    """Runs that are missing, stand twice, or don't belong to the suite."""
    there = Counter(run_key(run) for run in entry.runs)
    wanted = official_runs(entry.form.suite)
    for task, seed in wanted:
        if not there[task, seed]:
            remedy = f"`grokbench run --suite {entry.form.suite}` makes all of them"
            yield Finding(RUNS, f"{task} seed {seed}", "is missing or can't be read", remedy)
    for (task, seed), count in there.items():
        if count > 1:
            yield Finding(RUNS, f"{task} seed {seed}", f"stands there {count} times", "bring every run once")
        if (task, seed) not in wanted:
            yield Finding(RUNS, f"{task} seed {seed}", f"doesn't belong to the suite {entry.form.suite!r}", "leave it out")


def _repeated(entry: Entry) -> Iterator[Finding]:
    """Two seeds never see the same exams, unless they diverge at once."""
    first: dict[Any, str] = {}
    for run in entry.runs:
        if run.outcome.end == "diverged" or not run.exams:
            continue
        other = first.setdefault(trajectory(run), _name(run))
        if other != _name(run):
            yield Finding(RUNS, _name(run), f"has the same exams as {other}", RERUN)


def trajectory(run: RunRecord) -> tuple[Any, ...]:
    """What two different runs don't share, on whatever tasks: how many answers were right at every exam."""
    return tuple((exam.train, exam.held_out) for exam in run.exams)


def _division(entry: Entry) -> Iterator[Finding]:
    """The closed division trains the network of a baseline, unchanged."""
    if entry.form.division != "closed":
        return
    networks = baseline_networks()
    network = entry.hyperparameters.get("network")
    if entry.target not in networks:
        yield Finding("entry.toml", "", "a closed entry trains a baseline's network", 'name a baseline, or division = "open"')
    elif not isinstance(network, dict) or _architecture(network) not in map(_architecture, networks[entry.target]):
        remedy = 'take [network] from a baseline\'s recipe, or division = "open"'
        yield Finding(RECIPE, "", "its [network] isn't a baseline's", remedy)
    else:
        try:
            Recipe(entry.name, entry.target, entry.hyperparameters).make()  # a baseline's code, the entry's numbers
        except Exception as error:
            problem = f"makes no agent ({str(error)[:300]})"
            yield Finding(RECIPE, "", problem, "bring the recipe that made the runs")


def _architecture(network: dict[str, Any]) -> str:
    return repr(sorted((name, value) for name, value in network.items() if name not in INITIALIzATION))


@cache
def _fingerprint(task: str, seed: int) -> str:
    return make_instance(parse_id(task), seed).fingerprint
