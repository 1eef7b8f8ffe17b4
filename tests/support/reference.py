"""A made-up reference on `mini`, for tests that don't depend on the shipped one."""

from collections.abc import Sequence

from grokbench.results.scoring import Reference
from grokbench.runs.records import RunRecord
from tests.support.entries import good_runs


def made_up_reference(runs: Sequence[RunRecord] | None = None) -> Reference:
    """The reference that these runs make, by default runs of `transformer` that generalize around step 1,000."""
    scored = [run for run in (good_runs(luck=7) if runs is None else runs) if not run.parsed_task().control]
    tasks: dict[str, dict[int, int | None]] = {run.task: {} for run in scored}
    for run in scored:
        tasks[run.task][run.seed] = run.outcome.steps_to_generalize
    return Reference({run.agent.name: run.agent.hash for run in scored}, tasks)
