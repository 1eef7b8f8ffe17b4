"""Tasks: tables, images, task ids, instances and suites. Nothing here imports torch."""

from grokbench.errors import TaskError
from grokbench.tasks.ids import parse_id
from grokbench.tasks.suites import OTHERS, SUITES, Suite
from grokbench.tasks.task import ExamGrid, Instance, Task, make_instance


def list_tasks(suite: str | None = None, *, controls: bool = False) -> list[Task]:
    """The scored tasks of one suite, or all standard tasks, once each.

    Args:
        suite: the name of a suite; None for all suites, and the standard tasks that are in none.
        controls: whether to list the suites' controls too, which are never scored.

    Raises:
        TaskError: no suite has that name.
    """
    suites = list_suites() if suite is None else [get_suite(suite)]
    names = [name for s in suites for name in (*s.tasks, *([s.control] if controls else []))]
    names += OTHERS if suite is None else ()
    return [parse_id(name) for name in dict.fromkeys(names)]


def get_suite(name: str) -> Suite:
    """The suite called `name`.

    Raises:
        TaskError: no suite has that name.
    """
    if name not in SUITES:
        raise TaskError(f"no suite is called {name!r}: expected one of {', '.join(SUITES)}")
    return SUITES[name]


def list_suites() -> list[Suite]:
    """All suites."""
    return list(SUITES.values())


__all__ = [
    "SUITES",
    "ExamGrid",
    "Instance",
    "Suite",
    "Task",
    "get_suite",
    "list_suites",
    "list_tasks",
    "make_instance",
    "parse_id",
]
