"""Packing the tuning of an entry, and checking it: space, points, every stage and the choice are recomputed."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from grokbench.agents.recipes import Recipe
from grokbench.board.entries.entry import Entry, instance_fingerprint, packed_recipe
from grokbench.board.entries.files import FORM, RECIPE, TUNING
from grokbench.board.entries.findings import Finding
from grokbench.board.entries.tuning_lines import PACK_TUNING_AGAIN, WITHOUT_RANKS, PackedTuning, RunLine, SpaceLine
from grokbench.errors import AgentError, ProtocolError, SweepError, TuningError
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs.provenance import Provenance
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import RULES, Rules, Trial, Tuning, TuningKey, TuningRun, finished_tuning, follow
from grokbench.tasks import Task


def pack_tuning(space: Space, store: Store, rules: Rules = RULES) -> PackedTuning:
    """A finished tuning as an entry has it.

    Raises:
        TuningError: a run is missing or incomplete.
    """
    _, records = finished_tuning(space, store, rules)
    provenances = list({record.provenance.model_dump_json(): record.provenance for record in records.values()}.values())
    published = packed_recipe(space.published).plain_hyperparameters
    first = SpaceLine(published=published, family=space.family, own=space.ranges, provenances=provenances)
    return PackedTuning(first, tuple(_run_line(key, records[key], provenances) for key in sorted(records)))


def _run_line(key: TuningKey, record: RunRecord, provenances: Sequence[Provenance]) -> RunLine:
    setting, task, seed = key
    return RunLine(
        setting=setting,
        task=task,
        seed=seed,
        fingerprint=record.fingerprint,
        provenance=provenances.index(record.provenance),
        train=[exam.train for exam in record.exams],
        held_out=[exam.held_out for exam in record.exams],
        diverged=record.outcome.end == "diverged",
        steps_to_generalize=record.outcome.steps_to_generalize,
    )


def check_tuning(entry: Entry, packed: PackedTuning, rules: Rules = RULES) -> tuple[Tuning | None, list[Finding]]:
    """Recompute a tuning from its exams: space, points, every stage and the choice.

    Returns:
        The tuning, None if it can't be computed, and everything that is wrong with it.
    """
    by_key = {run.key: run for run in packed.runs}
    findings = list(_repeated_findings(packed))
    asked: set[TuningKey] = set()

    def results(runs: Sequence[TuningRun]) -> list[Trial]:
        asked.update(run.key for run in runs)
        return [_trial(run, by_key, packed, rules) for run in runs]

    try:
        tuning = follow(_space_of(entry, packed), results, rules)
    except (TuningError, SweepError, AgentError, ProtocolError) as error:
        return None, [*findings, Finding(TUNING, "", str(error)[:500], PACK_TUNING_AGAIN)]
    added = sorted(by_key.keys() - asked)
    if added:
        findings.append(Finding(TUNING, _name(added[0]), f"is one of {len(added)} runs that no tuning makes", "leave them out"))
    stated = entry.form.tuning
    if (stated.settings, stated.tasks) != (rules.settings, list(rules.tasks)):
        problem = f"a tuning tries {rules.settings} settings on {', '.join(rules.tasks)}, and [tuning] states something else"
        findings.append(Finding(FORM, "", problem, PACK_TUNING_AGAIN))
    if tuning.recipe(entry.recipe.name) != entry.recipe:
        problem = f"the tuning chooses setting {tuning.winner}, and the recipe is another"
        findings.append(Finding(RECIPE, "", problem, "enter the recipe that `grokbench tune` has written"))
    return tuning, findings


def _space_of(entry: Entry, packed: PackedTuning) -> Space:
    """The space of an entry's tuning. Raises TuningError where the protocol allows none."""
    published = Recipe(entry.recipe.name, entry.recipe.target, packed.space.published, entry.recipe.source)
    return Space.of(published, family=packed.space.family, own=packed.space.own)


def _trial(run: TuningRun, by_key: dict[TuningKey, RunLine], packed: PackedTuning, rules: Rules) -> Trial:
    """The result of a run, recomputed from its exams."""
    shown, line = _name(run.key), by_key.get(run.key)
    if line is None:
        raise TuningError(f"{shown} is missing")
    try:
        outcome = _outcome(tuple(line.exams(run.task)), run.task)
    except ProtocolError as error:
        raise TuningError(f"{shown}: its exams don't follow the protocol ({error})") from None
    problems = {
        "isn't finished": outcome.end is None,
        "states another T than its exams": outcome.steps_to_generalize != line.steps_to_generalize,
        "ran on another instance than the protocol's": line.fingerprint
        != instance_fingerprint(run.task.id, run.seed, rules.salt),
        "names a machine that the first line doesn't have": line.provenance >= len(packed.space.provenances),
    }
    if found := [problem for problem, there in problems.items() if there]:
        raise TuningError(f"{shown} {found[0]}")
    return Trial.of(run.task, run.seed, outcome)


@lru_cache(maxsize=1 << 12)  # an export, and more so the tests, check the same entries several times
def _outcome(exams: tuple[Exam, ...], task: Task) -> Outcome:
    return WITHOUT_RANKS.outcome(exams, task)


def _repeated_findings(packed: PackedTuning) -> Iterator[Finding]:
    """Runs with the exams of another run. Two settings never share them, unless both diverge at once."""
    first: dict[Any, RunLine] = {}
    for run in packed.runs:
        exams = tuple(run.train), tuple(run.held_out)
        other = first.setdefault((run.task, exams), run)
        if other is not run and not run.diverged:
            yield Finding(
                TUNING, _name(run.key), f"has the same exams as setting {other.setting} seed {other.seed}", PACK_TUNING_AGAIN
            )


def _name(key: TuningKey) -> str:
    """A run of a tuning in words."""
    setting, task, seed = key
    return f"setting {setting} on {task} seed {seed}"
