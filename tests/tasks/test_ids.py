"""Task ids: published sizes, canonical forms, errors, lists of tasks, and random text for the parser."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import grokbench
from grokbench.errors import TaskError
from grokbench.tasks import Task, get_suite, list_suites, list_tasks, parse_id
from grokbench.tasks.groups import GROUP_OPERATIONS
from grokbench.tasks.images import THRESHOLDS
from grokbench.tasks.operations import OPERATIONS
from grokbench.tasks.suites import OTHERS
from grokbench.tasks.tables import TableTask


@pytest.mark.parametrize(
    ("name", "num_train", "num_held_out", "num_questions"),
    [
        ("add_mod97-0.3", 2822, 6587, 9409),
        ("add_mod113-0.3", 3830, 8939, 12769),
        ("div_mod97-0.5", 4656, 4656, 9312),
        ("div_or_sub_mod97-0.5", 4704, 4705, 9409),
        ("compose_s5-0.5", 7200, 7200, 14400),
        ("random_mod97-0.5", 4704, 4705, 9409),
        ("add_mod5-0.56", 14, 11, 25),  # 0.56 · 25 in floating point is 14.000000000000002
        ("add_mod97-0.29", 2728, 6681, 9409),
        ("compose_s3-0.25", 9, 27, 36),
    ],
)
def test_published_sizes(name: str, num_train: int, num_held_out: int, num_questions: int) -> None:
    """Training and held-out questions of tables that papers use."""
    task = parse_id(name)
    assert (task.num_train, task.num_held_out, task.num_questions) == (num_train, num_held_out, num_questions)


@pytest.mark.parametrize("hundredths", range(1, 100))
def test_training_questions_are_counted_exactly(hundredths: int) -> None:
    """⌊ratio × N⌋ in integers, although floating point rounds (0.29 × 100 is 28.999…)."""
    task = parse_id(f"div_mod11-0.{hundredths:02}")
    assert task.num_train == hundredths * 110 // 100
    assert isinstance(task, TableTask)
    assert Fraction(task.ratio) == Fraction(hundredths, 100)


@pytest.mark.parametrize(
    "spelling",
    [
        "add_mod97-0.3",
        "add_mod97-0.30",
        "add_mod97-.3",
        "add_mod97-0.3-v1",
        "add_mod97-.300-v1",
        "grokbench/add_mod97-0.3",
        "grokbench/add_mod97-0.30-v1",
    ],
)
def test_every_spelling_is_the_same_task(spelling: str) -> None:
    """Ratio, namespace and version each have a canonical form."""
    task = parse_id(spelling)
    assert task == parse_id("add_mod97-0.3")
    assert task.id == "add_mod97-0.3-v1"
    assert task.gym_id == "grokbench/add_mod97-0.3-v1"


BAD = [
    ("ad_mod97-0.3", r"unknown operation 'ad'.*did you mean 'add_mod97-0.3'"),
    ("compos_s5-0.5", r"unknown operation 'compos'.*permutation group.*did you mean 'compose_s5-0.5'"),
    ("add_s5-0.5", r"unknown operation 'add' on a permutation group"),
    ("compose_mod97-0.5", r"unknown operation 'compose' on a modulus"),
    ("random_s5-0.5", r"unknown operation 'random' on a permutation group"),
    ("add_mod96-0.3", r"modulus must be prime, got 96.*nearest prime is 97"),
    ("add_mod1-0.3", r"modulus must be prime, got 1 "),
    ("add_mod0-0.3", r"modulus must be prime, got 0 "),
    ("add_mod97-1.3", r"train ratio must lie in \(0, 1\), got 1\.3 in 'add_mod97-1\.3'"),
    ("add_mod97-1", r"train ratio must lie in \(0, 1\), got 1 "),
    ("add_mod97-1.0", r"train ratio must lie in \(0, 1\)"),
    ("add_mod97-0", r"train ratio must lie in \(0, 1\), got 0 "),
    ("add_mod97-0.0", r"train ratio must lie in \(0, 1\)"),
    ("add_mod97--0.3", r"train ratio must be a decimal number.*'-0\.3'"),
    ("add_mod97-3e-1", r"train ratio must be a decimal number.*'3e-1'"),
    ("add_mod97-nan", r"train ratio must be a decimal number.*'nan'"),
    ("add_mod5-0.01", r"has 0 training"),
    ("add_mod2-0.2", r"has 0 training and 4 held-out questions of 4"),
    ("add_mod97-0.3-v1.2", r"version.*-v1"),
    ("add_mod97-0.3-V1", r"version.*-v1"),
    ("add_mod97-0.3-v1-v1", r"version.*-v1"),
    ("add_mod97-0.3-v2", r"unknown version -v2.*-v1"),
    ("add_mod97-0.3-v0", r"unknown version -v0"),
    ("add_mod97-0.3-v01", r"unknown version -v01"),
    ("compose_s7-0.5", r"groups are S3 to S6, got S7"),
    ("compose_s2-0.5", r"groups are S3 to S6, got S2"),
    ("add_mod99991-0.3", r"modulus must be at most 4096, got 99991"),
    ("add_mod999999937-0.3", r"modulus must be at most 4096, got 999999937"),
    ("add_mod97", r"no task is called 'add_mod97'.*expected.*did you mean 'add_mod"),
    ("add-0.3", r"no task is called"),
    ("", r"no task is called ''"),
    ("add_mod97-0.3\n", r"no task is called"),
    (" add_mod97-0.3", r"no task is called"),
    ("Add_mod97-0.3", r"no task is called"),
    ("grokbench/grokbench/add_mod97-0.3", r"no task is called"),
    ("grokbench/b_mod97-0.3", r"unknown operation 'b'.*did you mean 'grokbench/sub_mod97-0.3'"),
    ("add_mod4-0.5", r"got 4 .*nearest prime is 3"),
    ("add_mod90-0.5", r"got 90 .*nearest prime is 89"),
    ("add_mod4099-0.5", r"modulus must be at most 4096, got 4099"),
    ("add_mod97-0.1234567890123", r"at most 12 places, got '0\.1234567890123'"),
    ("add_mod97-0.3-to0", r"train ratio must be a decimal number.*'0\.3-to0'"),
    ("add_mod97-0.3-to007", r"got '0\.3-to007'"),
    ("add_mod97-0.3-to1000000000", r"got '0\.3-to1000000000'"),
    ("add_mod97-0.3-to5-to6", r"got '0\.3-to5'"),
    ("add_mod97-0.3-v1-to5", r"a version comes last"),
]


@pytest.mark.parametrize(("name", "message"), BAD)
def test_a_bad_id_says_what_is_wrong(name: str, message: str) -> None:
    """The message names the fault and quotes the id."""
    with pytest.raises(TaskError, match=message) as caught:
        parse_id(name)
    assert repr(name) in str(caught.value)


def test_make_raises_the_errors_of_the_parser() -> None:
    """`grokbench.make` takes any id."""
    with pytest.raises(TaskError, match="modulus must be prime"):
        grokbench.make("add_mod96-0.3")


def test_an_id_must_be_text() -> None:
    """A number is an error."""
    with pytest.raises(TaskError, match="a task id is text"):
        parse_id(97)  # type: ignore[arg-type]


def test_a_ratio_below_one_holds_a_question_out() -> None:
    """Rounding goes down: 0.999999999999 of 4 questions are 3."""
    task = parse_id("add_mod2-0.999999999999")
    assert (task.num_train, task.num_held_out) == (3, 1)


@pytest.mark.parametrize("budget", [0, -5, 1.5, True, "10", 1 << 31])
def test_a_bad_budget_is_an_error(budget: object) -> None:
    """A budget is a positive whole number of steps."""
    with pytest.raises(TaskError, match="a budget is a whole number of steps from 1 to"):
        parse_id("add_mod5-0.5", budget=budget)  # type: ignore[arg-type]


def test_a_budget_of_numpy() -> None:
    """It becomes Python's number, which a record can hold."""
    assert type(parse_id("add_mod5-0.5", budget=np.int64(7)).budget) is int  # type: ignore[arg-type]


def test_another_budget() -> None:
    """The given budget replaces the standard budget and nothing else."""
    task = parse_id("add_mod97-0.3", budget=77)
    assert task.budget == 77
    assert task.id == parse_id("add_mod97-0.3").id


def test_a_followed_task() -> None:
    """`-to500` sets the budget, follows every run to it, and stays in the id; questions and split are those of the task."""
    task = parse_id("add_mod97-0.3-to500")
    assert (task.id, task.budget, task.followed) == ("add_mod97-0.3-to500-v1", 500, True)
    assert task.data_id == parse_id("add_mod97-0.3").data_id
    assert parse_id(task.id) == task
    assert not parse_id("add_mod97-0.3").followed


def test_formula_and_source_of_every_operation() -> None:
    """A formula names the structure that the operation is defined on."""
    for name in OPERATIONS:
        task = parse_id(f"{name}_mod7-0.5")
        assert task.formula.endswith("mod 7")
        assert "Power" in task.source
    for name in GROUP_OPERATIONS:
        assert parse_id(f"{name}_s3-0.5").formula.endswith("in S3")
    assert parse_id("random_mod7-0.5").source == "control"


def test_the_budget_of_a_followed_task_is_in_its_id() -> None:
    """Another budget would be another task, because the runs end elsewhere. The threshold is the task's own."""
    task = parse_id("mnist5k-n500-to77")
    assert (task.id, task.budget, task.followed) == ("mnist5k-n500-to77-v1", 77, True)
    assert task == parse_id("mnist5k-n500-to77", budget=77)
    with pytest.raises(TaskError, match="'mnist5k-n500-to77' states its budget"):
        parse_id("mnist5k-n500-to77", budget=20)
    assert task.threshold == parse_id("mnist5k-n500").threshold == THRESHOLDS["mnist5k-n500"]
    assert parse_id("add_mod97-0.3-to999999999").budget == 999_999_999


def test_tasks_are_compared_by_value() -> None:
    """Tasks are keys of tables. The budget, the version of the text and the ratio's spelling decide, not the object."""
    keys = {parse_id("add_mod7-0.5"), parse_id("grokbench/add_mod7-.50-v1"), parse_id("add_mod7-0.5", budget=9)}
    assert len(keys) == 2


LARGEST = 4093  # the largest prime that a modulus can be


@given(st.integers(1, 10**12 - 1))
def test_a_ratio_has_twelve_exact_places(trillionths: int) -> None:
    """Even the smallest ratio is written as a decimal number without an exponent, and questions are counted exactly."""
    num_train = trillionths * LARGEST**2 // 10**12
    assume(num_train > 0)
    task = parse_id(f"add_mod{LARGEST}-0.{trillionths:012}")
    assert task.num_train == num_train
    assert task.name == f"add_mod{LARGEST}-" + f"0.{trillionths:012}".rstrip("0")
    assert parse_id(task.id) == task


def test_a_single_training_question_is_enough() -> None:
    """The smallest possible split, with a ratio that Python would print as 6E-8."""
    task = parse_id("add_mod4093-.00000006")
    assert (task.id, task.num_train) == ("add_mod4093-0.00000006-v1", 1)


def test_sources_are_figure_and_appendix() -> None:
    """Multiplication is in the paper's Figure 2 alone; the other operations are in its appendix."""
    assert parse_id("mul_mod7-0.5").source.endswith("Fig. 2")
    for name in ("add_mod7-0.5", "x3_xy_mod7-0.5", "compose_s3-0.5"):
        assert parse_id(name).source.endswith("A.1.1")


def test_a_list_keeps_the_suites_order() -> None:
    """Tables of results are in this order, and a control comes last."""
    for suite in list_suites():
        assert [task.name for task in list_tasks(suite.name, controls=True)] == [*suite.tasks, suite.control]
    names = [task.name for task in list_tasks()]
    assert names == sorted(names, key=[*(name for suite in list_suites() for name in suite.tasks), *OTHERS].index)


def test_standard_ids_are_canonical_and_distinct() -> None:
    """The suites spell every task in its canonical form."""
    tasks = list_tasks(controls=True)
    assert len({task.id for task in tasks}) == len(tasks)
    assert all(parse_id(task.id) == task for task in tasks)


@pytest.mark.parametrize("suite", [None, *(suite.name for suite in list_suites())])
def test_lists_hold_scored_tasks(suite: str | None) -> None:
    """With a suite or without, `list_tasks` lists scored tasks alone, and adds the controls on demand."""
    scored, with_controls = list_tasks(suite), list_tasks(suite, controls=True)
    assert not any(task.control for task in scored)
    assert [task for task in with_controls if not task.control] == scored
    suites = list_suites() if suite is None else [get_suite(suite)]
    assert {task.name for task in with_controls if task.control} == {s.control for s in suites}
    others = OTHERS if suite is None else ()
    assert {task.name for task in scored} == {*(name for s in suites for name in s.tasks), *others}


def test_an_unknown_suite_is_an_error() -> None:
    """The message lists the suites."""
    with pytest.raises(TaskError, match="no suite is called 'minni': expected one of mini, core, hard, full, deep, tuning"):
        list_tasks("minni")


def _parsed(text: str) -> Task | None:
    try:
        return parse_id(text)
    except TaskError:
        return None


FRAGMENTS = st.sampled_from(
    ["grokbench/", "add", "div", "compose", "random", "_", "mod", "s", "5", "7", "97", "-", "0", ".", "3", "-v", "1", "²", "٣"]
)
ID_LIKE = st.from_regex(r"(grokbench/)?[a-z0-9_]{1,8}_(mod|s)\d{1,4}-\d?\.?\d{0,4}(-[vV]\d{1,2})?", fullmatch=True)
NEARLY_VALID = st.builds(
    "{}_{}{}-{}".format,
    st.sampled_from([*OPERATIONS, *GROUP_OPERATIONS, "random"]),
    st.sampled_from(["mod", "s"]),
    st.integers(0, 5000),
    st.decimals(-1, 2, places=3).map(str),
)


@example("mnist5k-n1")
@example("mnist-first-n5000-to20000")
@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join), ID_LIKE, NEARLY_VALID))
def test_any_text_is_a_task_or_a_task_error(text: str) -> None:
    """The parser returns a valid task with a canonical id, or raises TaskError."""
    task = _parsed(text)
    if task is not None:
        assert parse_id(task.id) == task
        table, images = r"[a-z0-9_]+_(mod|s)[1-9][0-9]*-0\.[0-9]*[1-9]", r"(random_)?mnist(5k)?(-first)?-n[1-9][0-9]*"
        assert re.fullmatch(rf"({table}|{images})(-to[1-9][0-9]*)?-v1", task.id)
        assert 0 < task.num_train < task.num_questions
        assert task.budget > 0
