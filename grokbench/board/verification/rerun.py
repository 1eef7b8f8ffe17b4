"""Re-execution of an entry: cells that a salt chooses, and fresh instances of the same tasks that nobody could tune to.

The environment and the answers stay in this process; the agent runs in a child without network, secrets or terminal.

Two questions. Does a batch repeat to the bit? It must, on the same machine with the same versions, threads and code of
grokbench; elsewhere floats drift and training is chaotic, so it only joins the second question: are the new runs slower
than the claimed ones? Under honest claims salted instances are exchangeable with the official ones, so a permutation test
within tasks has exactly its level.
"""

import hashlib
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.checks import Checked
from grokbench.board.entries.files import CODE, Entry, run_key
from grokbench.board.entries.verdicts import RunKey, Times, Verdict
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import CHILD, container, sandbox
from grokbench.errors import RemoteError
from grokbench.results.scoring import restricted_time
from grokbench.results.statistics import slower_p
from grokbench.runs import engine
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Plan, plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.tasks import list_tasks

FRESH = 3  # salted instances of every task tested, at least
Watch = Callable[[int], AbstractContextManager[Callback]]
MOST_MEMORY = 64 << 30  # bytes of address space; torch reserves much more than it uses


def chosen_runs(entry: Entry, count: int, salt: str) -> list[RunKey]:
    """`count` scored cells of the entry that nobody could foresee without the salt."""
    tasks = {task.id for task in list_tasks(entry.form.suite)}
    cells = [run_key(run) for run in entry.runs if run.task in tasks]
    return sorted(cells, key=lambda cell: hashlib.sha256(f"{salt}\n{cell[0]}\n{cell[1]}".encode()).digest())[:count]


def verify(
    checked: Checked,
    folder: Path,
    cells: int,
    salt: str,
    watch: Watch,
    sandboxed: bool = True,
    image: str | None = None,
    seconds: float = 3_600,
) -> Verdict:
    """Run cells of an entry again, and fresh instances of their tasks; an `image` makes the sandbox a container.

    `watch` is told how many runs there will be and gives what watches them.

    Raises:
        ValueError: the entry doesn't stand, no cell is asked for, a batch needs more than `seconds`, or there is no sandbox.
    """
    if cells < 1:
        raise ValueError(f"at least one cell has to be run again, got {cells}")
    entry = checked.entry
    if entry is None or checked.refused:
        raise ValueError(f"`grokbench check {checked.name}` refuses it: only what is consistent is worth running again")
    chosen = chosen_runs(entry, cells, mixed(entry, salt))
    _see_that_it_fits(entry, chosen, seconds)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "agent"
        home.mkdir()
        if (folder / CODE).exists():
            shutil.copy(folder / CODE, home)
        bare = [sys.executable, "-m", CHILD]
        command = container(image, home, seconds) if image else sandbox(bare, home) if sandboxed else bare
        if command is None:
            raise ValueError("no sandbox here: install bubblewrap, or allow user namespaces, or pass --no-sandbox")
        _try(command, home)
        limits, widths = (seconds, MOST_MEMORY), frozenset(tuple(run.agent.feature_dims or ()) for run in entry.runs) - {()}
        recipe = RemoteRecipe("entry", entry.target, entry.hyperparameters, entry.source, tuple(command), home, limits, widths)
        plans = plans_of(entry, chosen, recipe, mixed(entry, salt))
        with watch(sum(len(one.seeds) for one in plans)) as watcher:
            engine.run(
                plans, Store(Path(scratch) / "runs"), callbacks=[watcher], device="cpu"
            )  # a sandbox sees no other device
        records, _ = find_records([Path(scratch) / "runs"])
    # What a container computes with isn't known here, so there nothing has to repeat to the bit.
    return judge(entry, salt, chosen, records, sandboxed or image is not None, comparable=image is None)


def _see_that_it_fits(entry: Entry, chosen: Sequence[RunKey], seconds: float) -> None:
    """A batch that says itself that it needs longer than it may isn't started: running out of time speaks against an entry."""
    for task, batch in batches_of(entry, chosen):
        took = sum(run.cost.seconds for run in entry.runs if (run.task, tuple(run.cohort)) == (task, batch))
        if seconds < 2 * took:
            name = f"the batch of {task} seed {batch[0]}"
            raise ValueError(f"{name} took {took:,.0f} s when it was made: allow at least {2 * took:,.0f}")


def _try(command: Sequence[str], home: Path) -> None:
    """See that the child serves an agent of ours, so that what fails afterwards is the entry's."""
    probe = find_recipe("mlp")
    try:
        RemoteRecipe(probe.name, probe.target, probe.hyperparameters, "", tuple(command), home, (120.0, MOST_MEMORY)).make()
    except (OSError, RemoteError) as error:
        raise ValueError(f"{' '.join(command[:2])} … can't serve a baseline here ({error}): nothing was run") from None


def mixed(entry: Entry, salt: str) -> str:
    """A salt of the entry's content and the given one: a changed entry meets other cells."""
    return hashlib.sha256(f"{salt}\n{entry.digest}".encode()).hexdigest()


def batches_of(entry: Entry, chosen: Sequence[RunKey]) -> list[tuple[str, tuple[int, ...]]]:
    """The batches that the chosen cells were made in, each as its task and its seeds."""
    return sorted({(run.task, tuple(run.cohort)) for run in entry.runs if run_key(run) in chosen})


def plans_of(entry: Entry, chosen: Sequence[RunKey], recipe: RemoteRecipe, salt: str) -> list[Plan]:
    """The batches of the chosen cells, and salted runs of their tasks."""
    plans = [one for task, batch in batches_of(entry, chosen) for one in plan([task], [recipe], seeds=batch)]
    for task in sorted({task for task, _ in chosen}):
        plans += plan([task], [recipe], seeds=range(FRESH), salt=salt)
    return plans


def judge(
    entry: Entry,
    salt: str,
    chosen: Sequence[RunKey],
    records: Sequence[RunRecord],
    sandboxed: bool,
    comparable: bool = True,
) -> Verdict:
    """What the runs made again say of the claimed ones; `comparable` where their `where` says what they ran on."""
    claimed = {run_key(run): run for run in entry.runs}
    failed = [
        f"{run.task} seed {run.seed}{' salted' if run.salt else ''}: {run.incomplete}" for run in records if run.incomplete
    ]
    complete = [run for run in records if run.incomplete is None]
    again = {run_key(run): run for run in complete if not run.salt}
    repeated = [cell for cell in chosen if cell in again and again[cell].exams == claimed[cell].exams]
    same = [
        cell for cell in chosen if comparable and cell in again and again[cell].provenance.repeats(claimed[cell].provenance)
    ]
    differing = [cell for cell in same if cell not in repeated]
    new: dict[str, list[int]] = defaultdict(list)
    for run in complete:
        if run.salt or (run_key(run) in chosen and run_key(run) not in repeated):
            new[run.task].append(_time(run))
    old = {task: [_time(run) for run in entry.runs if run.task == task] for task in new}
    p = slower_p(list(old.values()), [new[task] for task in old]) if new else 1.0
    return Verdict(
        digest=entry.digest,
        salt=salt,
        runs=list(chosen),
        repeated=repeated,
        differing=differing,
        fresh={task: Times(claimed=old[task], new=new[task]) for task in old},
        p=p,
        failed=failed,
        sandboxed=sandboxed,
        provenance=records[0].provenance,
    )


def _time(run: RunRecord) -> int:
    return restricted_time(run.outcome.steps_to_generalize, run.parsed_task().budget)
