"""Re-execution of an entry: cells that a salt chooses, and fresh instances of the same tasks that nobody could tune to.

The environment and the answers stay in this process; the agent runs in a child without network, secrets or terminal.

Two questions. Does a batch repeat to the bit? It must, on the same machine, versions and threads; elsewhere floats drift and
training is chaotic, so it only joins the second question: are the new runs slower than the claimed ones? Under honest
claims salted instances are exchangeable with the official ones, so a permutation test within tasks has exactly its level.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grokbench.board.check import Checked
from grokbench.board.child import RemoteRecipe
from grokbench.board.entries import CODE, LARGEST, Entry, place
from grokbench.runs import runner
from grokbench.runs.progress import Watcher
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.scoring import restricted_time
from grokbench.tasks import list_tasks

LEVEL = 0.01  # of the test that the new runs are slower
FRESH = 3  # salted instances of every task tested, at least
RESAMPLES = 10_000
CHILD = "grokbench.board.child"
MOST_MEMORY = 64 << 30  # bytes of address space; torch reserves much more than it uses


@dataclass(frozen=True)
class Verdict:
    """What re-execution found.

    Attributes:
        cells: the official cells that were run again, task and seed.
        repeated: of them, those whose exams came out the same to the bit.
        differing: those that didn't, though machine, versions and threads were the same.
        fresh: per task the claimed and the new runs' min(T, budget).
        p: how likely honest runs are to be so much slower by chance.
        failed: what didn't run to its end, and why.
        sandboxed: whether the agent was kept from network and secrets.
    """

    cells: tuple[tuple[str, int], ...]
    repeated: tuple[tuple[str, int], ...]
    differing: tuple[tuple[str, int], ...]
    fresh: dict[str, tuple[list[int], list[int]]]
    p: float
    failed: tuple[str, ...]
    sandboxed: bool

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the entry."""
        return not (self.differing or self.failed) and self.p >= LEVEL

    def __str__(self) -> str:
        names = [f"{task} seed {seed}" for task, seed in self.cells]
        lines = [f"run again: {', '.join(names)}; repeated to the bit: {len(self.repeated)} of {len(self.cells)}"]
        lines += [f"differs on the same machine, versions and threads: {task} seed {seed}" for task, seed in self.differing]
        for task, (claimed, new) in self.fresh.items():
            lines.append(f"{task}: claimed mean {np.mean(claimed):,.0f} steps, {len(new)} new runs {np.mean(new):,.0f}")
        lines += [f"failed: {what}" for what in self.failed]
        lines.append(f"p = {self.p:.4f} that honest runs come out so much slower (refused below {LEVEL})")
        lines.append("" if self.sandboxed else "the agent ran without a sandbox")
        lines.append("passed" if self.passed else "NOT PASSED")
        return "\n".join(line for line in lines if line)


def chosen_cells(entry: Entry, count: int, salt: str) -> list[tuple[str, int]]:
    """`count` scored cells of the entry that nobody could foresee without the salt."""
    tasks = {task.id for task in list_tasks(entry.form.suite)}
    cells = [place(run) for run in entry.runs if run.task in tasks]
    return sorted(cells, key=lambda cell: hashlib.sha256(f"{salt}\n{cell[0]}\n{cell[1]}".encode()).digest())[:count]


def slower_p(claimed: Sequence[Sequence[float]], new: Sequence[Sequence[float]]) -> float:
    """One-sided p of the new runs' being no slower: the difference of mean logs, summed over tasks, permuted within them."""
    random = np.random.Generator(np.random.Philox(2))
    total, seen = np.zeros(RESAMPLES), 0.0
    for ours, theirs in zip(claimed, new, strict=True):
        logs, n = np.log([*theirs, *ours]), len(theirs)
        seen += logs[:n].mean() - logs[n:].mean()
        shuffled = random.permuted(np.broadcast_to(logs, (RESAMPLES, len(logs))), axis=1)
        total += shuffled[:, :n].mean(axis=1) - shuffled[:, n:].mean(axis=1)
    return float((1 + (total >= seen - 1e-12).sum()) / (1 + RESAMPLES))


def sandbox(command: Sequence[str]) -> list[str] | None:
    """`command` without network, in process and user namespaces of its own; None where this machine can't."""
    ways = [
        [
            "bwrap",
            "--unshare-all",
            "--die-with-parent",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ],
        ["unshare", "--user", "--map-root-user", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"],
    ]
    for way in ways:
        if shutil.which(way[0]) and subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0:
            return [*way, *command]
    return None


def container(image: str, home: Path, seconds: float) -> list[str]:
    """The child in a container: no network, nothing to write to, no user, no privileges, little memory, few processes."""
    options = "--interactive --rm --init --network none --read-only --tmpfs /tmp --user 65534:65534 --cap-drop ALL"
    options += " --security-opt no-new-privileges --memory 8g --pids-limit 256 --workdir /agent"
    mount = ["--volume", f"{home.resolve()}:/agent:ro"]
    return ["docker", "run", *options.split(), *mount, image, "timeout", f"{seconds:.0f}", "python", "-m", CHILD]


def verify(
    checked: Checked,
    folder: Path,
    cells: int,
    salt: str,
    watcher: Watcher,
    sandboxed: bool = True,
    image: str | None = None,
    seconds: float = 3_600,
) -> Verdict:
    """Run cells of an entry again, and fresh instances of their tasks; an `image` makes the sandbox a container.

    Raises:
        ValueError: the entry doesn't stand, or there is no sandbox here.
    """
    entry = checked.entry
    if entry is None or checked.refused:
        raise ValueError(f"`grokbench check {checked.name}` refuses it: only what is consistent is worth running again")
    salt = _mixed(folder, salt)
    chosen = chosen_cells(entry, cells, salt)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "agent"
        home.mkdir()
        if (folder / CODE).exists():
            shutil.copy(folder / CODE, home)
        bare = [sys.executable, "-m", CHILD]
        command = container(image, home, seconds) if image else sandbox(bare) if sandboxed else bare
        if command is None:
            raise ValueError("no sandbox here: install bubblewrap, or allow user namespaces, or pass --no-sandbox")
        recipe = RemoteRecipe(
            "entry", entry.target, entry.hyperparameters, entry.source, tuple(command), home, (seconds, MOST_MEMORY)
        )
        records = _run_again(entry, chosen, recipe, salt, Store(Path(scratch) / "runs"), watcher)
    return _verdict(entry, chosen, records, sandboxed or image is not None)


def _mixed(folder: Path, salt: str) -> str:
    """A salt of the entry's content and the given one: a changed entry meets other cells."""
    content = hashlib.sha256(salt.encode())
    for name in sorted(LARGEST):
        if (folder / name).exists():
            content.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return content.hexdigest()


def _run_again(
    entry: Entry, chosen: Sequence[tuple[str, int]], recipe: RemoteRecipe, salt: str, store: Store, watcher: Watcher
) -> list[RunRecord]:
    """The batches of the chosen cells, and salted runs of their tasks."""
    by_place = {place(run): run for run in entry.runs}
    batches = sorted({(cell[0], tuple(by_place[cell].batch)) for cell in chosen})
    plans = [one for task, batch in batches for one in runner.plan([task], None, [recipe], batch)]
    for task in sorted({task for task, _ in chosen}):
        plans += runner.plan([task], None, [recipe], range(FRESH), salt)
    runner.run(plans, store, watcher, "auto")
    return find_records([store.out])[0]


def _verdict(entry: Entry, chosen: Sequence[tuple[str, int]], records: Sequence[RunRecord], sandboxed: bool) -> Verdict:
    claimed = {place(run): run for run in entry.runs}
    failed = [
        f"{run.task} seed {run.seed}{' salted' if run.salt else ''}: {run.incomplete}" for run in records if run.incomplete
    ]
    complete = [run for run in records if run.incomplete is None]
    again = {place(run): run for run in complete if not run.salt}
    repeated = [cell for cell in chosen if cell in again and again[cell].exams == claimed[cell].exams]
    differing = [cell for cell in chosen if cell in again and cell not in repeated and again[cell].where == claimed[cell].where]
    new: dict[str, list[int]] = defaultdict(list)
    for run in complete:
        if run.salt or (place(run) in chosen and place(run) not in repeated):
            new[run.task].append(_time(run))
    old = {task: [_time(run) for run in entry.runs if run.task == task] for task in new}
    p = slower_p(list(old.values()), [new[task] for task in old]) if new else 1.0
    fresh = {task: (old[task], new[task]) for task in old}
    return Verdict(tuple(chosen), tuple(repeated), tuple(differing), fresh, p, tuple(failed), sandboxed)


def _time(run: RunRecord) -> int:
    return restricted_time(run.outcome.steps_to_generalize, run.parsed_task().budget)
