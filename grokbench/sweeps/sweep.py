"""Making the runs of a grid."""

from collections.abc import Sequence
from typing import Any

from grokbench.runs import engine
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Plan
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store


def run_plans(plans: Sequence[Plan], store: Store, *, callbacks: Sequence[Callback] = (), **options: Any) -> list[RunRecord]:
    """Make the runs of a grid's plans that aren't finished.

    Args:
        plans: what to run, see `Grid.plans`.
        store: the folder of runs.
        callbacks: who is told.
        **options: those of `engine.run`.

    Returns:
        The records of all runs, in their order. A run that another process makes has none yet.
    """
    engine.run(plans, store, callbacks=callbacks, **options)
    paths = [store.record_path(run) for plan in plans for run in plan.runs]
    return [read_record(path) for path in paths if path.exists()]
