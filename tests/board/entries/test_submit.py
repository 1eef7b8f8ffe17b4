"""Packing an entry out of runs."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.submit import pack_entry, runs_to_submit
from grokbench.errors import EntryError
from grokbench.runs.records import RunRecord
from tests.support.entries import change_text, errors_of, good_runs, read_good_entry, write_good_entry
from tests.support.optimizers import LION

FORM: dict[str, Any] = {
    "title": "Mine",
    "authors": ["me"],
    "link": "https://x.org",
    "description": "d",
    "settings_tried": 2,
    "suite": "mini",
}


def with_agent(runs: list[RunRecord], **changes: Any) -> list[RunRecord]:
    """The runs with changes in what they say about their agent."""
    return [run.model_copy(update={"agent": run.agent.model_copy(update=changes)}) for run in runs]


def test_good_runs_make_an_accepted_entry(tmp_path: Path) -> None:
    """The written files hold the form and all official runs, and nothing refuses them."""
    (tmp_path / "entries").mkdir()
    salted = good_runs()[0].model_copy(update={"salt": "s"})
    checked = pack_entry([salted, *reversed(good_runs())], "mine", **FORM, leaderboard=tmp_path)
    assert checked.findings == ()
    assert len(checked.sound_runs) == 32
    entry = read_good_entry(tmp_path / "entries" / "mine")
    assert entry == checked.entry
    assert (entry.form.title, entry.form.tuning.settings, entry.form.division) == ("Mine", 2, "closed")


def test_an_entry_is_never_overwritten(tmp_path: Path) -> None:
    """A name that is taken, or that no entry can have, is an error before anything is written."""
    (tmp_path / "entries").mkdir()
    pack_entry(good_runs(), "mine", **FORM, leaderboard=tmp_path)
    for others, form in ((good_runs(luck=1), FORM), (good_runs(), FORM | {"title": "Another"})):
        with pytest.raises(EntryError, match="is there already, with other contents"):
            pack_entry(others, "mine", **form, leaderboard=tmp_path)
    with pytest.raises(EntryError, match="small letters, digits and hyphens"):
        pack_entry(good_runs(), "../mine", **FORM, leaderboard=tmp_path)
    assert [path.name for path in (tmp_path / "entries").iterdir()] == ["mine"]


def test_a_bad_form_writes_nothing(tmp_path: Path) -> None:
    """The error names the key."""
    (tmp_path / "entries").mkdir()
    with pytest.raises(EntryError, match="link: must be a web address"):
        pack_entry(good_runs(), "mine", **(FORM | {"link": "x"}), leaderboard=tmp_path)
    assert not list((tmp_path / "entries").iterdir())


def test_missing_runs_are_named() -> None:
    """Incomplete runs count as missing."""
    first, *others = good_runs()
    stopped = first.model_copy(update={"incomplete": "stopped"})
    with pytest.raises(EntryError, match=r"missing or unfinished: add_mod47-0.35-v1 seed 0\."):
        runs_to_submit([stopped, *others], suite="mini")
    with pytest.raises(EntryError, match=r"has all 32 runs; .* seed 4 and 27 more"):
        runs_to_submit([], suite="mini")


def test_one_of_several_agents_must_be_chosen() -> None:
    """The agents are listed; a name that none of them has is an error."""
    both = [*good_runs(), *good_runs("mlp")]
    with pytest.raises(EntryError, match=r"runs of mlp, transformer: choose one"):
        runs_to_submit(both, suite="mini")
    with pytest.raises(EntryError, match=r"no finished runs of 'MLP' on 'mini' here, only of mlp"):
        runs_to_submit(good_runs("mlp"), suite="mini", agent="MLP")
    chosen = runs_to_submit(both, suite="mini", agent="mlp")
    assert len(chosen) == 32
    assert {run.agent.name for run in chosen} == {"mlp"}


def test_runs_of_two_recipes_with_one_name_are_refused() -> None:
    """They would be mixed silently otherwise."""
    runs = good_runs()
    with pytest.raises(EntryError, match="different recipes of the same name"):
        runs_to_submit([*with_agent(runs, hash="0" * 64), *runs], suite="mini")


def test_an_own_agent_is_packed_with_its_code(tmp_path: Path) -> None:
    """`agent.py` is the file that made the runs; a change of it is found."""
    own = find_recipe("tests.support.agents:AddingAgent")
    runs = with_agent(good_runs(), name=own.name, target=own.target, hyperparameters={}, source=own.source, hash=own.hash)
    with pytest.raises(EntryError, match="--division open"):
        write_good_entry(tmp_path / "own", runs, division="closed")
    folder = write_good_entry(tmp_path / "own", runs, division="open")
    checked = check_entry(folder)
    assert not checked.refused
    assert checked.entry is not None
    assert checked.entry.recipe.target == "agent:AddingAgent"
    (folder / "agent.py").write_text("# another", encoding="utf-8")
    assert "made by another recipe or code" in errors_of(check_entry(folder))


def test_an_entry_has_the_line_ends_of_unix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code is the same wherever it was packed."""
    code = b"from grokbench import Agent\n\n\nclass Mine(Agent):\n    pass\n"
    (tmp_path / "of_windows.py").write_bytes(code.replace(b"\n", b"\r\n"))
    monkeypatch.syspath_prepend(str(tmp_path))
    own = find_recipe("of_windows:Mine")
    runs = with_agent(good_runs(), name=own.name, target=own.target, hyperparameters={}, source=own.source, hash=own.hash)
    folder = write_good_entry(tmp_path / "own", runs, division="open")
    assert (folder / "agent.py").read_bytes() == code
    assert errors_of(check_entry(folder)) == ""


def test_code_that_changed_since_the_runs_is_refused(tmp_path: Path) -> None:
    """The entry couldn't be run again with it. Nothing is written."""
    own = find_recipe("tests.support.agents:AddingAgent")
    runs = with_agent(good_runs(), name=own.name, target=own.target, hyperparameters={}, source="0" * 64)
    with pytest.raises(EntryError, match="has changed since"):
        write_good_entry(tmp_path / "own", runs, division="open")
    assert not (tmp_path / "own").exists()


def test_the_form_has_every_option(tmp_path: Path) -> None:
    """Division, tuning and reproduction, as they were given."""
    (tmp_path / "entries").mkdir()
    options = FORM | {"division": "open", "tuned_on": ["add_mod59-0.5"], "reproduces": "their-name"}
    pack_entry(good_runs(), "mine", **options, leaderboard=tmp_path)
    form = read_good_entry(tmp_path / "entries" / "mine").form
    assert (form.division, form.tuning.tasks, form.reproduces) == ("open", ["add_mod59-0.5"], "their-name")


def test_an_own_agent_keeps_its_hyperparameters(tmp_path: Path) -> None:
    """In a recipe that names its class in `agent.py`."""
    own = find_recipe("tests.support.agents:AddingAgent")
    changes = {"name": own.name, "target": own.target, "hyperparameters": {"width": 3}, "source": own.source}
    folder = write_good_entry(tmp_path / "own", with_agent(good_runs(), **changes), division="open")
    recipe = read_good_entry(folder).recipe
    assert (recipe.target, recipe.plain_hyperparameters) == ("agent:AddingAgent", {"width": 3})


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("nowhere_to_be_found", r"can't find the module 'nowhere_to_be_found' .* go to the folder of its file"),
        ("nowhere.to_be_found", r"can't find the module 'nowhere.to_be_found'"),
        ("__main__", r"was made in a notebook or a script: put the class into a file of its own"),
    ],
)
def test_code_that_is_gone_is_an_error(tmp_path: Path, module: str, why: str) -> None:
    """It says where to go."""
    runs = with_agent(good_runs(), target=f"{module}:Mine", hyperparameters={}, source="0" * 64)
    with pytest.raises(EntryError, match=why):
        write_good_entry(tmp_path / "own", runs, division="open")


def runs_with_lion(folder: Path, monkeypatch: pytest.MonkeyPatch, **schedule: Any) -> list[RunRecord]:
    """Good runs of the reference with an optimizer in a file of the folder, in which the test goes on."""
    (folder / "my_lion.py").write_text(LION, encoding="utf-8")
    (folder / "entries").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    changes: dict[str, Any] = {"schedule": schedule} if schedule else {}
    own = recipe("transformer", optimizer={"target": "my_lion:Lion", "lr": 1e-3}, name="lion", **changes)
    stated = {"name": "lion", "source": own.source, "hash": own.hash, "hyperparameters": own.plain_hyperparameters}
    return with_agent(good_runs(), **stated)


def test_an_own_optimizer_enters_the_closed_division(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe is written out in full, with the optimizer's file beside it, and the check runs no code of it."""
    checked = pack_entry(runs_with_lion(tmp_path, monkeypatch), "lion", **FORM, leaderboard=tmp_path)
    assert checked.findings == ()
    assert checked.entry is not None
    assert checked.entry.form.division == "closed"
    folder = tmp_path / "entries" / "lion"
    assert (folder / "agent.py").read_text(encoding="utf-8") == LION
    written = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    assert written["agent"] == "baselines.agents:transformer"
    assert written["optimizer"] == {"target": "agent:Lion", "lr": 1e-3}
    assert written["network"] == find_recipe("transformer").plain_hyperparameters["network"]
    (folder / "agent.py").write_text("raise RuntimeError('the check ran it')", encoding="utf-8")
    found = errors_of(check_entry(folder))
    assert "another recipe or code than the entry's" in found
    assert "the check ran it" not in found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('target = "agent:Lion"', 'target = "os:system"', "names the class os:system, which isn't in agent.py"),
        ('target = "agent:Lion"', 'name = "sgd"', "doesn't fit|is there"),
        ("batch_size = 0", "batch_size = -1", "makes no agent (batch_size must be a whole number"),
    ],
)
def test_a_changed_optimizer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, problem: str
) -> None:
    """A class from elsewhere is never imported."""
    pack_entry(runs_with_lion(tmp_path, monkeypatch), "lion", **FORM, leaderboard=tmp_path)
    change_text(tmp_path / "entries" / "lion" / "recipe.toml", old, new)
    found = errors_of(check_entry(tmp_path / "entries" / "lion"))
    assert any(each in found for each in problem.split("|")), found


def test_a_schedule_that_freezes_the_weights_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the closed division the learning rate stays at a tenth of its peak."""
    runs = runs_with_lion(tmp_path, monkeypatch, name="cosine", warmup=10, steps=500, final=0.0)
    checked = pack_entry(runs, "lion", **FORM, leaderboard=tmp_path)
    assert "its learning rate falls below 0.1 of its peak" in errors_of(checked)


@pytest.mark.parametrize("name", ["my recipe (v2)", "x" * 61, "réseau", "a/b", "<b>", "two\nlines", ""])
def test_the_name_of_a_recipe_file_refuses_no_runs(tmp_path: Path, name: str) -> None:
    """The entry's name is enough: the runs' hash doesn't have the recipe's."""
    (tmp_path / "entries").mkdir()
    checked = pack_entry(with_agent(good_runs(), name=name), "mine", **FORM, leaderboard=tmp_path)
    assert checked.findings == ()
    assert {run.agent.name for run in checked.sound_runs} == {"mine"}


def test_a_name_that_tables_can_show_stays(tmp_path: Path) -> None:
    """With capitals, points and hyphens."""
    (tmp_path / "entries").mkdir()
    checked = pack_entry(with_agent(good_runs(), name="My_recipe-2.1"), "mine", **FORM, leaderboard=tmp_path)
    assert {run.agent.name for run in checked.sound_runs} == {"My_recipe-2.1"}


def test_the_same_entry_is_packed_again(tmp_path: Path) -> None:
    """So that a pull request whose push was refused is taken up by the same command. A stray file is another content."""
    (tmp_path / "entries").mkdir()
    first = pack_entry(good_runs(), "mine", **FORM, leaderboard=tmp_path)
    assert pack_entry(good_runs(), "mine", **FORM, leaderboard=tmp_path) == first
    (tmp_path / "entries" / "mine" / "notes.txt").touch()
    with pytest.raises(EntryError, match="is there already"):
        pack_entry(good_runs(), "mine", **FORM, leaderboard=tmp_path)
