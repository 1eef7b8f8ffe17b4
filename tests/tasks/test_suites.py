"""The suites' tables: every name is canonical, every number belongs to a task, and the documents say the same."""

import re
from collections import Counter
from pathlib import Path

import pytest

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import list_suites, parse_id
from grokbench.tasks.groups import GROUP_OPERATIONS
from grokbench.tasks.images import THRESHOLDS
from grokbench.tasks.operations import OPERATIONS
from grokbench.tasks.suites import BUDGETS, FULL, OTHERS, SUITES, Suite, standard_names
from grokbench.tasks.tables import TableTask
from grokbench.tasks.task import DEFAULT_BUDGET

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*standard_names(), *BUDGETS, *THRESHOLDS])
def test_every_name_is_canonical(name: str) -> None:
    """A budget or a threshold under any other spelling would never be found."""
    assert parse_id(name).name == name


@pytest.mark.parametrize("suite", list_suites(), ids=lambda suite: suite.name)
def test_a_suite_has_scored_tasks_and_a_control(suite: Suite) -> None:
    """No task twice, and the control's official runs are of official seeds."""
    assert SUITES[suite.name] is suite
    assert max(Counter(suite.tasks).values()) == 1
    assert not any(parse_id(name).control for name in suite.tasks)
    assert parse_id(suite.control).control
    assert set(suite.control_seeds) <= set(PROTOCOL.official_seeds)


def test_a_suite_has_one_budget() -> None:
    """Every scored task has its suite's budget, and the control a short one. Tasks outside of suites have the default."""
    for suite in list_suites():
        assert {parse_id(name).budget for name in suite.tasks} == {suite.budget}
        assert parse_id(suite.control).budget == suite.control_budget < suite.budget
    assert set(BUDGETS) | set(OTHERS) == set(standard_names())
    assert parse_id("add_mod13-0.5").budget == DEFAULT_BUDGET


def test_full_has_every_operation() -> None:
    """Power et al.'s twelve and multiplication at half of the table, modulo 97 or in S5 (appendix of arXiv 2201.02177)."""
    tasks = [parse_id(name) for name in FULL]
    operations = {task.operation for task in tasks if isinstance(task, TableTask)}
    assert operations == {*OPERATIONS, *GROUP_OPERATIONS}
    assert len(tasks) == len(operations) == 13
    assert {(task.structure, task.size, task.ratio) for task in tasks if isinstance(task, TableTask)} == {
        ("mod", 97, "0.5"),
        ("s", 5, "0.5"),
    }


def test_the_page_states_each_tasks_size() -> None:
    """The column of training questions in docs/suites.md."""
    rows = re.findall(r"^\| `([a-z0-9_]+_mod[^`]+)` \| ([\d,]+) \|", PAGE, re.MULTILINE)
    assert len(rows) > 5
    assert {name: int(number.replace(",", "")) for name, number in rows} == {name: parse_id(name).num_train for name, _ in rows}


def test_the_page_states_each_suite() -> None:
    """Its number of tasks and its control."""
    rows = re.findall(r"^\| `([a-z]+)` \| (\d+) [^|]+ \| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert rows
    for name, number, control in rows:
        assert (len(SUITES[name].tasks), SUITES[name].control) == (int(number), control)
    assert {name for name, *_ in rows} == set(SUITES)
