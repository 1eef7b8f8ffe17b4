"""Tuning: the choice among settings and what follows from it, on made-up results, and a small one from start to end."""

from collections.abc import Sequence
from itertools import product
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.cli.sweeps import tune
from grokbench.errors import TuningError
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Run
from grokbench.runs.records import RunRecord
from grokbench.runs.store import find_records
from grokbench.sweeps import tuning
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import (
    RULES,
    Rules,
    Trial,
    Tuning,
    TuningRun,
    chosen,
    expected_steps,
    follow,
    log_steps,
    ranked,
    run_tuning,
    solving_share,
    spread,
    standard_error,
)
from grokbench.sweeps.tuning_folder import open_folder, read_folder, recipe_text
from grokbench.sweeps.tuning_plots import tuning_figure
from grokbench.tasks import get_suite
from tests.support.entries import make_tuning

TASKS = ("a", "b")
SMALL = Rules(tasks=("add_mod5-0.5", "mul_mod5-0.5"), points=4, zoomed=2, finalists=2, search_budget=10, final_budget=20)


def trials(*times: int, solved: bool = True, share: float = 1.0) -> list[Trial]:
    """Runs on two tasks with the same times on each, one for each seed."""
    return [Trial(task, seed, time, solved, share) for task in TASKS for seed, time in enumerate(times)]


def made_up(space: Space, *, noise: float = 0.3) -> Tuning:
    """A tuning whose times are inverse to learning rate × weight decay."""
    rng = np.random.default_rng(0)

    def results(runs: Sequence[TuningRun]) -> list[Trial]:
        return [result(run, rng.lognormal(0, noise)) for run in runs]

    def result(run: TuningRun, luck: float) -> Trial:
        optimizer = space.recipe(run.number, run.point).plain_hyperparameters["optimizer"]
        time = min(run.task.budget, int(6 * luck / (optimizer["lr"] * optimizer["weight_decay"] + 1e-9)) + 1)
        return Trial(run.task.id, run.seed, time, time < run.task.budget, 0.9)

    return follow(space, results)


def test_steps_are_the_geometric_mean_over_tasks_of_restricted_means() -> None:
    """Seeds are averaged in steps, and tasks in logarithm."""
    runs = [Trial("a", 0, 100, True, 1.0), Trial("a", 1, 300, True, 1.0), Trial("b", 0, 800, True, 1.0)]
    assert log_steps(runs) == pytest.approx((log(200) + log(800)) / 2)


def test_the_standard_error_is_that_of_the_mean_over_tasks() -> None:
    """Compared with the spread of simulated means; a single seed has none."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.2, (2_000, 2, 3)).mean(axis=(1, 2))
    errors = [standard_error(trials(*(1_000 * rng.lognormal(0, 0.2, 3)).astype(int))) for _ in range(200)]
    assert np.mean(errors) == pytest.approx(means.std() * np.sqrt(1 / 2) * np.sqrt(2), rel=0.2)
    assert standard_error(trials(100)) == 0


def test_equal_settings_keep_their_order() -> None:
    """So the choice doesn't depend on the order in which runs ended."""
    assert ranked({3: trials(200), 2: trials(100), 1: trials(200)}) == [2, 1, 3]


def test_within_a_standard_error_what_solves_most_is_chosen() -> None:
    """Then the highest share of passing exams. What is slower by more isn't considered."""
    fast = [*trials(100, 200, 400)[:-1], Trial("b", 2, 400, False, 0.5)]
    steady, steadier = trials(210, 250, 270, share=0.9), trials(210, 250, 275, share=0.95)
    assert log_steps(steadier) < log_steps(fast) + standard_error(fast)
    assert chosen({1: fast, 2: steady}) == 2
    assert chosen({1: fast, 2: steady, 3: steadier}) == 3
    assert chosen({1: fast, 4: trials(900, 900, 900)}) == 1


@given(times=st.lists(st.integers(1, 3_000), min_size=4, max_size=10), settings=st.sampled_from([1, 2, 3, 5]))
def test_expected_steps_are_those_of_random_draws(times: list[int], settings: int) -> None:
    """With replacement, by brute force over all draws, as Dodge et al. define it."""
    search = {number: trials(time) for number, time in enumerate(times[:4])}
    draws = product([log(time) for time in times[:4]], repeat=settings)
    assert log(expected_steps(search, settings)) == pytest.approx(np.mean([min(draw) for draw in draws]))


def test_more_settings_are_expected_to_do_better() -> None:
    """One setting is the mean, and many settings are the best."""
    search = {number: trials(time) for number, time in enumerate((100, 200, 400, 800))}
    assert expected_steps(search, 1) == pytest.approx(exp(np.mean(np.log([100, 200, 400, 800]))))
    assert expected_steps(search, 1_000) == pytest.approx(100)


def test_the_spread_is_that_of_the_winners_of_halves() -> None:
    """Of equal settings there is none; where the best setting is far ahead, half of the draws miss it."""
    assert spread({number: trials(100) for number in range(10)}) == pytest.approx(0)
    lucky = {0: trials(100), **{number: trials(1_000) for number in range(1, 20)}}
    assert spread(lucky) == pytest.approx(log(10) / 2, rel=0.02)


def test_settings_that_solve_half_of_their_runs() -> None:
    """A setting with one of two solved counts."""
    half = [Trial("a", 0, 10, True, 1.0), Trial("b", 0, 10, False, 0.0)]
    assert solving_share({1: half, 2: trials(5), 3: trials(5, solved=False)}) == pytest.approx(2 / 3)


def test_the_stages_have_the_runs_of_the_protocol() -> None:
    """41 settings on four tasks, then the four best on three more seeds with the full budget."""
    space = Space.of(find_recipe("transformer"))
    tuning = made_up(space)
    tasks = get_suite("tuning").tasks
    assert len(tasks) == 4
    assert sorted(tuning.search) == sorted(tuning.points) == list(range(41))
    assert tuning.points[0] is None
    assert all([trial.task for trial in runs] == [f"{task}-v1" for task in tasks] for runs in tuning.search.values())
    assert sorted(tuning.final) == sorted(ranked(tuning.search)[:4])
    assert all(len(runs) == 12 and {run.seed for run in runs} == {1, 2, 3} for runs in tuning.final.values())
    assert tuning.winner in tuning.final
    assert len(tuning.sampled) == 32


def test_the_zoom_finds_a_better_setting_on_a_smooth_surface() -> None:
    """Without noise the chosen setting has the highest learning rate × weight decay of all."""
    tuning = made_up(Space.of(find_recipe("transformer")), noise=0.0)
    optimizer = tuning.recipe("tuned").plain_hyperparameters["optimizer"]
    assert tuning.winner > RULES.points
    assert optimizer["lr"] * optimizer["weight_decay"] > 0.1


def test_a_tuning_says_what_it_chose() -> None:
    """Values, steps, the share of good settings, the spread. Its figure can be drawn."""
    text = str(made_up(Space.of(find_recipe("transformer"))))
    assert text.startswith("chosen: optimizer.lr = ")
    assert "the best of 32 draws" in text
    assert len(tuning_figure(made_up(Space.of(find_recipe("transformer")))).axes) == 3


@pytest.mark.parametrize(
    ("name", "labels"),
    [("adamw", ["off", "0.1", "0.3", "1", "3", "10"]), ("adam", ["off", "1e-05", "0.0001", "0.001", "0.01"])],
)
def test_the_axis_of_the_decay_is_its_range(name: str, labels: list[str]) -> None:
    """A decay that is added to the gradient has another one. The ticks are where the space has these values."""
    optimizer = {"name": name, "lr": 1e-3, "weight_decay": 1e-3, "betas": [0.9, 0.98]}
    space = Space.of(recipe("transformer", optimizer=optimizer))
    settings = tuning_figure(made_up(space)).axes[0]
    assert [label.get_text() for label in settings.get_yticklabels()] == labels
    (decay,) = (dimension for dimension in space.dimensions if dimension.name == "optimizer.weight_decay")
    assert settings.get_yticks()[1:].tolist() == [decay.place(float(label)) for label in labels[1:]]


class Told(Callback):
    """Keeps what a display is told."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.ended = 0

    @override
    def on_start(self, planned: int, finished: int) -> None:
        self.started.append((planned, finished))

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        self.ended += 1


def test_a_tuning_runs_and_goes_on(tmp_path: Path) -> None:
    """Every run is made once, alone; a second call makes none and gives the same; a display counts all stages together."""
    published = recipe("mlp", network={"hidden": [8]})
    space = Space.of(published, own={"init_scale": (0.1, 1.0)})
    store, told = open_folder(tmp_path, space), Told()
    first = run_tuning(space, store, rules=SMALL, device="cpu", callbacks=[told])
    records, _ = find_records([tmp_path])
    assert len(records) == SMALL.runs == (1 + 4 + 2) * 2 + 2 * 2 * 3
    assert (told.started, told.ended) == ([(26, 0)] * 3, 26)
    assert all(len(record.cohort) == 1 and record.salt == "tuning" for record in records)
    assert {record.budget for record in records} == {10, 20}
    again, runs = read_folder(tmp_path)
    assert again == space
    told = Told()
    assert run_tuning(again, runs, rules=SMALL, callbacks=[told]) == first
    assert (told.started, told.ended) == ([(26, 10), (26, 14), (26, 26)], 0)
    (tmp_path / "tuned.toml").write_bytes(recipe_text(first.recipe("mine")))
    assert find_recipe(str(tmp_path / "tuned.toml")).hash == first.recipe("mine").hash


def test_the_command_names_the_chosen_recipe_after_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are called by their files, so two tuned methods in a table are told apart."""
    made, _ = make_tuning(Space.of(find_recipe("transformer")))
    monkeypatch.setattr(tuning, "run_tuning", lambda *_, **__: made)
    assert tune("transformer", out=tmp_path) == 0
    chosen_recipe = find_recipe(str(tmp_path / "transformer-tuned.toml"))
    assert (chosen_recipe.name, chosen_recipe.hash) == ("transformer-tuned", made.recipe("any").hash)
    assert (tmp_path / "tuning.png").stat().st_size > 0


def test_a_folder_has_one_tuning(tmp_path: Path) -> None:
    """Another recipe or other ranges want another folder; so does a folder without a tuning."""
    open_folder(tmp_path, Space.of(find_recipe("transformer_grokfast")))
    for other in (Space.of(find_recipe("mlp")), Space.of(find_recipe("transformer_grokfast"), own={"amplification": (1, 10)})):
        with pytest.raises(TuningError, match="choose another --out"):
            open_folder(tmp_path, other)
    for path in tmp_path.glob("*.toml"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as an editor on Windows saves it
    open_folder(tmp_path, Space.of(find_recipe("transformer_grokfast")))
    with pytest.raises(TuningError, match="can't be written as a recipe file"):
        recipe_text(recipe("mlp", network={"hidden": None}))
    with pytest.raises(TuningError, match=r"has no space.toml"):
        read_folder(tmp_path / "other")


def test_an_unfinished_tuning_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command goes on."""
    space = Space.of(find_recipe("mlp"))
    monkeypatch.setattr("grokbench.runs.engine.run", lambda *_, **__: None)
    with pytest.raises(TuningError, match=r"mlp-point0 on add_mod5-0.5-v1 seed 0 isn't finished: run the same command again"):
        run_tuning(space, open_folder(tmp_path, space), rules=SMALL)
