"""Several records of the same run, as two folders of runs can have them."""

from collections.abc import Iterable

from grokbench.errors import ResultError
from grokbench.runs.records import RunRecord
from grokbench.tasks import Task


def without_duplicates(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Every run once, in the order of the records. A complete record counts more than an incomplete one.

    Raises:
        ResultError: two complete records of the same run have different exams, so that neither can be chosen.
    """
    unique: dict[tuple[Task, str, str, int], RunRecord] = {}
    for record in records:
        run = (record.parsed_task(), record.agent.hash, record.salt, record.seed)
        kept = unique.get(run)
        if kept is None or kept.incomplete is not None:
            unique[run] = record
        elif record.incomplete is None and record.exams != kept.exams:
            shown = f"{record.task} seed {record.seed} of {record.agent.name}"
            raise ResultError(f"{shown} is there twice, with different exams: name folders that have every run once")
    return list(unique.values())
