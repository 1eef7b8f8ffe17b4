"""Which tables may be in a scored suite: `python -m tools.admission FOLDER …` prints them with the rules that they break.

The folders hold the reference's runs on ten instances with a salt. `docs/suites.md` has the rules.
"""

import sys
from collections.abc import Sequence
from statistics import median

import numpy as np
from tabulate import tabulate

from grokbench.results.frames import RunResult, load_runs
from grokbench.results.scoring import median_time
from grokbench.tasks import make_instance, parse_id
from grokbench.tasks.tables import TableInstance

EARLIEST, LATEST = 400, 2_000  # median T, in steps
SHORTEST_DELAY = 10  # median T over the median step of memorizing
MOST_AT_MEMORIZED = 0.10  # held-out accuracy, beyond the share of questions whose mirror image was shown
LEAST_SOLVED = 0.7
FEWEST_HELD_OUT = 300  # questions
HEADERS = (
    "table",
    "train questions",
    "generalized",
    "median T",
    "T over steps to memorize",
    "held out right when memorized",
    "breaks",
)


def mirror_share(task: str, *, seed: int, salt: str) -> float:
    """The share of held-out questions (a, b) whose mirror image (b, a) is a training question with the same answer.

    0 for an operation that isn't symmetric.
    """
    instance = make_instance(parse_id(task), seed, salt=salt)
    if not isinstance(instance, TableInstance):
        return 0.0
    q = instance.task.num_symbols
    answers, train = np.full((q, q), -1), np.zeros((q, q), dtype=bool)
    answers[tuple(instance.inputs.T)] = instance.answers
    train[tuple(instance.inputs.T)] = instance.train
    held_out = (answers >= 0) & ~train
    return float(train.T[held_out].mean()) if (answers == answers.T).all() else 0.0


def held_out_when_memorized(run: RunResult) -> float | None:
    """Held-out accuracy at the exam at which the run had memorized; None if it never did."""
    found = run.exams.loc[run.exams["step"] == run.steps_to_memorize, "held_out_accuracy"]
    return float(found.iloc[0]) if len(found) else None


def admission_row(runs: Sequence[RunResult]) -> list[str]:
    """The cells of a table, from its runs."""
    record = runs[0].record
    task = parse_id(record.task)
    times = [run.steps_to_generalize for run in runs]
    solved = sum(time is not None for time in times)
    middle = median_time(times)
    memorized = median(run.steps_to_memorize or record.budget for run in runs)
    delay = middle / memorized if middle else 0.0
    accuracies = [held_out_when_memorized(run) for run in runs]
    early = median(1.0 if accuracy is None else accuracy for accuracy in accuracies)
    mirror = median(mirror_share(record.task, seed=run.record.seed, salt=run.record.salt) for run in runs)
    broken = {
        "T": middle is None or not EARLIEST <= middle <= LATEST,
        "delay": delay < SHORTEST_DELAY,
        "memorized": early > mirror + MOST_AT_MEMORIZED,
        "solved": solved < LEAST_SOLVED * len(runs),
        "size": task.num_held_out < FEWEST_HELD_OUT,
    }
    return [
        f"`{task.name}`",
        f"{task.num_train:,}",
        f"{solved}/{len(runs)}",
        f"{middle:,.0f}" if middle else "",
        f"{delay:.1f}" if middle else "",
        f"{early:.1%}" + (f" ({mirror:.0%} of the mirror images are shown)" if mirror else ""),
        ", ".join(name for name, is_broken in broken.items() if is_broken),
    ]


def main(folders: Sequence[str]) -> None:
    """Print a row for every table."""
    by_task: dict[str, list[RunResult]] = {}
    for run in load_runs(*folders):
        by_task.setdefault(run.record.task, []).append(run)
    print(tabulate(map(admission_row, by_task.values()), HEADERS, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main(sys.argv[1:])
