"""Instances: the draws of a seed, and the fingerprints of the published instances."""

import json
from importlib.resources import files

import numpy as np
import pytest
from numpy.typing import NDArray

from grokbench.errors import TaskError
from grokbench.tasks import list_tasks, make_instance, parse_id
from grokbench.tasks.tables import TableInstance

PINNED: dict[str, list[str]] = json.loads(files("grokbench").joinpath("tasks/fingerprints.json").read_text())
TASKS = ["add_mod7-0.3", "div_mod7-0.5", "compose_s3-0.4", "random_mod5-0.5", "add_mod2-0.5", "x3_xy2_y_mod31-0.8"]


def make_table(name: str, seed: int) -> TableInstance:
    """The published instance of a table."""
    instance = make_instance(parse_id(name), seed)
    assert isinstance(instance, TableInstance)
    return instance


def test_the_pins_are_those_of_the_standard_tasks() -> None:
    """Every standard task is pinned. A task that was standard once stays pinned."""
    assert {task.id for task in list_tasks(controls=True)} <= set(PINNED)
    assert "add_mod47-0.7-v1" in PINNED


@pytest.mark.parametrize("task_id", PINNED)
def test_published_instances_never_change(task_id: str) -> None:
    """The fingerprints of the official seeds are the pinned ones."""
    assert [make_instance(parse_id(task_id), seed).fingerprint for seed in range(10)] == PINNED[task_id]


@pytest.mark.parametrize("name", TASKS)
def test_seed_and_salt_decide_the_instance(name: str) -> None:
    """The same seed gives the same instance; another seed or salt gives another instance."""
    task = parse_id(name)
    assert make_instance(task, 3).fingerprint == make_instance(task, 3).fingerprint
    if task.num_questions > 20:
        drawn = [make_instance(task, seed, salt) for seed in range(20) for salt in ("", "a", "b")]
        assert len({instance.fingerprint for instance in drawn}) == len(drawn)
        assert len({instance.agent_seed for instance in drawn}) == len(drawn)


def test_tasks_share_no_draws() -> None:
    """Seed 0 of another ratio or operation has another permutation."""
    names = ["add_mod31-0.3", "add_mod31-0.4", "sub_mod31-0.3"]
    permutations = {tuple(make_table(name, 0).permutation.tolist()) for name in names}
    assert len(permutations) == 3


def test_the_budget_doesnt_change_the_instance() -> None:
    """A task with another budget, or followed to some step, has the same instances."""
    standard = make_instance(parse_id("add_mod7-0.3"), 0)
    for task in (parse_id("add_mod7-0.3", budget=10), parse_id("add_mod7-0.3-to500")):
        assert make_instance(task, 0).fingerprint == standard.fingerprint
        assert make_instance(task, 0).agent_seed == standard.agent_seed


@pytest.mark.parametrize("name", TASKS)
def test_arrays_are_read_only(name: str) -> None:
    """Every array of an instance refuses writes."""
    instance = make_instance(parse_id(name), 0)
    for field in ("inputs", "answers", "train", "permutation", "shown_inputs", "shown_answers", "targets"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(instance, field)[0] = 0


@pytest.mark.parametrize("name", TASKS)
def test_the_arrays_of_an_instance(name: str) -> None:
    """Every question once, sorted as shown; a blank for every held-out question; the same permutation for all symbols."""
    task = parse_id(name)
    for seed in range(5):
        instance = make_table(name, seed)
        q = task.num_symbols
        assert sorted(instance.permutation.tolist()) == list(range(q))
        shown = instance.shown_inputs.tolist()
        assert shown == sorted(shown)
        questions = {(a, b) for a in range(q) for b in range(name.startswith("div_mod"), q)}
        assert {(a, b) for a, b in instance.inputs.tolist()} == questions
        assert len(instance.inputs) == task.num_questions
        assert shown == [[instance.permutation[a], instance.permutation[b]] for a, b in instance.inputs]
        assert instance.shown_answers.tolist() == [instance.permutation[c] for c in instance.answers]
        assert instance.train.sum() == task.num_train
        assert instance.targets.tolist() == [
            answer if train else q for answer, train in zip(instance.shown_answers, instance.train, strict=True)
        ]


def test_answers_belong_to_their_question() -> None:
    """After sorting and permuting, every answer is that of its own question."""
    for seed in range(5):
        instance = make_table("sub_mod31-0.5", seed)
        assert instance.answers.tolist() == [(a - b) % 31 for a, b in instance.inputs.tolist()]


def test_the_split_is_a_fair_draw() -> None:
    """Over many seeds, questions are trained on equally often, counted by true symbols and by position."""
    seeds = 400
    by_question, by_position = np.zeros((5, 5)), np.zeros(25)
    for seed in range(seeds):
        instance = make_table("add_mod5-0.4", seed)
        by_question[tuple(instance.inputs.T)] += instance.train
        by_position += instance.train
    five_sigma = 5 * np.sqrt(0.4 * 0.6 / seeds)
    assert np.abs(by_question / seeds - 0.4).max() < five_sigma
    assert np.abs(by_position / seeds - 0.4).max() < five_sigma


def test_the_permutation_is_a_fair_draw() -> None:
    """Over many seeds, every true symbol is shown as every symbol equally often."""
    counts = np.zeros((5, 5))
    for seed in range(400):
        counts[np.arange(5), make_table("add_mod5-0.4", seed).permutation] += 1
    assert np.abs(counts / 400 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 400)


def test_split_and_permutation_are_independent() -> None:
    """The question 0 + 0 is trained on equally often, whichever symbol shows 0."""
    trained_on, count = np.zeros(5), np.zeros(5)
    for seed in range(1000):
        instance = make_table("add_mod5-0.4", seed)
        shown = instance.permutation[0]
        count[shown] += 1
        trained_on[shown] += instance.train[(instance.inputs == 0).all(axis=1)][0]
    assert np.abs(trained_on / count - 0.4).max() < 5 * np.sqrt(0.4 * 0.6 / count.min())


def test_the_control_is_a_new_table_for_every_seed() -> None:
    """The answers of the random table change with the seed and take every value; those of an operation stay."""
    tables: dict[str, list[NDArray[np.int64]]] = {}
    for name in ("random_mod23-0.5", "mul_mod23-0.5"):
        tables[name] = []
        for seed in range(5):
            instance = make_table(name, seed)
            table = np.zeros((23, 23), dtype=np.int64)
            table[tuple(instance.inputs.T)] = instance.answers
            tables[name].append(table)
    first, *others = tables["random_mod23-0.5"]
    assert set(first.ravel().tolist()) == set(range(23))
    assert all((first == other).mean() < 0.15 for other in others)
    first, *others = tables["mul_mod23-0.5"]
    assert all((first == other).all() for other in others)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, "0", None, np.float64(2)])
def test_a_bad_seed_is_an_error(seed: object) -> None:
    """A seed is a whole number in [0, 2⁶³), which infos and records can hold."""
    with pytest.raises(TaskError, match="a seed is a whole number"):
        make_instance(parse_id("add_mod5-0.5"), seed)  # type: ignore[arg-type]


def test_a_bad_salt_is_an_error() -> None:
    """A salt is text."""
    with pytest.raises(TaskError, match="a salt is text"):
        make_instance(parse_id("add_mod5-0.5"), 0, salt=1)  # type: ignore[arg-type]


def test_a_numpy_seed() -> None:
    """A numpy integer is as good as Python's."""
    task = parse_id("add_mod5-0.5")
    assert make_instance(task, np.int64(4)).fingerprint == make_instance(task, 4).fingerprint  # type: ignore[arg-type]


def test_the_agent_seed_fits_a_generator() -> None:
    """Both numpy's and torch's generators accept seeds in [0, 2⁶³)."""
    seeds = [make_instance(parse_id("add_mod5-0.5"), seed).agent_seed for seed in range(50)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**60
