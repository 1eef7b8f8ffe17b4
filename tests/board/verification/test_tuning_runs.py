"""Runs of an entry's tuning that are made again: honest ones repeat to the bit, and an invented one is found."""

from dataclasses import replace
from pathlib import Path

import pytest

from grokbench.agents.recipes import recipe
from grokbench.board.entries.entry import Entry
from grokbench.board.entries.tuning import pack_tuning
from grokbench.board.entries.tuning_lines import PackedTuning, read_tuning
from grokbench.board.entries.verdicts import RepeatedTuning
from grokbench.board.verification.isolation import Isolation
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.tuning_runs import TuningRuns
from grokbench.runs import engine
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import Rules, Tuning, run_tuning
from tests.support.entries import FORM

SMALL = Rules(tasks=("add_mod5-0.5",), points=2, zoomed=1, finalists=2, search_budget=30, final_budget=40)


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Tuning, Entry]:
    """A small tuning that ran, and an entry with it."""
    monkeypatch.setattr("grokbench.board.verification.tuning_runs.RULES", SMALL)
    space = Space.of(recipe("mlp", network={"hidden": [8]}))
    store = Store(tmp_path / "study")
    tuning = run_tuning(space, store, rules=SMALL, device="cpu", processes=1)
    packed = read_tuning(pack_tuning(space, store, SMALL).content)
    return tuning, Entry("tuned", FORM, tuning.recipe("tuned"), "0" * 64, (), packed)


def run_again(entry: Entry, tuning: Tuning, folder: Path, *, salt: str = "s") -> tuple[TuningRuns, list[RunRecord]]:
    """All runs of the tuning, with the agent in a process of its own."""
    folder.mkdir()
    command = Isolation.choose(folder, sandboxed=False, image=None, seconds=100.0).command
    values = entry.recipe.hyperparameters
    remote = RemoteRecipe(name="entry", target=entry.recipe.target, hyperparameters=values, command=command, folder=folder)
    chosen = TuningRuns.choose(entry, tuning, remote, 100, salt=salt)
    engine.run(chosen.plans, Store(folder / "runs"), device="cpu", processes=1)
    records, _ = find_records([folder / "runs"])
    return chosen, records


def test_honest_runs_repeat_and_an_invented_one_is_found(tuned: tuple[Tuning, Entry], tmp_path: Path) -> None:
    """Elsewhere than on the same machine, a run that differs shows nothing."""
    tuning, entry = tuned
    chosen, records = run_again(entry, tuning, tmp_path / "again")
    assert len(chosen.lines) == 4 + 2 * 3
    judged = chosen.judge(entry, records, same_machine=True)
    keys = [line.key for line in chosen.lines]
    assert judged == RepeatedTuning(runs=keys, repeated=keys, differing=[])

    line = chosen.lines[0]
    invented = line.model_copy(update={"held_out": [count + 1 for count in line.held_out]})
    cheated = replace(chosen, lines=(invented, *chosen.lines[1:]))
    found = cheated.judge(entry, records, same_machine=True)
    assert found is not None
    assert found.differing == [line.key]
    elsewhere = cheated.judge(entry, records, same_machine=False)
    assert elsewhere is not None
    assert (elsewhere.differing, len(elsewhere.repeated)) == ([], len(chosen.lines) - 1)


def test_a_salt_chooses_runs_that_nobody_can_foresee(tuned: tuple[Tuning, Entry], tmp_path: Path) -> None:
    """The same for the same salt. An untuned entry has none."""
    tuning, entry = tuned
    remote = RemoteRecipe(name="entry", target=entry.recipe.target, command=("false",), folder=tmp_path)

    def keys(salt: str) -> list[object]:
        return [line.key for line in TuningRuns.choose(entry, tuning, remote, 3, salt=salt).lines]

    assert keys("a") == keys("a")
    assert len({tuple(keys(str(salt))) for salt in range(10)}) > 5
    published = replace(entry, tuning=None)
    assert TuningRuns.choose(published, None, remote, 3, salt="a") == TuningRuns()
    assert TuningRuns().judge(published, [], same_machine=True) is None


def test_the_file_has_every_run(tuned: tuple[Tuning, Entry]) -> None:
    """Each with a machine of the first line."""
    packed = tuned[1].tuning
    assert isinstance(packed, PackedTuning)
    assert {run.provenance for run in packed.runs} == set(range(len(packed.space.provenances)))
