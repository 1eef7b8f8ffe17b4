"""Checks of an entry: every number is recomputed from its exams, and all findings are reported at once.

The same checks run at home and in CI. They read data only.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.agents.targets import own_target
from grokbench.board import LEADERBOARD
from grokbench.board.entries.division import exam_findings, recipe_findings
from grokbench.board.entries.entry import Entry, baseline_networks, official_runs, read_entry, run_key
from grokbench.board.entries.files import CODE, FORM, RECIPE, RUNS, printable_name, read_file
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.form import NAME
from grokbench.board.entries.imports import import_findings
from grokbench.board.entries.run_checks import RERUN, run_findings, run_name
from grokbench.board.entries.tuning import check_tuning
from grokbench.board.entries.verdicts import Verdict, read_verdicts, stray_verdicts
from grokbench.errors import EntryError
from grokbench.runs.records import RunRecord
from grokbench.sweeps.tuning import Tuning

INITIALIZATION_KEYS = {"init_scale"}  # keys of [network] that the closed division may change


@dataclass(frozen=True)
class Checked:
    """An entry and the findings about it.

    Attributes:
        name: the folder's name.
        entry: the entry, or None if its files can't be read.
        findings: everything wrong with it, and notes.
        sound_runs: the runs that no finding of their own refuses.
        verdicts: the verdicts of its re-executions, the oldest first.
        tuning: its tuning, recomputed; None for an untuned setting.
    """

    name: str
    entry: Entry | None
    findings: tuple[Finding, ...]
    sound_runs: tuple[RunRecord, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    tuning: Tuning | None = None

    @property
    def refused(self) -> bool:
        """Whether a finding refuses the entry."""
        return any(finding.refused for finding in self.findings)


def check_entries(names: Sequence[str] = (), *, leaderboard: Path = LEADERBOARD) -> list[Checked]:
    """Check entries of the leaderboard.

    Args:
        names: names or folders of entries. Empty: check all of them, with their verdicts, and compare them with each other.
        leaderboard: the folder of the leaderboard.

    Raises:
        EntryError: there is no such entry or leaderboard.
    """
    entries = leaderboard / "entries"
    if names:
        folders = [find_entry(name, leaderboard=leaderboard) for name in names]
        known = entry_names(entries) if entries.is_dir() else None
        return [check_entry(folder, known_entries=known) for folder in folders]
    if not entries.is_dir():
        raise EntryError(f"there is no folder {entries}: run this in a checkout, or name the leaderboard's folder")
    return _check_all(entries)


def find_entry(name: str, *, leaderboard: Path = LEADERBOARD) -> Path:
    """The folder of an entry, which is named by its name or its folder.

    Raises:
        EntryError: there is none.
    """
    entries = leaderboard / "entries"
    if NAME.fullmatch(name) and (entries / name).is_dir():
        return entries / name
    if Path(name).is_dir():
        return Path(name).resolve()
    near = get_close_matches(name, entry_names(entries), n=1) if entries.is_dir() else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise EntryError(f"there is no entry {name!r} in {entries}: name an entry, or its folder{hint}")


def check_entry(folder: Path, *, known_entries: Collection[str] | None = None) -> Checked:
    """All findings about the entry in `folder`.

    Args:
        folder: the entry's folder.
        known_entries: the names of the leaderboard's entries. An entry that says it reproduces another must name one of them.
    """
    if folder.is_symlink() or not folder.is_dir():
        missing = Finding(str(folder), "", "is no entry's folder", "name a folder in leaderboard/entries")
        return Checked(folder.name, None, (missing,))
    entry, findings = read_entry(folder)
    if entry is None:
        return Checked(folder.name, None, tuple(findings))
    of_runs = [(run, list(run_findings(run, entry))) for run in entry.runs]
    findings += [finding for _, its_findings in of_runs for finding in its_findings]
    findings += [*_official_findings(entry), *_repeated_findings(entry), *_division_findings(entry)]
    findings += [*_code_findings(folder), *_reproduction_findings(entry, known_entries)]
    tuning, of_tuning = check_tuning(entry, entry.tuning) if entry.tuning is not None else (None, [])
    findings += of_tuning
    sound = [run for run, its_findings in of_runs if not any(finding.refused for finding in its_findings)]
    return Checked(folder.name, entry, tuple(findings), tuple(sound), tuning=tuning)


def entry_names(entries: Path) -> list[str]:
    """The names of all entries in the folder `entries`, sorted."""
    return sorted(folder.name for folder in entries.iterdir() if folder.is_dir() and not folder.is_symlink())


def trajectory(run: RunRecord) -> tuple[tuple[int, int], ...]:
    """The right answers at every exam, (train, held-out). Two different runs never share them."""
    return tuple((exam.train, exam.held_out) for exam in run.exams)


def with_copies(checked: Checked, others: Sequence[Checked]) -> Checked:
    """`checked` with a note on every run whose exams are in another entry too. An honest repetition can be such a run."""
    owners = {(run_key(run), trajectory(run)): other.name for other in others for run in other.sound_runs}
    notes = []
    for run in checked.sound_runs:
        owner = owners.get((run_key(run), trajectory(run)))
        if owner and run.outcome.end != "diverged":
            problem = f"has the same exams as in {owner!r}"
            notes.append(Finding(RUNS, run_name(run), problem, "say why in the description", refused=False))
    return replace(checked, findings=(*checked.findings, *notes))


def _check_all(entries: Path) -> list[Checked]:
    """Every entry with its verdicts and copied runs, and a finding for everything else that lies in the folders."""
    names = entry_names(entries)
    checked: list[Checked] = []
    for name in names:
        checked.append(with_copies(_with_verdicts(check_entry(entries / name, known_entries=names), entries.parent), checked))
    return checked + _strays(entries, names)


def _with_verdicts(checked: Checked, leaderboard: Path) -> Checked:
    verdicts, unreadable = read_verdicts(leaderboard, checked.name)
    return replace(checked, findings=(*checked.findings, *unreadable), verdicts=verdicts)


def _strays(entries: Path, names: Collection[str]) -> list[Checked]:
    """What lies beside the entries or the verdicts and is neither, each as a refused entry."""
    left = sorted(path.name for path in entries.iterdir() if path.name not in {*names, ".gitkeep"})
    finding = Finding("entries", "", "holds something that isn't an entry", "leave only the entries' folders")
    strays = [(printable_name(name), finding) for name in left] + stray_verdicts(entries.parent, set(names))
    return [Checked(name, None, (finding,)) for name, finding in strays]


def _official_findings(entry: Entry) -> Iterator[Finding]:
    """Runs that are missing, that the file has twice, or that don't belong to the suite."""
    suite = entry.form.suite
    counts = Counter(run_key(run) for run in entry.runs)
    wanted = official_runs(suite)
    for task, seed in wanted:
        if not counts[task, seed]:
            remedy = f"`grokbench run --suite {suite}` makes all of them"
            yield Finding(RUNS, f"{task} seed {seed}", "is missing or can't be read", remedy)
    for (task, seed), count in counts.items():
        if count > 1:
            yield Finding(RUNS, f"{task} seed {seed}", f"is there {count} times", "bring every run once")
        if (task, seed) not in wanted:
            yield Finding(RUNS, f"{task} seed {seed}", f"doesn't belong to the suite {suite!r}", "leave it out")


def _repeated_findings(entry: Entry) -> Iterator[Finding]:
    """Runs with the exams of another run. Two seeds never share their exams, unless both diverge at once."""
    first: dict[Any, str] = {}
    for run in entry.runs:
        if run.outcome.end == "diverged" or not run.exams:
            continue
        other = first.setdefault(trajectory(run), run_name(run))
        if other != run_name(run):
            yield Finding(RUNS, run_name(run), f"has the same exams as {other}", RERUN)


def _code_findings(folder: Path) -> Iterator[Finding]:
    """Imports of the entry's code that would fail where it is run again."""
    if (folder / CODE).exists():
        yield from import_findings(read_file(folder, CODE))


def _reproduction_findings(entry: Entry, known_entries: Collection[str] | None) -> Iterator[Finding]:
    """An entry that says it reproduces another must name another entry of the leaderboard."""
    original = entry.form.reproduces
    if original is None or known_entries is None:
        return
    if original == entry.name or original not in known_entries:
        problem = f"it reproduces {original!r}, which isn't another entry"
        yield Finding(FORM, "", problem, "name an entry of the leaderboard")


def _division_findings(entry: Entry) -> Iterator[Finding]:
    """A closed entry must train the network of a baseline, unchanged and to the end, with a recipe that makes an agent."""
    if entry.form.division != "closed":
        return
    yield from exam_findings(entry)
    networks = baseline_networks()
    recipe = entry.recipe
    network = recipe.plain_hyperparameters.get("network")
    if recipe.target not in networks:
        remedy = 'name a baseline, or set division = "open"'
        yield Finding(FORM, "", "a closed entry trains a baseline's network", remedy)
    elif not isinstance(network, dict) or _architecture(network) not in map(_architecture, networks[recipe.target]):
        remedy = 'take [network] from a baseline\'s recipe, or set division = "open"'
        yield Finding(RECIPE, "", "its [network] isn't a baseline's", remedy)
    else:
        yield from recipe_findings(recipe.hyperparameters)
        yield from _making_findings(recipe)


def _making_findings(recipe: Recipe) -> Iterator[Finding]:
    """Whether a baseline's code makes an agent of the entry's hyperparameters. No code of the entry runs.

    An optimizer of the entry's own is replaced by AdamW here; re-execution runs it in the sandbox.
    """
    hyperparameters = recipe.plain_hyperparameters
    try:
        if own_target(recipe.target, hyperparameters) is not None:
            hyperparameters["optimizer"] = find_recipe("transformer").plain_hyperparameters["optimizer"]
            hyperparameters["training"].pop("passes_per_step", None)
        Recipe(recipe.name, recipe.target, hyperparameters).make()
    except Exception as error:
        yield Finding(RECIPE, "", f"makes no agent ({str(error)[:300]})", "bring the recipe that made the runs")


def _architecture(network: dict[str, Any]) -> str:
    """A [network] table without the initialization, in a form that compares equal for equal networks."""
    return repr(sorted((name, value) for name, value in network.items() if name not in INITIALIZATION_KEYS))
