"""The protocol: the exam grid, and outcomes against a brute-force reading of docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grokbench.errors import ProtocolError
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.tasks import Task, parse_id

TASK = parse_id("add_mod31-0.5", budget=1000)  # 480 training and 481 held-out questions; 477 right answers reach the threshold
RIGHT, ALMOST = 477, 476
RANKS = {"effective_rank": [3.0, 2.5]}


def _grid(budget: int, until: int) -> list[int]:
    """The exam grid as docs/protocol.md has it, beyond the budget too."""
    steps = [min(10, budget)]
    while steps[-1] < until:
        last = steps[-1]
        following = last + max(10, ceil(Fraction(2 * last, 100)))
        steps.append(budget if last < budget < following else following)
    return steps


def _exams(held_out: Sequence[int | None], budget: int, train: int = 0) -> list[Exam]:
    """Exams on the grid with these right answers, as far as both go; None is divergence."""
    steps = _grid(budget, 2 * budget + 1000)
    return [
        Exam(step, train, right or 0, None if right is None else RANKS) for step, right in zip(steps, held_out, strict=False)
    ]


@dataclass(frozen=True)
class _Expected:
    """The outcome by brute force; `last` is the index of the run's last exam."""

    last: int
    end: str
    steps_to_generalize: int | None
    first_crossing: int | None


def _brute_force(exams: list[Exam], task: Task) -> _Expected:
    """The words of docs/protocol.md, over the whole sequence at once."""
    steps = [exam.step for exam in exams]
    passes = [exam.ranks is not None and Fraction(exam.held_out, task.num_held_out) >= Fraction(99, 100) for exam in exams]
    confirmed, generalized = len(exams), None
    for i, step in enumerate(steps):
        later = [j for j in range(i, len(steps)) if steps[j] >= Fraction(5, 4) * step and j - i + 1 >= 5]
        if later and step <= task.budget and all(passes[i : later[0] + 1]):
            confirmed, generalized = later[0], step
            break
    diverged = next((i for i, exam in enumerate(exams) if exam.ranks is None), len(exams))
    spent = next((i for i, step in enumerate(steps) if step >= task.budget and not passes[i]), len(exams))
    last = min(confirmed, diverged, spent)
    end = "generalized" if last == confirmed else "diverged" if last == diverged else "censored"
    crossing = next((step for step, passed in zip(steps[: last + 1], passes, strict=False) if passed), None)
    return _Expected(last, end, generalized if end == "generalized" else None, crossing)


@pytest.mark.parametrize("budget", [10, 11, 15, 500, 505, 1000, 10_000, 40_000, 100_000])
def test_grid_is_that_of_the_documentation(budget: int) -> None:
    """The first exam at 10, then gaps of max(10, ⌈2 % of the step⌉), and an exam exactly at the budget."""
    assert list(PROTOCOL.grid(budget)) == _grid(budget, budget)


def test_the_first_exams_of_a_long_run() -> None:
    """Every ten steps up to 500; from there on 2 % is more than ten."""
    grid = list(PROTOCOL.grid(100_000))
    assert grid[:52] == [*range(10, 501, 10), 510, 521]


@given(st.integers(1, 300_000))
@example(1)
@example(9)
@example(10)
def test_grid_properties(budget: int) -> None:
    """Strictly rising up to the budget; every gap is as prescribed, and the last gap at most that."""
    grid = list(PROTOCOL.grid(budget))
    assert grid[0] == min(10, budget)
    assert grid[-1] == budget
    gaps = [(a, b - a, max(10, ceil(Fraction(2, 100) * a))) for a, b in pairwise(grid)]
    assert all(gap == due for _, gap, due in gaps[:-1])
    assert all(0 < gap <= due for _, gap, due in gaps[-1:])


@given(st.integers(1, 5000), st.integers(5001, 300_000))
def test_the_grid_is_the_same_under_any_budget(small: int, large: int) -> None:
    """A budget adds its own exam and moves no earlier exam."""
    assert list(PROTOCOL.grid(small))[:-1] == [step for step in PROTOCOL.grid(large) if step < small]


RIGHT_ANSWERS: st.SearchStrategy[int | None] = st.sampled_from([0, ALMOST, RIGHT, RIGHT, 481])
STRETCHES = st.lists(st.tuples(RIGHT_ANSWERS, st.integers(1, 14)), max_size=14)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[int, list[int | None]]:
    """A budget, and right answers for more exams than a run can have, sometimes with a divergence."""
    budget = draw(st.integers(1, 900))
    held_out: list[int | None] = [right for right, times in draw(STRETCHES) for _ in range(times)]
    tail = draw(st.sampled_from([0, 481]))
    held_out += [tail] * (200 - len(held_out))
    if draw(st.booleans()):
        held_out[draw(st.integers(0, 100))] = None
    return budget, held_out


@given(_histories())
def test_outcome_equals_the_brute_force(history: tuple[int, list[int | None]]) -> None:
    """Exam by exam, the run ends at the same exam and with the same T as over the whole sequence."""
    budget, held_out = history
    task = parse_id("add_mod31-0.5", budget=budget)
    exams = _exams(held_out, budget)
    expected = _brute_force(exams, task)
    outcome = PROTOCOL.outcome(exams[: expected.last + 1], task)
    assert (outcome.end, outcome.steps_to_generalize, outcome.first_crossing, outcome.step) == (
        expected.end,
        expected.steps_to_generalize,
        expected.first_crossing,
        exams[expected.last].step,
    )
    assert outcome.censored == (expected.end != "generalized")
    assert PROTOCOL.outcome(exams[: expected.last], task).end is None
    with pytest.raises(ProtocolError, match="the run had ended"):
        PROTOCOL.outcome(exams[: expected.last + 2], task)


@given(_histories())
def test_nothing_runs_beyond_a_quarter_over_the_budget(history: tuple[int, list[int | None]]) -> None:
    """The last exam is the first at or after 1.25 budgets at the latest, or the fifth exam of a stretch."""
    budget, held_out = history
    task = parse_id("add_mod31-0.5", budget=budget)
    exams = _exams(held_out, budget)
    last = exams[_brute_force(exams, task).last].step
    at_budget = [exam.step for exam in exams].index(budget)
    latest = max(next(i for i, exam in enumerate(exams) if exam.step >= 1.25 * budget), at_budget + 4)
    assert last <= exams[latest].step


def _outcome(held_out: Sequence[int | None], task: Task = TASK) -> Outcome:
    return PROTOCOL.outcome(_exams(held_out, task.budget), task)


def test_crossing_at_the_first_exam() -> None:
    """T = 10 is confirmed by the fifth exam, at 50, although 1.25·T comes earlier."""
    assert _outcome([481] * 4).end is None
    outcome = _outcome([481] * 5)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step) == ("generalized", 10, 50)


def test_a_late_crossing_is_followed_for_a_quarter() -> None:
    """T = 400 is confirmed at 500, exactly 1.25·T, which is ten exams later."""
    outcome = _outcome([0] * 39 + [RIGHT] * 11)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step) == ("generalized", 400, 500)
    assert _outcome([0] * 39 + [RIGHT] * 10).end is None


def test_a_spike_is_a_crossing_but_no_generalization() -> None:
    """After a relapse, T starts anew, and the first crossing stays."""
    outcome = _outcome([0, 0, RIGHT, RIGHT, ALMOST, *[RIGHT] * 5])
    assert (outcome.first_crossing, outcome.steps_to_generalize, outcome.step) == (30, 60, 100)


def test_four_exams_are_not_enough() -> None:
    """A relapse at the fifth exam starts a new stretch."""
    assert _outcome([*[RIGHT] * 4, ALMOST, *[RIGHT] * 5]).steps_to_generalize == 60


def test_crossing_at_the_budget_is_followed_beyond_it() -> None:
    """A candidate at the last exam of the budget can still be confirmed; T is the budget then."""
    steps = list(PROTOCOL.grid(TASK.budget))
    waiting = [0] * (len(steps) - 1)
    assert _outcome([*waiting, RIGHT]).end is None
    exams = _exams([*waiting, *[RIGHT] * 100], TASK.budget)
    last = next(i for i, exam in enumerate(exams) if exam.step >= 1250)
    outcome = PROTOCOL.outcome(exams[: last + 1], TASK)
    assert (outcome.end, outcome.steps_to_generalize) == ("generalized", 1000)
    relapsed = _outcome([*waiting, RIGHT, ALMOST])
    assert (relapsed.end, relapsed.steps_to_generalize, relapsed.first_crossing) == ("censored", None, 1000)


def test_a_run_below_the_threshold_is_censored() -> None:
    """With one answer too few at every exam, the run ends at the budget."""
    outcome = _outcome([ALMOST] * len(list(PROTOCOL.grid(TASK.budget))))
    assert (outcome.end, outcome.step, outcome.first_crossing, outcome.censored) == ("censored", 1000, None, True)


def test_divergence_at_the_first_exam() -> None:
    """Non-finite features end the run."""
    outcome = _outcome([None])
    assert (outcome.end, outcome.step, outcome.final_rank, outcome.censored) == ("diverged", 10, None, True)


def test_divergence_while_a_candidate_stands() -> None:
    """Divergence drops the candidate and keeps the first crossing."""
    outcome = _outcome([0, *[RIGHT] * 4, None])
    assert (outcome.end, outcome.steps_to_generalize, outcome.candidate) == ("diverged", None, None)
    assert outcome.first_crossing == 20


def test_divergence_beyond_the_budget() -> None:
    """A run that is followed beyond the budget can still diverge."""
    steps = list(PROTOCOL.grid(TASK.budget))
    outcome = _outcome([*[0] * (len(steps) - 1), RIGHT, None])
    assert (outcome.end, outcome.steps_to_generalize) == ("diverged", None)
    assert outcome.step > TASK.budget


@pytest.mark.parametrize(("train", "memorized"), [(475, None), (476, 10)])
def test_steps_to_memorize(train: int, memorized: int | None) -> None:
    """The first exam with 99 % of the 480 training questions right, which is 476."""
    assert PROTOCOL.outcome(_exams([0, 0], 1000, train), TASK).steps_to_memorize == memorized


def test_memorizing_is_recorded_once() -> None:
    """Forgetting afterwards doesn't move steps-to-memorize."""
    exams = [Exam(step, train, 0, RANKS) for step, train in ((10, 0), (20, 480), (30, 0), (40, 480))]
    assert PROTOCOL.outcome(exams, TASK).steps_to_memorize == 20


def test_the_final_rank_is_the_last_layers_at_the_last_exam() -> None:
    """Not an earlier exam's, and not an earlier layer's."""
    exams = [Exam(10, 0, 0, {"effective_rank": [9.0, 8.0]}), Exam(20, 0, 0, {"effective_rank": [7.0, 6.0]})]
    assert PROTOCOL.outcome(exams, TASK).final_rank == 6.0


@pytest.mark.parametrize("step", [1, 9, 11, 20])
def test_an_exam_off_the_grid_is_an_error(step: int) -> None:
    """The message says which step was due."""
    with pytest.raises(ProtocolError, match=rf"belongs at step 10, got an exam at {step}"):
        PROTOCOL.advance(Outcome(), Exam(step, 0, 0, RANKS), TASK)


def test_a_skipped_exam_is_an_error() -> None:
    """A record with a missing exam has no outcome."""
    with pytest.raises(ProtocolError, match="exam after step 10 belongs at step 20, got an exam at 30"):
        PROTOCOL.outcome([Exam(10, 0, 0, RANKS), Exam(30, 0, 0, RANKS)], TASK)


@pytest.mark.parametrize("held_out", [[None, 0], [481] * 6, [ALMOST] * 200])
def test_no_exam_after_the_end(held_out: list[int | None]) -> None:
    """A run that diverged, generalized or was censored takes no more exams."""
    with pytest.raises(ProtocolError, match=r"the run had ended \((diverged|generalized|censored)\)"):
        _outcome(held_out)


@pytest.mark.parametrize(("train", "held_out"), [(481, 0), (0, 482), (-1, 0)])
def test_impossible_counts_are_an_error(train: int, held_out: int) -> None:
    """The message gives the numbers of questions."""
    with pytest.raises(ProtocolError, match="480 training and 481 held-out questions"):
        PROTOCOL.advance(Outcome(), Exam(10, train, held_out, RANKS), TASK)


def test_a_followed_run_never_generalizes() -> None:
    """`-to500` follows a run to step 500 even if every answer is right."""
    task = parse_id("add_mod31-0.5-to500")
    outcome = _outcome([481] * 50, task)
    assert (outcome.end, outcome.step, outcome.first_crossing) == ("censored", 500, None)
    assert _outcome([481] * 49, task).end is None


def test_the_outcome_of_no_exams() -> None:
    """A run before its first exam has the empty outcome."""
    assert _outcome([]) == Outcome()
