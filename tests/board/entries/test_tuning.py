"""The tuning of an entry: an honest one is recomputed, and one that was tampered with is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.entry import Entry
from grokbench.board.entries.form import SettingsTried
from grokbench.board.entries.submit import pack_entry
from grokbench.board.entries.tuning import check_tuning
from grokbench.board.entries.tuning_lines import PackedTuning, RunLine, read_tuning
from grokbench.errors import EntryError
from grokbench.evaluation.protocol import protocol_of
from grokbench.runs.store import find_records
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import RULES, Rules, run_tuning
from grokbench.sweeps.tuning_folder import open_folder
from tests.support.entries import FORM, by_recipe, errors_of, good_runs, make_exams, make_tuning, write_good_entry

SMALL = Rules(
    tasks=("sub_mod13-0.6", "add_mod13-0.6"), points=8, zoomed=4, finalists=3, search_budget=1_000, final_budget=1_500
)
PUBLISHED = recipe("transformer_grokfast", name="mine")
SPACE = Space.of(PUBLISHED, own={"gradient.amplification": (0.2, 20.0)})
TUNING, PACKED = make_tuning(SPACE, SMALL)
ENTRY = Entry(
    "mine",
    FORM.model_copy(update={"tuning": SettingsTried(settings=SMALL.settings, tasks=list(SMALL.tasks))}),
    TUNING.recipe("mine"),
    "0" * 64,
    (),
    PACKED,
)


def problems(packed: PackedTuning, entry: Entry = ENTRY) -> str:
    """What is wrong with a tuning."""
    return "\n".join(str(finding) for finding in check_tuning(entry, packed, SMALL)[1])


def changed(number: int, **values: Any) -> PackedTuning:
    """The honest tuning, with another value in one of its runs."""
    runs = list(PACKED.runs)
    runs[number] = runs[number].model_copy(update=values)
    return PackedTuning(PACKED.space, tuple(runs))


def with_space(**values: Any) -> PackedTuning:
    """The honest runs under another space."""
    return PackedTuning(PACKED.space.model_copy(update=values), PACKED.runs)


def solved_run(packed: PackedTuning = PACKED) -> int:
    """The place of a run that generalizes."""
    return next(place for place, run in enumerate(packed.runs) if run.steps_to_generalize is not None)


def published_lr(rate: float) -> dict[str, Any]:
    """The published hyperparameters with another learning rate."""
    return recipe(PUBLISHED, optimizer={"lr": rate}).plain_hyperparameters


def test_an_honest_tuning_is_recomputed() -> None:
    """Points, results and choice come out the same; the file repeats to the byte."""
    tuning, findings = check_tuning(ENTRY, PACKED, SMALL)
    assert findings == []
    assert tuning is not None
    assert (tuning.points, tuning.search, tuning.final, tuning.winner) == (
        TUNING.points,
        TUNING.search,
        TUNING.final,
        TUNING.winner,
    )
    assert read_tuning(PACKED.content) == PACKED


TAMPERED: dict[str, tuple[Callable[[], PackedTuning], str]] = {
    "a run dropped": (lambda: PackedTuning(PACKED.space, PACKED.runs[1:]), "is missing"),
    "the last run dropped": (lambda: PackedTuning(PACKED.space, PACKED.runs[:-1]), "is missing"),
    "a setting added": (
        lambda: PackedTuning(PACKED.space, (*PACKED.runs, PACKED.runs[-1].model_copy(update={"setting": 99}))),
        "is one of 1 runs that no tuning makes",
    ),
    "a seed added": (
        lambda: PackedTuning(PACKED.space, (*PACKED.runs, PACKED.runs[-1].model_copy(update={"seed": 99}))),
        "that no tuning makes",
    ),
    "another T": (lambda: changed(solved_run(), steps_to_generalize=5), "states another T than its exams"),
    "no T": (lambda: changed(solved_run(), steps_to_generalize=None), "states another T than its exams"),
    "an exam fewer": (
        lambda: changed(0, train=PACKED.runs[0].train[:-1], held_out=PACKED.runs[0].held_out[:-1]),
        "isn't finished",
    ),
    "a count fewer": (lambda: changed(0, train=PACKED.runs[0].train[:-1]), "counts don't fit"),
    "exams after the end": (
        lambda: changed(0, train=PACKED.runs[0].train * 9, held_out=PACKED.runs[0].held_out * 9),
        "don't fit",
    ),
    "more right answers than questions": (
        lambda: changed(0, held_out=[10_000, *PACKED.runs[0].held_out[1:]]),
        "its exams don't follow the protocol",
    ),
    "another instance": (lambda: changed(0, fingerprint="0" * 64), "ran on another instance"),
    "a run copied": (
        lambda: changed(1, train=PACKED.runs[2].train, held_out=PACKED.runs[2].held_out),
        "",
    ),
    "no such machine": (lambda: changed(0, provenance=7), "names a machine"),
    "another family": (lambda: with_space(family="sgd"), "adamw belongs to the family adam"),
    "another range": (lambda: with_space(own={"gradient.amplification": [0.1, 10.0]}), "the recipe is another"),
    "a range too many": (lambda: with_space(own={**PACKED.space.own, "gradient.decay": [0.0, 1.0]}), "the recipe is another"),
    "a narrow range": (lambda: with_space(own={"gradient.amplification": [1.0, 4.0]}), "a decade wide"),
    "no range": (lambda: with_space(own={}), "the recipe is another"),
    "another published setting": (lambda: with_space(published=published_lr(1e-4) | {"training": {}}), "the recipe is another"),
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_a_tuning_that_was_tampered_with_is_refused(tampering: str) -> None:
    """Each of these in its own words."""
    tamper, why = TAMPERED[tampering]
    found = problems(tamper())
    assert found
    assert why in found


def test_runs_of_a_setting_cannot_stand_for_those_of_another() -> None:
    """Two settings never have the same exams."""
    same_task = [place for place, run in enumerate(PACKED.runs) if run.task == PACKED.runs[0].task and run.seed == 0]
    copied = PACKED.runs[same_task[1]]
    tampered = changed(
        same_task[0], train=copied.train, held_out=copied.held_out, steps_to_generalize=copied.steps_to_generalize
    )
    assert "has the same exams as setting" in problems(tampered)


@settings(deadline=None, max_examples=25)
@given(place=st.integers(0, len(PACKED.runs) - 1), steps=st.integers(5, 3_000))
def test_a_run_rewritten_consistently_changes_the_choice_or_nothing(place: int, steps: int) -> None:
    """Whoever invents the exams of a run gets the choice that follows from them, never a free one."""
    run = PACKED.runs[place]
    task = SMALL.task(run.task, run.seed)
    exams = make_exams(task, seed=5, steps_to_generalize=steps)
    invented = {"train": [exam.train for exam in exams], "held_out": [exam.held_out for exam in exams]}
    outcome = protocol_of(task).outcome(exams, task)
    tampered = changed(place, **invented, steps_to_generalize=outcome.steps_to_generalize)
    tuning, findings = check_tuning(ENTRY, tampered, SMALL)
    assert findings or (tuning is not None and tuning.recipe("mine") == ENTRY.recipe)


def test_the_entry_has_the_chosen_recipe() -> None:
    """Not another of the settings, and not the published one."""
    other = next(number for number in TUNING.final if number != TUNING.winner)
    for made in (SPACE.recipe(other, TUNING.points[other]), PUBLISHED):
        assert "the recipe is another" in problems(PACKED, replace(ENTRY, recipe=replace(made, name="mine")))


def test_the_form_states_the_rules() -> None:
    """All settings, and the tasks of the suite."""
    few = replace(ENTRY, form=FORM.model_copy(update={"tuning": SettingsTried(settings=3, tasks=list(SMALL.tasks))}))
    assert "and [tuning] states something else" in problems(PACKED, few)


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (lambda text: text[:-1], "doesn't end with a line break"),
        (lambda text: b"", "doesn't end with a line break"),
        (lambda text: text.replace(b'"seed":0', b'"seed": 0', 1), "line 2: isn't in canonical form"),
        (lambda text: text.replace(b'"seed":0', b'"seed":-1', 1), "line 2: seed"),
        (lambda text: text + text.splitlines(keepends=True)[1], "isn't sorted"),
        (lambda text: text.replace(b'"family":"adam"', b'"family":"lucky"', 1), "line 1: family"),
        (lambda text: text + b"[" * 10_000 + b"\n", "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tamper: Callable[[bytes], bytes], why: str) -> None:
    """Hostile bytes are a finding, not an exception of Python's."""
    with pytest.raises(EntryError, match=why):
        read_tuning(tamper(PACKED.content))


@pytest.mark.parametrize(
    ("published", "own"),
    [
        ({"optimizer": {"betas": 0.9}}, {}),
        ({"optimizer": {"lr": "x"}}, {}),
        ({"optimizer": {"weight_decay": 10**400}}, {}),
        ({"optimizer": "adamw"}, {}),
        ({}, {"seeds_together": [1e-300, 1e308]}),
        ({}, {"a.5": [0.0, 1.0]}),
        ({"a": {"5": 0.5}}, {"a.5": [0.0, 1.0]}),
    ],
)
def test_a_hostile_space_is_a_finding(published: dict[str, Any], own: dict[str, list[float]]) -> None:
    """Values that can't be varied are told, and never end the check of other entries."""
    changed = recipe(PUBLISHED, **published).plain_hyperparameters
    space = PACKED.space.model_copy(update={"published": changed, "own": own})
    assert problems(PackedTuning(space, PACKED.runs))


def test_a_whole_entry_with_the_rules_of_the_board(tmp_path: Path) -> None:
    """41 settings on the suite tuning: the entry is accepted, and its page has the spread. A run less refuses it."""
    space = Space.of(find_recipe("transformer"))
    tuning, packed = make_tuning(space)
    stated = SettingsTried(settings=RULES.settings, tasks=list(RULES.tasks))
    folder = write_good_entry(tmp_path / "tuned", by_recipe(good_runs(), tuning.recipe("tuned")), tuning=stated)
    (folder / "tuning.jsonl").write_bytes(packed.content)
    checked = check_entry(folder)
    assert errors_of(checked) == ""
    assert checked.tuning is not None
    assert checked.tuning.spread == tuning.spread > 0
    (folder / "tuning.jsonl").write_bytes(PackedTuning(packed.space, packed.runs[:-1]).content)
    assert "is missing" in errors_of(check_entry(folder))


def test_a_tuning_that_ran_can_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From `run_tuning` to an entry that is accepted. Its lines hold every run."""
    rules = Rules(tasks=("add_mod5-0.5",), points=2, zoomed=1, finalists=2, search_budget=10, final_budget=10)
    for module in ("submit", "tuning"):
        monkeypatch.setattr(f"grokbench.board.entries.{module}.RULES", rules)
    space = Space.of(find_recipe("transformer"))
    tuning = run_tuning(space, open_folder(tmp_path / "study", space), rules=rules, device="cpu")
    for name in ("pack_tuning", "check_tuning"):
        monkeypatch.setattr(f"grokbench.board.entries.tuning.{name}.__defaults__", (rules,))
    options: dict[str, Any] = {
        "title": "T",
        "authors": ["A"],
        "link": "https://example.org",
        "description": "D",
        "suite": "mini",
    }
    runs = by_recipe(good_runs(), tuning.recipe("mine"))
    checked = pack_entry(runs, "mine", tuning=tmp_path / "study", leaderboard=tmp_path / "board", **options)
    assert errors_of(checked) == ""
    assert checked.entry is not None
    assert checked.entry.tuning is not None
    assert len(checked.entry.tuning.runs) == len(find_records([tmp_path / "study"])[0])
    assert all(isinstance(run, RunLine) and run.train for run in checked.entry.tuning.runs)
    packed = tmp_path / "board" / "entries" / "mine" / "tuning.jsonl"
    again = pack_entry(runs, "again", tuning=packed, leaderboard=tmp_path / "board", **options)
    assert errors_of(again) == ""
    assert (packed.parents[1] / "again" / "tuning.jsonl").read_bytes() == packed.read_bytes()
    with pytest.raises(EntryError, match="say how the recipe was tuned"):
        pack_entry(runs, "other", tuning=tmp_path / "study", settings_tried=1, leaderboard=tmp_path / "board", **options)
    with pytest.raises(EntryError, match="say how the recipe was tuned"):
        pack_entry(runs, "other", leaderboard=tmp_path / "board", **options)
