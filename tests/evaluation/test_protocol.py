"""The protocol: the exam grid, and outcomes against a brute-force reading of docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from statistics import median

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grokbench.errors import ProtocolError
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome, protocol_of, rank_at
from grokbench.tasks import Task, parse_id

TASK = parse_id("add_mod31-0.5", budget=1000)  # 480 training and 481 held-out questions; 477 right answers reach the threshold
RIGHT, ALMOST = 477, 476
RANKS = {"effective_rank": [3.0, 2.5]}
DIVERGED = -1  # in place of right answers


def _grid(horizon: int) -> list[int]:
    """The exam grid as docs/protocol.md has it."""
    steps = [min(5, horizon)]
    while steps[-1] < horizon:
        steps.append(min(steps[-1] + max(5, ceil(Fraction(2 * steps[-1], 100))), horizon))
    return steps


def _exams(held_out: Sequence[int], task: Task = TASK, train: int = 0) -> list[Exam]:
    """Exams on the grid with these right answers, as far as both go."""
    return [
        Exam(
            step,
            train,
            max(right, 0),
            RANKS if number % 2 == 0 and right != DIVERGED else None,
            diverged=right == DIVERGED,
        )
        for number, (step, right) in enumerate(zip(_grid(PROTOCOL.horizon(task)), held_out, strict=False))
    ]


def _outcome(held_out: Sequence[int], task: Task = TASK) -> Outcome:
    return PROTOCOL.outcome(_exams(held_out, task), task)


def _until(step: int, right: int, task: Task = TASK) -> list[int]:
    """As many equal numbers of right answers as there are exams before `step`."""
    return [right] * sum(exam < step for exam in _grid(PROTOCOL.horizon(task)))


@dataclass(frozen=True)
class _Expected:
    """The outcome by brute force; `last` is the number of the run's last exam."""

    last: int
    end: str
    steps_to_generalize: int | None
    first_crossing: int | None


def _window_passes(passes: Sequence[bool]) -> bool:
    return Fraction(sum(passes), len(passes)) >= Fraction(9, 10) and all(passes[-5:])


def _brute_force(exams: list[Exam], task: Task) -> _Expected:
    """The words of docs/protocol.md, over the whole sequence at once. The exams go to the horizon."""
    steps = [exam.step for exam in exams]
    passes = [not exam.diverged and Fraction(exam.held_out, task.num_held_out) >= Fraction(99, 100) for exam in exams]
    windows = [
        next((j for j in range(i, len(steps)) if steps[j] >= max(3 * step, step + 1000)), len(steps) - 1)
        for i, step in enumerate(steps)
    ]
    candidates = [i for i, step in enumerate(steps) if step <= task.budget and passes[i]]
    good = next((i for i in candidates if _window_passes(passes[i : windows[i] + 1])), None)
    generalized = len(steps) if good is None else windows[good]
    diverged = next((i for i, exam in enumerate(exams) if exam.diverged), len(steps))
    # After the last exam within the budget, a run ends as soon as nothing that could follow makes an exam T.
    over = [j for j in range(len(steps)) if j + 1 == len(steps) or steps[j + 1] > task.budget]
    censored = next(
        j
        for j in [*over, len(steps)]
        if (
            not any(
                windows[i] > j and _window_passes([*passes[i : j + 1], *[True] * (windows[i] - j)])
                for i in candidates
                if i <= j
            )
            and generalized > j
        )
        or j == len(steps)
    )
    last = min(generalized, diverged, censored)
    end = "diverged" if last == diverged else "generalized" if last == generalized else "censored"
    crossing = next((step for step, passed in zip(steps[: last + 1], passes, strict=False) if passed), None)
    return _Expected(last, end, steps[good] if end == "generalized" and good is not None else None, crossing)


@pytest.mark.parametrize("horizon", [1, 5, 6, 10, 500, 505, 1000, 10_000, 40_000, 200_000])
def test_grid_is_that_of_the_documentation(horizon: int) -> None:
    """The first exam at 5, then gaps of max(5, ⌈2 % of the step⌉), and an exam exactly at the horizon."""
    assert list(PROTOCOL.grid(horizon).steps) == _grid(horizon)


def test_the_first_exams_of_a_long_run() -> None:
    """Every five steps up to 250; from there on 2 % is more than five."""
    assert PROTOCOL.grid(100_000).steps[:52] == (*range(5, 251, 5), 255, 261)


@given(st.integers(1, 300_000))
@example(1)
@example(4)
@example(5)
def test_grid_properties(horizon: int) -> None:
    """Strictly rising up to the horizon; every gap is as prescribed, and the last gap at most that."""
    steps = PROTOCOL.grid(horizon).steps
    assert (steps[0], steps[-1]) == (min(5, horizon), horizon)
    gaps = [(b - a, max(5, ceil(Fraction(2, 100) * a))) for a, b in pairwise(steps)]
    assert all(gap == due for gap, due in gaps[:-1])
    assert all(0 < gap <= due for gap, due in gaps[-1:])


@given(st.integers(1, 5000), st.integers(5001, 300_000))
def test_no_exam_before_the_horizon_depends_on_it(small: int, large: int) -> None:
    """Two runs with different budgets have the same exams until the shorter one ends."""
    steps = PROTOCOL.grid(small).steps[:-1]
    assert steps == PROTOCOL.grid(large).steps[: len(steps)]


@given(st.integers(1, 30_000))
def test_windows_end_where_the_documentation_says(horizon: int) -> None:
    """At the first exam from 3·t on that is at least 1,000 steps after t, or at the horizon."""
    grid = PROTOCOL.grid(horizon)
    for step, end in zip(grid.steps, grid.window_ends, strict=True):
        reach = max(3 * step, step + 1000)
        assert grid.steps[end] >= reach or end == len(grid.steps) - 1
        assert grid.steps[end - 1] < reach or grid.steps[end] == step


RIGHT_ANSWERS = st.sampled_from([0, ALMOST, RIGHT, RIGHT, 481])
STRETCHES = st.lists(st.tuples(RIGHT_ANSWERS, st.integers(1, 60)), max_size=14)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A budget, and right answers to the horizon: stretches, spikes, oscillation, sometimes a divergence."""
    budget = draw(st.integers(1, 2_500))
    length = len(_grid(2 * budget))
    held_out = [right for right, times in draw(STRETCHES) for _ in range(times)]
    held_out += [draw(st.sampled_from([0, 481]))] * length
    period = draw(st.sampled_from([0, 0, 5, 9, 10, 11, 12, 20, 33]))
    if period:
        held_out[::period] = [draw(st.sampled_from([ALMOST, RIGHT]))] * len(held_out[::period])
    if draw(st.integers(0, 3)) == 0:
        held_out[draw(st.integers(0, length - 1))] = DIVERGED
    return budget, held_out[:length]


@given(_histories())
def test_outcome_equals_the_brute_force(history: tuple[int, list[int]]) -> None:
    """Exam by exam, the run ends at the same exam and with the same T as over the whole sequence."""
    budget, held_out = history
    task = parse_id("add_mod31-0.5", budget=budget)
    exams = _exams(held_out, task)
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
    if expected.last + 1 < len(exams):
        with pytest.raises(ProtocolError, match="the run had ended"):
            PROTOCOL.outcome(exams[: expected.last + 2], task)


@given(_histories())
def test_every_exam_is_judged_by_its_own_window(history: tuple[int, list[int]]) -> None:
    """The window of T passes, with the share that the outcome states; no earlier exam's window does."""
    budget, held_out = history
    task = parse_id("add_mod31-0.5", budget=budget)
    exams = _exams(held_out, task)
    outcome = PROTOCOL.outcome(exams[: _brute_force(exams, task).last + 1], task)
    if outcome.steps_to_generalize is None:
        return
    steps = [exam.step for exam in exams]
    first, last = steps.index(outcome.steps_to_generalize), steps.index(outcome.step)
    passes = [exam.held_out >= RIGHT for exam in exams]
    assert outcome.passing_share == pytest.approx(sum(passes[first : last + 1]) / (last - first + 1))
    assert _window_passes(passes[first : last + 1])


def test_a_run_that_passes_from_the_first_exam_on() -> None:
    """T = 5 is confirmed at the first exam from 1,005 on."""
    outcome = _outcome([481] * 117)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step, outcome.passing_share) == ("generalized", 5, 1009, 1.0)
    assert _outcome([481] * 116).end is None


def test_a_late_crossing_is_followed_to_three_times_its_step() -> None:
    """Beyond step 500 the window reaches to 3·T."""
    task = parse_id("add_mod31-0.5", budget=5_000)
    steps = _grid(10_000)
    first = next(step for step in steps if step >= 1_200)
    last = next(number for number, step in enumerate(steps) if step >= 3 * first)
    held_out = [*_until(1_200, 0, task), *[RIGHT] * 200][: last + 1]
    assert _outcome(held_out, task).steps_to_generalize == first
    assert _outcome(held_out[:-1], task).end is None


@pytest.mark.parametrize("failures", [1, 5, 10])
def test_short_spikes_are_forgiven(failures: int) -> None:
    """Up to a tenth of the window's 103 exams from step 100 on may fail, where the last five pass."""
    spiky = [*_until(100, 0), RIGHT, *[ALMOST, RIGHT] * failures, *[RIGHT] * 300]
    outcome = PROTOCOL.outcome(_exams(spiky)[: _brute_force(_exams(spiky), TASK).last + 1], TASK)
    assert outcome.steps_to_generalize == 100
    assert outcome.passing_share == pytest.approx(1 - failures / 103)


def test_more_than_a_tenth_of_failures_move_t() -> None:
    """The eleventh failure among 103 exams is one too many for the first crossing."""
    spiky = [*_until(100, 0), RIGHT, *[ALMOST, RIGHT] * 11, *[RIGHT] * 300]
    outcome = PROTOCOL.outcome(_exams(spiky)[: _brute_force(_exams(spiky), TASK).last + 1], TASK)
    assert (outcome.first_crossing, outcome.steps_to_generalize) == (100, 110)


@pytest.mark.parametrize("good_steps", [55, 900])
def test_a_collapse_is_not_forgiven(good_steps: int) -> None:
    """A run that passes for 55 or for 900 steps, and then unlearns the task, has no T. Protocol 1 missed the second."""
    held_out = [*_until(100, 0), *_until(100 + good_steps, RIGHT)[len(_until(100, 0)) :], *[20] * 300]
    exams = _exams(held_out)
    last = _brute_force(exams, TASK).last
    outcome = PROTOCOL.outcome(exams[: last + 1], TASK)
    assert (outcome.end, outcome.first_crossing, outcome.steps_to_generalize) == ("censored", 100, None)
    assert outcome.passing_share is not None
    assert 0 < outcome.passing_share < 0.99


@pytest.mark.parametrize(("share", "solved"), [(0.85, False), (0.9, True), (0.95, True)])
def test_oscillation_passes_from_nine_tenths_on(share: float, solved: bool) -> None:
    """Exams that fail regularly, but for a calm end."""
    period = round(1 / (1 - share))
    held_out = [RIGHT if number % period else ALMOST for number in range(400)]
    task = parse_id("add_mod31-0.5", budget=10_000)
    exams = _exams(held_out, task)
    outcome = PROTOCOL.outcome(exams[: _brute_force(exams, task).last + 1], task)
    assert (outcome.end == "generalized") == solved


def test_crossing_just_within_the_budget() -> None:
    """The last exam within the budget can become T; its window ends at the horizon."""
    steps = _grid(2000)
    last_within = max(step for step in steps if step <= 1000)
    held_out = [*_until(last_within, 0), *[RIGHT] * 100]
    outcome = _outcome(held_out)
    assert (outcome.end, outcome.steps_to_generalize, outcome.step) == ("generalized", last_within, 2000)
    relapsed = _outcome([*_until(last_within, 0), RIGHT, *[ALMOST] * 4])
    assert (relapsed.end, relapsed.first_crossing) == ("censored", last_within)


def test_crossing_after_the_budget_is_too_late() -> None:
    """Without a candidate the run ends at the last exam within the budget, and never sees the later ones."""
    steps = _grid(2000)
    within = [step for step in steps if step <= 1000]
    outcome = _outcome([0] * len(within))
    assert (outcome.end, outcome.step, outcome.passing_share) == ("censored", within[-1], None)
    assert _outcome([0] * (len(within) - 1)).end is None


def test_a_run_beyond_the_budget_ends_as_soon_as_no_exam_can_be_t() -> None:
    """A candidate keeps the run going past the budget; the exam that rules it out is the last."""
    allowed = len([step for step in _grid(2000) if step >= 900]) // 10
    held_out = [*_until(900, 0), *[RIGHT] * 12]
    assert _outcome([*held_out, *[ALMOST] * allowed]).end is None
    ended = _outcome([*held_out, *[ALMOST] * (allowed + 1)])
    assert ended.end == "censored"
    assert ended.step > 1000


def test_divergence_at_the_first_exam() -> None:
    """Non-finite features end the run."""
    outcome = _outcome([DIVERGED])
    assert (outcome.end, outcome.step, outcome.final_rank, outcome.censored) == ("diverged", 5, None, True)


def test_divergence_in_a_window() -> None:
    """Divergence leaves no T and keeps the first crossing."""
    outcome = _outcome([0, *[RIGHT] * 40, DIVERGED])
    assert (outcome.end, outcome.steps_to_generalize, outcome.first_crossing) == ("diverged", None, 10)


@pytest.mark.parametrize(("train", "memorized"), [(475, None), (476, 5)])
def test_steps_to_memorize(train: int, memorized: int | None) -> None:
    """The first exam with 99 % of the 480 training questions right, which is 476."""
    assert PROTOCOL.outcome(_exams([0, 0], TASK, train), TASK).steps_to_memorize == memorized


def test_memorizing_is_recorded_once() -> None:
    """Forgetting afterwards doesn't move steps-to-memorize."""
    exams = [
        Exam(5 * (number + 1), train, 0, RANKS if number % 2 == 0 else None) for number, train in enumerate((0, 480, 0, 480))
    ]
    assert PROTOCOL.outcome(exams, TASK).steps_to_memorize == 10


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40))
def test_the_final_rank_is_the_median_of_the_last_five(ranks: list[float]) -> None:
    """Of the last layer, at the exams that measure ranks: the first, the third, the fifth and so on."""
    exams = [
        Exam(step, 0, 0, {"effective_rank": [-1.0, ranks[number // 2]]} if number % 2 == 0 else None)
        for number, step in enumerate(_grid(2000)[: 2 * len(ranks) - 1])
    ]
    assert PROTOCOL.outcome(exams, TASK).final_rank == median(ranks[-5:])


def test_the_rank_at_generalization_is_that_of_the_next_measured_exam() -> None:
    """T can fall on an exam without ranks."""
    exams = [Exam(5 * (i + 1), 0, 0, {"effective_rank": [float(i)]} if i % 2 == 0 else None) for i in range(5)]
    assert [rank_at(exams, step) for step in (5, 10, 15, 25, 30, None)] == [0.0, 2.0, 2.0, 4.0, None, None]


@pytest.mark.parametrize("step", [1, 4, 6, 10])
def test_an_exam_off_the_grid_is_an_error(step: int) -> None:
    """The message says which step was due."""
    with pytest.raises(ProtocolError, match=rf"belongs at step 5, got an exam at {step}"):
        PROTOCOL.advance(Outcome(), Exam(step, 0, 0, RANKS), TASK)


def test_a_skipped_exam_is_an_error() -> None:
    """A record with a missing exam has no outcome."""
    with pytest.raises(ProtocolError, match="exam after step 5 belongs at step 10, got an exam at 15"):
        PROTOCOL.outcome([Exam(5, 0, 0, RANKS), Exam(15, 0, 0, None)], TASK)


def test_ranks_are_where_they_belong() -> None:
    """Every second exam has ranks, beginning with the first."""
    with pytest.raises(ProtocolError, match="the exam has no ranks, and exam number 1 must have them"):
        PROTOCOL.advance(Outcome(), Exam(5, 0, 0, None), TASK)
    with pytest.raises(ProtocolError, match="the exam has ranks, and exam number 2 must not have them"):
        PROTOCOL.outcome([Exam(5, 0, 0, RANKS), Exam(10, 0, 0, RANKS)], TASK)


def test_sparse_exams_are_on_a_coarser_grid_and_have_no_ranks() -> None:
    """Gaps of 10 steps, from step 100 on of a tenth. Nothing else of the protocol differs."""
    sparse = replace(TASK, exam_grid="sparse")
    assert protocol_of(TASK) is PROTOCOL
    steps = protocol_of(sparse).grid(200).steps
    assert steps == (*range(10, 110, 10), 110, 121, 134, 148, 163, 180, 198, 200)
    with pytest.raises(ProtocolError, match="must not have them"):
        protocol_of(sparse).advance(Outcome(), Exam(10, 0, 0, RANKS), sparse)
    full = replace(protocol_of(sparse), smallest_gap=5, gap_growth=PROTOCOL.gap_growth, exams_per_rank=2)
    assert asdict(full) == asdict(PROTOCOL)


@pytest.mark.parametrize("held_out", [[DIVERGED, 0], [481] * 118, [ALMOST] * 300])
def test_no_exam_after_the_end(held_out: list[int]) -> None:
    """A run that diverged, generalized or was censored takes no more exams."""
    with pytest.raises(ProtocolError, match=r"the run had ended \((diverged|generalized|censored)\)"):
        _outcome(held_out)


@pytest.mark.parametrize(("train", "held_out"), [(481, 0), (0, 482), (-1, 0)])
def test_impossible_counts_are_an_error(train: int, held_out: int) -> None:
    """The message gives the numbers of questions."""
    with pytest.raises(ProtocolError, match="480 training and 481 held-out questions"):
        PROTOCOL.advance(Outcome(), Exam(5, train, held_out, RANKS), TASK)


def test_a_followed_run_never_generalizes() -> None:
    """`-to500` follows a run to step 500, and not beyond, even if every answer is right."""
    task = parse_id("add_mod31-0.5-to500")
    exams = len(_grid(500))
    outcome = _outcome([481] * exams, task)
    assert (outcome.end, outcome.step, outcome.first_crossing) == ("censored", 500, None)
    assert _outcome([481] * (exams - 1), task).end is None


def test_the_outcome_of_no_exams() -> None:
    """A run before its first exam has the empty outcome."""
    assert _outcome([]) == Outcome()


def test_outcomes_take_time_linear_in_the_exams(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a run crosses and relapses, each exam is looked at a bounded number of times as a candidate for T."""
    task = parse_id("add_mod31-0.5", budget=100_000)
    looks = 0
    original = type(PROTOCOL)._can_be_t

    def counted(*arguments: object) -> bool:
        nonlocal looks
        looks += 1
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(PROTOCOL), "_can_be_t", counted)
    held_out = [RIGHT if number % 8 else ALMOST for number in range(len(_grid(200_000)))]
    exams = _exams(held_out, task)
    last = _brute_force(exams, task).last
    PROTOCOL.outcome(exams[: last + 1], task)
    assert looks <= 2 * (last + 1)
