"""Task ids, such as `add_mod97-0.3-v1`: their form, and the task of an id."""

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, get_args

from grokbench.errors import TaskError
from grokbench.tasks import images, tables
from grokbench.tasks.task import BUDGETS_END, NAMESPACE, ExamGrid, Task, whole_number

VERSIONS = (1,)
_VERSION = re.compile(r"(?P<name>.+)-v(?P<version>[0-9]{1,6})")
_FOLLOWED = re.compile(r"(?P<name>.+)-to(?P<steps>[1-9][0-9]{0,8})")
_EXPECTED = "{operation}_mod{p}-{ratio}, {operation}_s{3..6}-{ratio}, mnist5k-n{N} or mnist-n{N}, with or without -v1"


def parse_id(task_id: str, budget: int | None = None, exam_grid: ExamGrid = "full") -> Task:
    """The task with the id `task_id`, with its standard budget or the given one, in steps.

    The id may leave out the namespace and the version: `add_mod97-.30` is `add_mod97-0.3-v1`. With `-to500` before the version,
    every run is followed to step 500, and no accuracy counts as generalization. `exam_grid` is `full` or `sparse`.

    Raises:
        TaskError: no task has that id; the message says what is wrong and suggests the nearest id.
    """
    if not isinstance(task_id, str):
        raise TaskError(f"a task id is text such as 'add_mod97-0.3', got {task_id!r}")
    name, version = _split_version(task_id.removeprefix(f"{NAMESPACE}/"), task_id)
    followed = _FOLLOWED.fullmatch(name)
    task = _task(followed["name"] if followed else name, version, task_id)
    if followed:
        task = replace(task, budget=_checked_budget(int(followed["steps"])), followed=True)
    if exam_grid not in get_args(ExamGrid):
        raise TaskError(f"exams are {' or '.join(get_args(ExamGrid))}, got {exam_grid!r}")
    task = replace(task, exam_grid=exam_grid)
    if budget is None:
        return task
    if task.followed and budget != task.budget:
        raise TaskError(f"{task_id!r} states its budget: write the number of steps after -to, got a budget of {budget!r} too")
    return replace(task, budget=_checked_budget(budget))


def _task(name: str, version: int, task_id: str) -> Task:
    from grokbench.tasks.suites import BUDGETS

    if match := images.IMAGES_ID.fullmatch(name):
        task: Task = images.image_task(match, version=version, task_id=task_id)
    elif match := tables.TABLE_ID.fullmatch(name):
        task = tables.table_task(match, version=version, task_id=task_id)
    else:
        raise TaskError(f"no task is called {task_id!r}: expected {_EXPECTED}{_suggestion(name)}")
    return replace(task, budget=BUDGETS.get(task.name, task.budget), threshold=images.THRESHOLDS.get(task.name, task.threshold))


def _split_version(name: str, task_id: str) -> tuple[str, int]:
    match = _VERSION.fullmatch(name)
    if not match:
        return name, VERSIONS[-1]
    version = int(match["version"])
    if version not in VERSIONS or match["version"] != str(version):
        known = ", ".join(f"-v{v}" for v in VERSIONS)
        raise TaskError(f"unknown version -v{match['version']} in {task_id!r}: this grokbench has {known}")
    return match["name"], version


def _checked_budget(budget: Any) -> int:
    number = whole_number(budget)
    if number is None or not 1 <= number < BUDGETS_END:
        raise TaskError(f"a budget is a whole number of steps from 1 to {BUDGETS_END - 1:,}, got {budget!r}")
    return number


def _suggestion(name: str) -> str:
    from grokbench.tasks.suites import standard_names

    similar = get_close_matches(name, standard_names(), n=1, cutoff=0.5)
    return f"; did you mean {similar[0]!r}?" if similar else ""
