"""The protocol: the exam grid, and outcomes against a brute-force reading of DESIGN's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.tasks import Task, parse_id

TASK = parse_id("add_mod31-0.5", budget=1000)  # 480 seen, 481 held-out cells: 477 right answers pass
RIGHT, ALMOST = 477, 476
RANKS = {"effective_rank": [3.0, 2.5]}


def _grid(budget: int, until: int) -> list[int]:
    """The exam grid in DESIGN's words, going on beyond the budget."""
    steps = [min(10, budget)]
    while steps[-1] < until:
        last = steps[-1]
        following = last + max(10, -(-2 * last // 100))
        steps.append(budget if last < budget < following else following)
    return steps


def _exams(held_out: Sequence[int | None], budget: int, seen: int = 0) -> list[Exam]:
    """Exams with these right answers; None stands for divergence."""
    steps = _grid(budget, 2 * budget + 1000)
    return [
        Exam(step, seen, right or 0, None if right is None else RANKS) for step, right in zip(steps, held_out, strict=False)
    ]


@dataclass(frozen=True)
class _Read:
    """What the brute force reads: the index of the last exam of the run, and its outcome."""

    last: int
    end: str
    steps_to_generalize: int | None
    first_crossing: int | None


def _brute_force(exams: list[Exam], task: Task) -> _Read:
    """DESIGN's words, over the whole sequence at once."""
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
    return _Read(last, end, generalized if end == "generalized" else None, crossing)


@pytest.mark.parametrize("budget", [10, 11, 15, 500, 505, 1000, 10_000, 40_000, 100_000])
def test_grid_equals_the_words(budget: int) -> None:
    """First at 10, then gaps of max(10, ⌈2 % of the step⌉), and one exactly at the budget."""
    assert list(PROTOCOL.grid(budget)) == _grid(budget, budget)


def test_the_first_exams_of_a_long_run() -> None:
    """Every ten steps up to 500, from where 2 % is more than ten."""
    grid = list(PROTOCOL.grid(100_000))
    assert grid[:52] == [*range(10, 501, 10), 510, 521]


@given(st.integers(1, 300_000))
@example(1)
@example(9)
@example(10)
def test_grid_properties(budget: int) -> None:
    """Strictly rising, the last exam exactly at the budget, and no gap larger or smaller than it should be but the last."""
    grid = list(PROTOCOL.grid(budget))
    assert grid[0] == min(10, budget)
    assert grid[-1] == budget
    gaps = [(a, b - a, max(10, ceil(Fraction(2, 100) * a))) for a, b in pairwise(grid)]
    assert all(gap == due for _, gap, due in gaps[:-1])
    assert all(0 < gap <= due for _, gap, due in gaps[-1:])


@given(st.integers(1, 5000), st.integers(5001, 300_000))
def test_the_grid_is_the_same_under_any_budget(small: int, large: int) -> None:
    """A budget adds its own exam and moves none of those before it."""
    assert list(PROTOCOL.grid(small))[:-1] == [step for step in PROTOCOL.grid(large) if step < small]


LEVELS: st.SearchStrategy[int | None] = st.sampled_from([0, ALMOST, RIGHT, RIGHT, 481])
STRETCHES = st.lists(st.tuples(LEVELS, st.integers(1, 14)), max_size=14)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[int, list[int | None]]:
    """A budget, and right answers for more exams than any run under it can have, with a divergence now and then."""
    budget = draw(st.integers(1, 900))
    held_out: list[int | None] = [right for right, times in draw(STRETCHES) for _ in range(times)]
    tail = draw(st.sampled_from([0, 481]))
    held_out += [tail] * (200 - len(held_out))
    if draw(st.booleans()):
        held_out[draw(st.integers(0, 100))] = None
    return budget, held_out


@given(_histories())
def test_outcome_equals_the_brute_force(history: tuple[int, list[int | None]]) -> None:
    """The fold over exams ends where the whole sequence says, with the same T, and not an exam sooner."""
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
    with pytest.raises(ValueError, match="the run had ended"):
        PROTOCOL.outcome(exams[: expected.last + 2], task)


@given(_histories())
def test_nothing_runs_beyond_a_quarter_over_the_budget(history: tuple[int, list[int | None]]) -> None:
    """A run's last exam is at the first one at or after 1.25 budgets at the latest, or the fifth from a candidate."""
    budget, held_out = history
    task = parse_id("add_mod31-0.5", budget=budget)
    exams = _exams(held_out, budget)
    last = exams[_brute_force(exams, task).last].step
    at = [exam.step for exam in exams].index(budget)
    latest = max(next(i for i, exam in enumerate(exams) if exam.step >= 1.25 * budget), at + 4)
    assert last <= exams[latest].step


def _outcome(held_out: Sequence[int | None], task: Task = TASK) -> Outcome:
    return PROTOCOL.outcome(_exams(held_out, task.budget), task)


def test_crossing_at_the_first_exam() -> None:
    """T = 10 is confirmed by the fifth exam, at 50, though 1.25·T comes sooner."""
    assert _outcome([481] * 4).end is None
    outcome = _outcome([481] * 5)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step) == ("generalized", 10, 50)


def test_a_late_crossing_is_followed_for_a_quarter() -> None:
    """T = 400 is confirmed at 500, exactly 1.25·T, which is ten exams later."""
    outcome = _outcome([0] * 39 + [RIGHT] * 11)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step) == ("generalized", 400, 500)
    assert _outcome([0] * 39 + [RIGHT] * 10).end is None


def test_a_spike_is_a_crossing_and_no_generalization() -> None:
    """After a relapse T starts anew; the first crossing stays on record."""
    outcome = _outcome([0, 0, RIGHT, RIGHT, ALMOST, *[RIGHT] * 5])
    assert (outcome.first_crossing, outcome.steps_to_generalize, outcome.step) == (30, 60, 100)


def test_four_exams_and_a_relapse_are_not_enough() -> None:
    """The fifth exam is one that counts."""
    assert _outcome([*[RIGHT] * 4, ALMOST, *[RIGHT] * 5]).steps_to_generalize == 60


def test_crossing_at_the_budget_is_followed_beyond_it() -> None:
    """A candidate at the last exam of the budget gets its confirmation, and T is the budget."""
    steps = list(PROTOCOL.grid(TASK.budget))
    waiting = [0] * (len(steps) - 1)
    assert _outcome([*waiting, RIGHT]).end is None
    exams = _exams([*waiting, *[RIGHT] * 100], TASK.budget)
    last = next(i for i, exam in enumerate(exams) if exam.step >= 1250)
    outcome = PROTOCOL.outcome(exams[: last + 1], TASK)
    assert (outcome.end, outcome.steps_to_generalize) == ("generalized", 1000)
    relapsed = _outcome([*waiting, RIGHT, ALMOST])
    assert (relapsed.end, relapsed.steps_to_generalize, relapsed.first_crossing) == ("censored", None, 1000)


def test_never() -> None:
    """One answer short at every exam: censored at the budget."""
    outcome = _outcome([ALMOST] * len(list(PROTOCOL.grid(TASK.budget))))
    assert (outcome.end, outcome.step, outcome.first_crossing, outcome.censored) == ("censored", 1000, None, True)


def test_divergence_at_once() -> None:
    """Features that aren't finite end the run."""
    outcome = _outcome([None])
    assert (outcome.end, outcome.step, outcome.final_rank, outcome.censored) == ("diverged", 10, None, True)


def test_divergence_while_a_candidate_stands() -> None:
    """An unconfirmed candidate is lost with the run; the first crossing is not."""
    outcome = _outcome([0, *[RIGHT] * 4, None])
    assert (outcome.end, outcome.steps_to_generalize, outcome.candidate) == ("diverged", None, None)
    assert outcome.first_crossing == 20


def test_divergence_beyond_the_budget() -> None:
    """A candidate followed beyond the budget may still diverge."""
    steps = list(PROTOCOL.grid(TASK.budget))
    outcome = _outcome([*[0] * (len(steps) - 1), RIGHT, None])
    assert (outcome.end, outcome.steps_to_generalize) == ("diverged", None)
    assert outcome.step > TASK.budget


@pytest.mark.parametrize(("seen", "memorized"), [(475, None), (476, 10)])
def test_steps_to_memorize(seen: int, memorized: int | None) -> None:
    """The first exam with 99 % of the 480 training cells right, which is 476 of them."""
    assert PROTOCOL.outcome(_exams([0, 0], 1000, seen), TASK).steps_to_memorize == memorized


def test_memorizing_is_recorded_once() -> None:
    """Forgetting afterwards doesn't move it."""
    exams = [Exam(step, seen, 0, RANKS) for step, seen in ((10, 0), (20, 480), (30, 0), (40, 480))]
    assert PROTOCOL.outcome(exams, TASK).steps_to_memorize == 20


def test_the_final_rank_is_the_last_layers_at_the_last_exam() -> None:
    """Neither an earlier exam's nor an earlier layer's."""
    exams = [Exam(10, 0, 0, {"effective_rank": [9.0, 8.0]}), Exam(20, 0, 0, {"effective_rank": [7.0, 6.0]})]
    assert PROTOCOL.outcome(exams, TASK).final_rank == 6.0


@pytest.mark.parametrize("step", [1, 9, 11, 20])
def test_an_exam_off_the_grid_is_an_error(step: int) -> None:
    """The message says which step was due."""
    with pytest.raises(ValueError, match=rf"belongs at step 10, got one at {step}"):
        PROTOCOL.advance(Outcome(), Exam(step, 0, 0, RANKS), TASK)


def test_a_skipped_exam_is_an_error() -> None:
    """An outcome can't be read off a record with holes."""
    with pytest.raises(ValueError, match="exam after step 10 belongs at step 20, got one at 30"):
        PROTOCOL.outcome([Exam(10, 0, 0, RANKS), Exam(30, 0, 0, RANKS)], TASK)


@pytest.mark.parametrize("held_out", [[None, 0], [481] * 6, [ALMOST] * 200])
def test_no_exam_after_the_end(held_out: list[int | None]) -> None:
    """Diverged, generalized or censored: the run is over."""
    with pytest.raises(ValueError, match=r"the run had ended \((diverged|generalized|censored)\)"):
        _outcome(held_out)


def test_the_outcome_of_no_exams() -> None:
    """A run that hasn't begun has no outcome and no end."""
    assert _outcome([]) == Outcome()
