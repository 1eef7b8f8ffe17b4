"""What there is to learn: tables, images, task ids, instances and suites. No torch in here."""

from grokbench.tasks.ids import parse_id
from grokbench.tasks.suites import SUITES, Suite, standard_names
from grokbench.tasks.task import Instance, Task, make_instance


def list_tasks(suite: str | None = None) -> list[Task]:
    """The standard tasks, or those of one suite without its control.

    Raises:
        ValueError: no suite has that name.
    """
    names = standard_names() if suite is None else get_suite(suite).tasks
    return [parse_id(name) for name in names]


def get_suite(name: str) -> Suite:
    """The suite called `name`.

    Raises:
        ValueError: no suite has that name.
    """
    if name not in SUITES:
        raise ValueError(f"no suite is called {name!r}: expected one of {', '.join(SUITES)}")
    return SUITES[name]


def list_suites() -> list[Suite]:
    """All suites."""
    return list(SUITES.values())


__all__ = ["Instance", "Suite", "Task", "get_suite", "list_suites", "list_tasks", "make_instance", "parse_id"]
