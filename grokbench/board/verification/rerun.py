"""Re-execution of an entry: official runs that a salt chooses, and fresh instances of every task of the suite.

The environment and the answers stay in this process. The agent runs in a process without network, secrets or terminal.

Re-execution asks five questions.

1. Do the official runs repeat to the bit? They must on the same machine with the same versions, threads and code of grokbench.
   Elsewhere floats differ and training is chaotic, so that runs that differ show nothing.
2. Are runs on fresh instances slower than the claimed ones, or unsolved more often? If the claims are honest, fresh instances
   are exchangeable with the official ones. Rounds of new runs are made until a sequential test decides
   (`grokbench.results.sequential`). Every fresh instance runs alone, whatever cohorts the entry trained: an agent that joins
   what its members know is slower alone. If the fresh runs are slower, the official instances may be easy ones. Then all
   official runs of an entry without code are repeated, and it is contradicted only if they are slower too.
3. Does a step of a closed entry cost what a pass costs (`pace`)?
4. Does an open entry learn on a task of another family (`families`)?
5. Do some runs of a tuned entry's tuning repeat to the bit, under the same conditions (`tuning_runs`)?
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from grokbench.agents.recipes import Recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.entry import Entry, RunKey, run_key
from grokbench.board.entries.files import CODE
from grokbench.board.entries.imports import needed_libraries
from grokbench.board.entries.run_checks import run_name
from grokbench.board.entries.verdicts import ComparedTimes, Pace, Verdict, decide, last_look
from grokbench.board.verification.families import other_family, other_family_plans
from grokbench.board.verification.isolation import Isolation
from grokbench.board.verification.pace import adamw_recipe, measure_pace, pace_instance
from grokbench.board.verification.process import Limits
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.tuning_runs import TuningRuns
from grokbench.errors import EntryError, VerificationError
from grokbench.results.scoring import restricted_time
from grokbench.results.sequential import LOOKS, Decision
from grokbench.runs import engine
from grokbench.runs.callbacks import Callback, Callbacks
from grokbench.runs.plan import Plan, plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.sweeps.tuning import Tuning
from grokbench.tasks import Task, list_tasks

NO_TUNING = TuningRuns()
REPEATING = "fresh runs contradict the claimed times: all official runs are repeated, in case their instances are easier"
Execute = Callable[[Sequence[Plan]], list[RunRecord]]


def verify_entry(
    entry_folder: Path,
    *,
    salt: str,
    runs: int = 2,
    sandboxed: bool = True,
    image: str | None = None,
    seconds: float = 14_400.0,
    threads: int = 1,
    processes: int | None = None,
    out: Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Verdict:
    """Run some official runs of an entry again, and fresh instances of its suite's tasks until the evidence decides.

    Args:
        entry_folder: the folder of the entry.
        salt: chooses the runs and the fresh instances. It must not have been known when the entry was made.
        runs: how many official runs are repeated, and how many runs of its tuning.
        sandboxed: whether to keep the agent from network and secrets. False is for code that you trust.
        image: a container image to run the agent in, instead of a sandbox of this machine.
        seconds: the wall-clock time for all of it. No rounds begin that might end later, but a first one always runs.
        threads: the threads that a run computes on. Runs repeat to the bit on as many as the entry's own.
        processes: the most worker processes, see `engine.run`. Each has its own process for the agent.
        out: keep the runs in a folder of their own in this one, where the same call goes on after it was stopped.
        callbacks: called with the number of runs, exams, ends and messages.

    Raises:
        EntryError: the checks refuse the entry.
        VerificationError: no run is asked for, a cohort needs more than `seconds`, a library that the agent imports is
            missing, or there is no working sandbox.
        RemoteError: the process of an agent failed while its pace was measured.
    """
    if runs < 1:
        raise VerificationError(f"at least one run has to be repeated, got {runs}")
    deadline = time.monotonic() + seconds
    entry, tuning = _accepted_entry(entry_folder)
    mixed = mixed_salt(entry, salt)
    chosen = chosen_runs(entry, runs, salt=mixed)
    _check_time(entry, chosen, seconds)
    with tempfile.TemporaryDirectory() as scratch:
        home = _agent_folder(entry_folder, Path(scratch))
        isolation = Isolation.choose(home, sandboxed=sandboxed, image=image, seconds=seconds)
        isolation.try_baseline(home)
        isolation.try_imports(_libraries_of(home), home)
        recipe = _remote_recipe(entry, isolation, home, Limits(seconds=seconds, threads=threads))
        store = Store((out or Path(scratch)) / f"{entry.name}-{mixed[:8]}")
        of_tuning = TuningRuns.choose(entry, tuning, recipe, runs, salt=mixed)

        def execute(plans: Sequence[Plan]) -> list[RunRecord]:
            # On the CPU, because a sandbox sees no other device.
            engine.run(plans, store, callbacks=callbacks, device="cpu", threads=threads, processes=processes)
            return _all_records(plans, store)

        others = other_family_plans(entry, recipe, salt=mixed)
        execute([*official_plans(entry, chosen, recipe=recipe), *of_tuning.plans, *others])
        pace = _pace(entry, recipe, salt=mixed)
        records = _fresh_rounds(entry, recipe, execute, salt=mixed, deadline=deadline)
        if has_no_code(entry) and last_look(compared_times(entry, records)).decision == Decision.CONTRADICTED:
            Callbacks(callbacks).on_message(REPEATING)
            records = execute(official_plans(entry, scored_runs(entry), recipe=recipe))
    return judge(
        entry,
        records,
        salt=salt,
        chosen=chosen,
        pace=pace,
        of_tuning=of_tuning,
        sandboxed=isolation.sandboxed,
        same_machine=isolation.same_machine,
    )


def chosen_runs(entry: Entry, count: int, *, salt: str) -> list[RunKey]:
    """`count` scored runs of the entry, which nobody can foresee without the salt."""

    def order(key: RunKey) -> bytes:
        task, seed = key
        return hashlib.sha256(f"{salt}\n{task}\n{seed}".encode()).digest()

    return sorted(scored_runs(entry), key=order)[:count]


def scored_runs(entry: Entry) -> list[RunKey]:
    """The runs of the entry that count, those of the suite's tasks."""
    tasks = {task.id for task in list_tasks(entry.form.suite)}
    return [run_key(run) for run in entry.runs if run.task in tasks]


def has_no_code(entry: Entry) -> bool:
    """Whether the entry is a recipe of a baseline alone. Its runs can't know the official instances; its settings may."""
    return not entry.recipe.source


def mixed_salt(entry: Entry, salt: str) -> str:
    """The salt mixed with the entry's contents, so that a changed entry meets other runs."""
    return hashlib.sha256(f"{salt}\n{entry.digest}".encode()).hexdigest()


def cohorts_of(entry: Entry, chosen: Sequence[RunKey]) -> list[tuple[str, tuple[int, ...]]]:
    """Task and seeds of the cohorts that the chosen runs were trained in, sorted."""
    return sorted({(run.task, tuple(run.cohort)) for run in entry.runs if run_key(run) in chosen})


def official_plans(entry: Entry, chosen: Sequence[RunKey], *, recipe: RemoteRecipe) -> list[Plan]:
    """The cohorts of the chosen runs."""
    return [each for task, seeds in cohorts_of(entry, chosen) for each in plan([task], [recipe], seeds=seeds)]


def round_plans(tasks: Sequence[Task], recipe: Recipe, *, salt: str, number: int) -> list[Plan]:
    """Round number `number`: a fresh instance of every task. A plan of one seed makes a cohort of one."""
    return plan([task.id for task in tasks], [recipe], seeds=[number], salt=salt)


def judge(
    entry: Entry,
    records: Sequence[RunRecord],
    *,
    salt: str,
    chosen: Sequence[RunKey],
    sandboxed: bool,
    pace: Pace | None = None,
    of_tuning: TuningRuns = NO_TUNING,
    same_machine: bool = True,
) -> Verdict:
    """The verdict that new records of an entry lead to.

    Args:
        entry: the entry.
        records: the repeated runs, the fresh ones, those of the tuning, and the run on a task of another family.
        salt: the salt as it was given.
        chosen: the official runs that were chosen.
        sandboxed: whether the agent was kept from network and secrets.
        pace: the seconds of a step, if they could be compared.
        of_tuning: the chosen runs of the entry's tuning.
        same_machine: whether the records' provenance describes the machine that the agent ran on.
    """
    claimed = {run_key(run): run for run in entry.runs}
    again = _repeated(records)
    repeated = [key for key in chosen if key in again and again[key].exams == claimed[key].exams]
    changed = [key for key in chosen if key in again and key not in repeated]
    differing = [key for key in changed if same_machine and again[key].provenance.repeats(claimed[key].provenance)]
    fresh, official = compared_times(entry, records), repeated_times(entry, records)
    look = last_look(fresh)
    return Verdict(
        digest=entry.digest,
        salt=salt,
        runs=list(chosen),
        repeated=repeated,
        differing=differing,
        fresh=fresh,
        official=official,
        decision=decide(look, official),
        slower_p=look.slower,
        too_fast_p=look.too_fast,
        pace=pace,
        other_family=other_family(records),
        tuning=of_tuning.judge(entry, records, same_machine=same_machine),
        failed=[_failure(run) for run in records if run.incomplete],
        sandboxed=sandboxed,
        provenance=records[0].provenance,
    )


def compared_times(entry: Entry, records: Sequence[RunRecord]) -> dict[str, ComparedTimes]:
    """The claimed times and those of complete fresh runs, round by round, for every task that has some."""
    return _compared(entry, [run for run in records if run.salt and run.incomplete is None])


def repeated_times(entry: Entry, records: Sequence[RunRecord]) -> dict[str, ComparedTimes]:
    """The claimed and repeated times of all official runs, by task; none if a run is missing, or if the entry has code."""
    again = _repeated(records)
    whole = has_no_code(entry) and again.keys() >= set(scored_runs(entry))
    return _compared(entry, list(again.values())) if whole else {}


def _repeated(records: Sequence[RunRecord]) -> dict[RunKey, RunRecord]:
    """The complete official runs among the records."""
    return {run_key(run): run for run in records if run.incomplete is None and not run.salt}


def _compared(entry: Entry, runs: Sequence[RunRecord]) -> dict[str, ComparedTimes]:
    """The claimed times and those of new runs by seed, for every task of the suite that has new runs."""
    compared = {}
    for task in list_tasks(entry.form.suite):
        new = [_time(run) for run in sorted(runs, key=lambda run: run.seed) if run.task == task.id]
        claimed = [_time(run) for run in entry.runs if run.task == task.id]
        if new:
            compared[task.id] = ComparedTimes(claimed=claimed, new=new)
    return compared


def _fresh_rounds(entry: Entry, recipe: Recipe, execute: Execute, *, salt: str, deadline: float) -> list[RunRecord]:
    """All records after rounds of fresh instances, until the evidence decides, a run fails, or time runs out.

    The rounds up to the next look are run together, so that no process waits for the last run of a round.
    """
    records: list[RunRecord] = []
    tasks, longest = list_tasks(entry.form.suite), 0.0  # seconds of a round
    for done, rounds in pairwise((0, 1, *LOOKS)):  # the first round by itself, to learn how long it takes
        started, together = time.monotonic(), range(done, rounds)
        if done and started + (len(together) + 1) * longest > deadline:
            break
        records = execute([each for number in together for each in round_plans(tasks, recipe, salt=salt, number=number)])
        took = (time.monotonic() - started) / len(together)
        longest = max(longest, took, *(run.cost.seconds for run in records if run.salt))  # kept runs take no time again
        decision = last_look(compared_times(entry, records)).decision
        if decision != Decision.UNDECIDED or any(run.incomplete for run in records):
            break
    return records


def _pace(entry: Entry, recipe: RemoteRecipe, *, salt: str) -> Pace | None:
    """The pace of a closed entry; None for an agent of the entry's own."""
    adamw = adamw_recipe(recipe) if entry.form.division == "closed" else None
    if adamw is None:
        return None
    return measure_pace(recipe, adamw, pace_instance(list_tasks(entry.form.suite), salt=salt))


def _accepted_entry(folder: Path) -> tuple[Entry, Tuning | None]:
    """The entry and its tuning. Raises EntryError if the checks refuse it."""
    checked = check_entry(folder)
    if checked.entry is None or checked.refused:
        raise EntryError(f"`grokbench check {checked.name}` refuses the entry: mend it before it is run again")
    return checked.entry, checked.tuning


def _check_time(entry: Entry, chosen: Sequence[RunKey], seconds: float) -> None:
    """Refuse to start a cohort whose claimed runs took more than half of the time: running out of time is a failure."""
    for task, seeds in cohorts_of(entry, chosen):
        took = sum(run.cost.seconds for run in entry.runs if (run.task, tuple(run.cohort)) == (task, seeds))
        if seconds < 2 * took:
            cohort = f"the cohort of {task} seed {seeds[0]}"
            raise VerificationError(f"{cohort} took {took:,.0f} s when it was made: allow at least {2 * took:,.0f}")


def _agent_folder(entry_folder: Path, scratch: Path) -> Path:
    """A folder that the agent may see, with the entry's `agent.py` alone."""
    home = scratch / "agent"
    home.mkdir()
    if (entry_folder / CODE).exists():
        shutil.copy(entry_folder / CODE, home)
    return home


def _libraries_of(home: Path) -> list[str]:
    """The libraries that the entry's code imports."""
    return needed_libraries((home / CODE).read_bytes()) if (home / CODE).exists() else []


def _remote_recipe(entry: Entry, isolation: Isolation, home: Path, limits: Limits) -> RemoteRecipe:
    widths = frozenset(tuple(run.agent.feature_dims) for run in entry.runs if run.agent.feature_dims)
    return RemoteRecipe(
        name="entry",
        target=entry.recipe.target,
        hyperparameters=entry.recipe.hyperparameters,
        source=entry.recipe.source,
        command=isolation.command,
        folder=home,
        limits=limits,
        allowed_widths=widths,
    )


def _all_records(plans: Sequence[Plan], store: Store) -> list[RunRecord]:
    """The records of all runs of the plans.

    Raises:
        VerificationError: a run has none, because its worker process was killed.
    """
    missing = [run for plan in plans for run in plan.runs if not store.record_path(run).exists()]
    if missing:
        first = f"{missing[0].experiment.task.id} seed {missing[0].seed}"
        raise VerificationError(f"{first} has no record, because its process was killed: verify the entry again")
    records, _ = find_records([store.out])
    return records


def _time(run: RunRecord) -> int:
    return restricted_time(run.outcome.steps_to_generalize, run.parsed_task().budget)


def _failure(run: RunRecord) -> str:
    return f"{run_name(run)}{' salted' if run.salt else ''}: {run.incomplete}"
