"""Checks of single runs: one bad run refuses the entry by its name, and the other runs stay sound."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.run_checks import IMPLAUSIBLE_SPEEDUP, _speed_findings, _within_bounds
from grokbench.results import scoring
from grokbench.tasks import parse_id
from tests.support.entries import (
    JsonRuns,
    change_runs,
    change_text,
    errors_of,
    good_runs,
    make_run,
    restate_hash,
    write_good_entry,
)

Change = Callable[[JsonRuns], Any]


def in_run(*path: str, **values: Any) -> Change:
    """Set keys of the fourth run, in the table that the path leads to."""

    def change(runs: JsonRuns) -> None:
        table = runs[3]
        for key in path:
            table = table[key]
        table.update(values)

    return change


@pytest.mark.parametrize("name", ["<b>x</b>", "../x", "a\0b", ""])
def test_a_name_that_no_recipe_can_have_is_a_finding(entry: Path, name: str) -> None:
    """It is read as data, and nothing is raised."""
    change_runs(entry, in_run("agent", name=name))
    assert re.search("name can't be shown|line 4: ", errors_of(check_entry(entry)))


def in_last_exam(**values: Any) -> Change:
    """Set keys of the fourth run's last exam."""
    return lambda runs: runs[3]["exams"][-1].update(values)


def in_last_ranks(**values: Any) -> Change:
    """Set measures of rank in the fourth run's last exam."""
    return lambda runs: runs[3]["exams"][-1]["ranks"].update(values)


def without_measure(name: str) -> Change:
    """Take a measure of rank out of the fourth run's last exam."""
    return lambda runs: runs[3]["exams"][-1]["ranks"].pop(name)


def copy_exams(runs: JsonRuns) -> None:
    """Give the fourth run the exams of the fifth."""
    for key in ("exams", "outcome", "cost"):
        runs[3][key] = runs[4][key]


def examine_sparsely(runs: JsonRuns) -> None:
    """Make a run anew, with few exams."""
    run = runs[3]
    task = parse_id(run["task"], exam_grid="sparse")
    sparse = make_run(task, seed=run["seed"], steps_to_generalize=600, recipe=find_recipe("transformer"))
    run.update(sparse.model_dump(by_alias=True))


def copy_to_another_task(runs: JsonRuns) -> None:
    """Give the first run of the second task slightly changed exams of the first task."""
    for key in ("exams", "outcome", "cost"):
        runs[10][key] = json.loads(json.dumps(runs[0][key]))
    for exam in runs[10]["exams"]:
        if "ranks" in exam:
            exam["ranks"]["effective_rank"] = [rank + 1e-9 for rank in exam["ranks"]["effective_rank"]]


def nested(levels: int) -> dict[str, Any]:
    """Tables in tables."""
    return {"a": nested(levels - 1)} if levels else {}


def control(runs: JsonRuns) -> dict[str, Any]:
    """The last run on the random table."""
    return [run for run in runs if run["task"].startswith("random")][-1]


def know_the_control(runs: JsonRuns) -> None:
    """Let a run on the control answer a hundred held-out questions of the random table."""
    control(runs)["exams"][-1]["held_out"] = 100


BAD_RUNS: list[tuple[Change, str]] = [
    (in_last_exam(step=123_456), r"add_mod47-0.35-v1 seed 3: its exams don't follow the protocol"),
    (in_last_exam(step=-1), r"line 4: exams.*greater than or equal to 0"),
    (in_last_exam(train=10**9), "its exams don't follow the protocol"),
    (in_last_exam(held_out=0), "its outcome doesn't follow from its exams"),
    (in_last_exam(extra=1), "line 4: exams.*Extra inputs"),
    (in_last_ranks(srank=[1e308]), r"a rank out of bounds for 2209 questions and layers of widths \[128\]"),
    (in_last_ranks(srank=[-1.0]), "a rank out of bounds"),
    (in_last_ranks(srank=[1.0, 2.0]), "don't all have every measure"),
    (without_measure("srank"), "don't all have every measure"),
    (without_measure("effective_rank"), "don't follow the protocol"),
    (in_run("agent", feature_dims=[64]), r"states layers of widths \[64\], its network has \[128\]"),
    (in_run("agent", feature_dims=[0]), "line 4: agent.feature_dims"),
    (lambda runs: runs[3]["exams"].clear(), "its outcome doesn't follow"),
    (lambda runs: runs[3]["exams"].pop(), "its outcome doesn't follow"),
    (lambda runs: runs[3]["exams"].append(runs[3]["exams"][-1]), "don't follow the protocol"),
    (in_run("outcome", steps_to_generalize=10), "its outcome doesn't follow"),
    (in_run("cost", steps=1), "its cost doesn't fit"),
    (in_run("cost", seconds=-1.0), "line 4: cost.seconds"),
    (in_run("cost", seconds=1e300), "line 4: cost.seconds"),
    (in_run("cost", flops=10**30), "line 4: cost.flops"),
    (in_run(exams=[{}] * 100_000), "line 4: exams.0.step: Field required"),
    (
        lambda runs: runs[3].update(exams=runs[3]["exams"][:1] * 10_001),
        "line 4: exams: List should have at most 10000 items|has .* bytes",
    ),
    (in_run("agent", "hyperparameters", deep=nested(50)), "line 4: is nested too deeply"),
    (in_run(**{"\x1b[31m\n::error::": 1}), r"line 4:  \[31m ::error::: Extra inputs"),
    (in_run("agent", "hyperparameters", "training", learning_rate=0.1), "made by another recipe"),
    (in_run("agent", target="baselines.agents:mlp"), "made by another recipe"),
    (in_run("agent", target="baselines_of_mine:transformer"), "made by another recipe"),
    (in_run("agent", hash="\n\n# Title\n"), "hash isn't that of the recipe"),
    (in_run("agent", name="<b>x"), "name can't be shown"),
    (in_run(fingerprint="0" * 64), "its fingerprint isn't that of the instance"),
    (in_run(salt="mine"), "ran on a salted instance"),
    (in_run(budget=6_000), "has a budget of 6,000 steps"),
    (in_run(exam_grid="sparse"), "the exam after step 0 belongs at step 10, got an exam at 5"),
    (examine_sparsely, "has sparse exams"),
    (in_run(incomplete="stopped"), "is incomplete"),
    (in_run(cohort=[9]), "its cohort lacks its own seed"),
    (in_run(cohort=[3, 3]), "has a seed twice"),
    (in_run(cohort=list(range(1_001))), "line 4: cohort.*at most 1000"),
    (in_run(protocol=1), "line 4: protocol"),
    (in_run(task="add_mod48-0.7-v1"), "line 4: task"),
    (in_run(task="add_mod4093-0.9-v1"), "doesn't belong to the suite"),
    (in_run(seed=10), "seed 3: is missing"),
    (lambda runs: runs.pop(3), "add_mod47-0.35-v1 seed 3: is missing"),
    (lambda runs: runs.insert(3, runs[3]), "is there 2 times"),
    (lambda runs: runs.reverse(), "isn't sorted"),
    (copy_exams, "has the same exams as add_mod47-0.35-v1 seed 3"),
    (copy_to_another_task, "div_mod43-0.55-v1 seed 0: has the same exams as add_mod47-0.35-v1 seed 0"),
    (know_the_control, "answers held-out questions of the random control better than chance"),
]


@pytest.mark.parametrize(("change", "problem"), BAD_RUNS)
def test_a_bad_run_is_named_and_the_others_stay_sound(entry: Path, change: Change, problem: str) -> None:
    """The finding has the run, or its line, and the problem."""
    change_runs(entry, change)
    checked = check_entry(entry)
    assert re.search(problem, errors_of(checked)), errors_of(checked)
    assert len(checked.sound_runs) >= 30


def test_a_large_loss_is_no_finding(entry: Path) -> None:
    """Losses are finite numbers of any size."""
    change_runs(entry, in_last_exam(loss=1e308))
    assert check_entry(entry).findings == ()


@pytest.mark.parametrize(
    ("widths", "problem"),
    [
        (None, "doesn't state the widths"),
        ([8], r"a rank out of bounds for 2209 questions and layers of widths \[8\]"),
        ([128, 128], r"ranks of other layers .* of widths \[128, 128\]"),
        ([128], "^$"),
    ],
)
def test_an_own_network_states_its_widths(entry: Path, widths: list[int] | None, problem: str) -> None:
    """The stated widths bound its ranks."""

    def own_network(runs: JsonRuns) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["network"].pop("width")
            restate_hash(run)
            run["agent"].pop("feature_dims")
            if widths is not None:
                run["agent"]["feature_dims"] = widths

    change_runs(entry, own_network)
    change_text(entry / "recipe.toml", "width = 128\n", "")
    change_text(entry / "entry.toml", '"closed"', '"open"')
    assert re.search(problem, errors_of(check_entry(entry)))


def test_an_implausible_speed_is_a_note(tmp_path: Path) -> None:
    """Ten times faster than the reference ever was: the entry is accepted, with a note."""
    checked = check_entry(write_good_entry(tmp_path / "fast", good_runs(around=20)))
    assert not checked.refused
    assert any("more than 10 times faster" in finding.problem for finding in checked.findings)


def test_generalizing_without_memorizing_is_a_note(entry: Path) -> None:
    """A run that never answers all training questions is accepted, with a note."""

    def forget(runs: JsonRuns) -> None:
        for exam in runs[3]["exams"]:
            exam["train"] = 0
        runs[3]["outcome"]["steps_to_memorize"] = None

    change_runs(entry, forget)
    checked = check_entry(entry)
    assert not checked.refused
    assert [finding.problem for finding in checked.findings] == ["generalizes without having memorized"]


def test_a_diverged_control_is_a_note(entry: Path) -> None:
    """It shows nothing about leaks, which a reviewer should know."""

    def diverge(runs: JsonRuns) -> None:
        run = control(runs)
        del run["exams"][2:]
        run["exams"][-1]["diverged"] = True
        run["exams"][-1].pop("ranks", None)
        run["cost"]["steps"] = run["exams"][-1]["step"]
        run["outcome"] |= {"end": "diverged", "final_rank": None}
        run["outcome"] |= {"steps_to_memorize": None, "first_crossing": None}

    change_runs(entry, diverge)
    checked = check_entry(entry)
    assert errors_of(checked) == ""
    assert [finding.problem for finding in checked.findings] == ["diverged on the random control, so the control shows nothing"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_fuzzed_run_never_raises(entry: Path, template: Path, data: st.DataObject) -> None:
    """One value of a run, replaced by anything that JSON can hold, leads to findings and no traceback."""
    lines = (template / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    run = json.loads(lines[3])
    node: Any = run
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
        )
    )
    dumped = json.dumps(run, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    (entry / "runs.jsonl").write_bytes(b"\n".join([dumped, *(line.encode() for line in lines[4:6])]) + b"\n")
    assert check_entry(entry).refused


def test_a_rank_is_bounded_by_width_and_by_questions() -> None:
    """Centered features of n questions have at most n - 1 dimensions, and the bounds belong to what is allowed."""

    def within(rank: float, width: int) -> bool:
        return _within_bounds([{"srank": [rank]}], [width], 50)

    assert [within(rank, 8) for rank in (0.0, 8.0, 8.001, -0.001)] == [True, True, False, False]
    assert [within(rank, 1_000) for rank in (49.0, 49.001)] == [True, False]


@pytest.mark.parametrize(("offset", "notes"), [(-1, 1), (1, 0)])
def test_only_more_than_ten_times_the_reference_is_noted(offset: int, notes: int) -> None:
    """Ten times its fastest run on that task; a run that never generalizes isn't fast."""
    run = good_runs()[0]
    fastest = min(steps for steps in scoring.reference().tasks[run.task].values() if steps is not None)
    steps = (fastest + 10 * offset) // IMPLAUSIBLE_SPEEDUP
    fast, never = (
        run.model_copy(update={"outcome": run.outcome.model_copy(update={"steps_to_generalize": t})}) for t in (steps, None)
    )
    assert len(list(_speed_findings(fast))) == notes
    assert list(_speed_findings(never)) == []
