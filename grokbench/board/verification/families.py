"""A task of another family, on which the code of an entry runs unchanged: an open entry's agent, or a closed one's optimizer.

Code that solves for the structure of modular tables fills them in without learning. It falls to chance on a permutation group.
An optimizer runs in the process of its agent, so its code could do the same. An optimizer that generalizes on none of its
entry's tables fills none in, and needn't learn the group.
"""

from collections.abc import Sequence

from grokbench.agents.recipes import Recipe
from grokbench.board.entries.entry import Entry
from grokbench.board.entries.verdicts import OtherFamily
from grokbench.results.scoring import chance_limit
from grokbench.runs.plan import Plan, plan
from grokbench.runs.records import RunRecord
from grokbench.tasks import list_tasks, parse_id
from grokbench.tasks.tables import TableTask

OTHER_FAMILY = "compose_s4-0.9"
BUDGET = 3_000  # steps


def other_family_plans(entry: Entry, recipe: Recipe, *, salt: str) -> list[Plan]:
    """The run of an entry with code on a task of another family. A suite of images has none."""
    tables = all(isinstance(task, TableTask) for task in list_tasks(entry.form.suite))
    generalizes = any(run.outcome.steps_to_generalize is not None for run in entry.runs)
    has_code = entry.form.division == "open" or (bool(entry.recipe.source) and generalizes)
    return plan([OTHER_FAMILY], [recipe], seeds=[0], salt=salt, budget=BUDGET) if has_code and tables else []


def other_family(records: Sequence[RunRecord]) -> OtherFamily | None:
    """The result of that run; None if it isn't among the records, or is incomplete."""
    name = parse_id(OTHER_FAMILY).id
    for run in records:
        if run.task == name and run.incomplete is None:
            right = max((exam.held_out for exam in run.exams), default=0)
            return OtherFamily(task=name, right=right, limit=chance_limit(run.parsed_task(), len(run.exams)))
    return None
