"""Recipes: immutable, changed by `recipe`, found by name, file and class, with a hash of the code they run."""

import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

import grokbench
from grokbench.agents import Agent, Recipe, Spec, find_recipe, recipe, recipe_names
from grokbench.agents.recipes import changed_recipe
from grokbench.agents.targets import is_baseline, load_target
from grokbench.errors import AgentError, RecipeError
from grokbench.runs.plan import Experiment
from grokbench.tasks import parse_id
from tests.support.agents import AddingAgent, ReportingAgent
from tests.support.optimizers import LION

ROOT = Path(__file__).resolve().parents[2]


def test_a_recipe_is_immutable_to_any_depth() -> None:
    """Neither the recipe nor its tables and lists can be changed, and a plain copy changes nothing."""
    mlp = find_recipe("mlp")
    before = mlp.hash
    for change in ("mlp.hyperparameters['optimizer']['weight_decay'] = 9", "mlp.hyperparameters['network']['hidden'][0] = 9"):
        with pytest.raises(TypeError, match="does not support item assignment"):
            exec(change)
    mlp.plain_hyperparameters["optimizer"]["weight_decay"] = 9
    assert mlp.hash == before == find_recipe("mlp").hash


def test_a_recipe_can_be_pickled_and_compared() -> None:
    """A copy from another process is the same recipe; recipes are keys of dicts."""
    mlp = find_recipe("mlp")
    copy = pickle.loads(pickle.dumps(mlp))
    assert copy == mlp
    assert {mlp: 1}[copy] == 1
    assert replace(mlp, name="other") != mlp


def test_a_change_is_merged_into_its_table() -> None:
    """The other hyperparameters stay; the name says what changed; the base is as it was."""
    changed = recipe("transformer", optimizer={"weight_decay": 3.0})
    base = find_recipe("transformer")
    assert changed.name == "transformer-weight_decay-3.0"
    expected = base.plain_hyperparameters
    expected["optimizer"]["weight_decay"] = 3.0
    assert changed.plain_hyperparameters == expected
    assert changed.hash != base.hash
    assert recipe(changed, name="mine", optimizer={"weight_decay": 1.0}).hash == base.hash


def test_a_changed_name_can_be_shown() -> None:
    """A long list of changes is cut to sixty characters, and odd characters are replaced."""
    many = recipe("mlp", optimizer={"lr": 1e-2, "weight_decay": 1e-3, "betas": [0.9, 0.95]}, training={"batch_size": 12})
    assert len(many.name) <= 60
    assert recipe("mlp", gradient={"filter": "a/b c"}).name == "mlp-filter-a-b-c"


def test_long_names_differ_where_the_changes_do() -> None:
    """A name that was cut has a hash of all changes, and is still fit for a folder."""
    base = Recipe("my own:recipe" * 5, "m:C")
    names = {recipe(base, width=width, depth="a long word " * 8).name for width in (64, 128)}
    assert len(names) == 2
    assert all(re.fullmatch(r"[\w.-]{1,60}", name) for name in names)


def test_changes_reach_any_depth_and_leave_the_base() -> None:
    """A table inside a table keeps its other values. A plain value and a table replace each other."""
    base = Recipe("a", "m:C", {"x": {"y": {"z": 1, "w": 2}, "v": [3]}, "u": 4})
    changed = recipe(base, x={"y": {"z": 5}}, u={"t": 6}, s=7)
    assert changed.plain_hyperparameters == {"x": {"y": {"z": 5, "w": 2}, "v": [3]}, "u": {"t": 6}, "s": 7}
    assert recipe(base, x=8).plain_hyperparameters == {"x": 8, "u": 4}
    assert base.plain_hyperparameters == {"x": {"y": {"z": 1, "w": 2}, "v": [3]}, "u": 4}


def test_a_recipe_keeps_no_hold_on_the_values_that_made_it() -> None:
    """The caller's dicts and lists may change afterwards, and so may those that an agent was made with."""
    hidden = [64, 64]
    made = recipe(ReportingAgent, report={"hidden": hidden})
    before = made.hash
    hidden.append(9)
    agent = made.make()
    assert isinstance(agent, ReportingAgent)
    assert agent.report == {"hidden": [64, 64]}
    agent.report["hidden"].clear()
    assert made.plain_hyperparameters == {"report": {"hidden": [64, 64]}}
    assert made.hash == before


def test_a_file_extends_a_recipe(tmp_path: Path) -> None:
    """The file says what differs, and the result is what `recipe` gives."""
    path = tmp_path / "tuned.toml"
    path.write_text('extends = "transformer"\n[optimizer]\nlr = 1e-2\nweight_decay = 3.0\n', encoding="utf-8")
    extended = find_recipe(str(path))
    assert extended.name == "tuned"
    assert extended.hash == recipe("transformer", optimizer={"lr": 1e-2, "weight_decay": 3.0}).hash


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs a line agent"),
        ('agent = "a:b"\nextends = "mlp"', "needs a line agent"),
        ("agent = 3", 'such as agent = "module:Class", got 3'),
        ('extends = "mpl"', "did you mean 'mlp'"),
        ("a = ", "not valid TOML"),
        ('agent = "no_colon"', "such as agent = \"module:Class\", got 'no_colon'"),
        ('extends = "bad.toml"', "extends itself"),
        ('extends = "mlp" # \udcff', "can't read the recipe"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what the file needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecipeError, match=why):
        find_recipe("bad.toml")


def test_a_folder_is_no_recipe_file(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RecipeError, match=r"can't read the recipe '.*folder\.toml'"):
        find_recipe(str(tmp_path / "folder.toml"))


def test_files_may_extend_files_and_end_lines_as_windows_does(tmp_path: Path) -> None:
    """Each file of a chain changes the recipe before it, which lies beside it. A line's end is no part of a value."""
    (tmp_path / "first.toml").write_bytes(b'extends = "mlp"\r\n[network]\r\nactivation = "relu"\r\n')
    (tmp_path / "second.toml").write_bytes(b'extends = "first.toml"\r\n[network]\r\nhidden = [32]\r\n')
    second = find_recipe(str(tmp_path / "second.toml"))
    assert second.name == "second"
    assert second.hash == recipe("mlp", network={"activation": "relu", "hidden": [32]}).hash


@pytest.mark.parametrize("key", ["name", "base", "changes"])
def test_a_hyperparameter_may_have_any_name(tmp_path: Path, key: str) -> None:
    """Those of `recipe`'s own arguments too."""
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "mlp"\n{key} = "x"\n')
    made = find_recipe(str(path))
    assert (made.name, made.plain_hyperparameters[key]) == ("mine", "x")
    assert changed_recipe(made, {key: "y"}).plain_hyperparameters[key] == "y"


@pytest.mark.parametrize("name", ["a" * 200, "caf\udce9"])
def test_a_file_with_a_name_that_no_record_can_have(tmp_path: Path, name: str) -> None:
    """Too long for a folder's name, or no text: the recipe's name can be written."""
    path = tmp_path / f"{name}.toml"
    path.write_text('extends = "mlp"')
    assert len(find_recipe(str(path)).name.encode()) <= 60


@pytest.mark.parametrize("name", ["../mine", "a/b", "a\0b", "", ".", "..", 5])
def test_a_name_is_that_of_a_folder(name: Any) -> None:
    """Records lie in a folder of this name, below the folder of runs."""
    with pytest.raises(RecipeError, match="a recipe's name is text that a folder can be called"):
        recipe("mlp", name=name)
    with pytest.raises(RecipeError, match="a recipe's name is text that a folder can be called"):
        Experiment(parse_id("add_mod5-0.5"), Recipe(name, "m:C"))
    assert len(recipe("mlp", name="a" * 300).name) <= 60


def test_a_path_is_a_file(tmp_path: Path) -> None:
    """As its text is."""
    (tmp_path / "mine.toml").write_text('extends = "mlp"\n[optimizer]\nweight_decay = 3\n')
    assert recipe(tmp_path / "mine.toml") == find_recipe(tmp_path / "mine.toml") == find_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("whole", [3, np.int64(3)])
def test_a_whole_number_in_place_of_another_makes_the_same_agent(whole: Any) -> None:
    """Otherwise its runs would be made, and counted, twice."""
    same, other = (recipe("transformer", optimizer={"weight_decay": decay}) for decay in (3.0, whole))
    assert (same.hash, same.name.removesuffix(".0")) == (other.hash, other.name.removesuffix(".0"))
    betas = [recipe("transformer", optimizer={"betas": betas}).hash for betas in ([0, 0.5], [0.0, 0.5])]
    assert betas[0] == betas[1]
    assert recipe("mlp", training={"batch_size": 3}).plain_hyperparameters["training"]["batch_size"] == 3


def test_a_hyperparameter_in_the_wrong_place_is_told() -> None:
    """The message names the table that has it."""
    with pytest.raises(RecipeError, match=r"unexpected keyword argument 'lr'.*did you mean optimizer\.lr\?"):
        recipe("mlp", lr=3.0).make()


def test_a_file_names_an_agent_and_everything_that_it_sets(tmp_path: Path) -> None:
    """Without `extends` the file is the whole recipe. An agent from outside has the hash of its code."""
    path = tmp_path / "mine.toml"
    path.write_text('agent = "tests.support.agents:ReportingAgent"\n[report]\ndeep = [1, { a = 2 }]\n', encoding="utf-8")
    mine = find_recipe(str(path))
    assert mine.plain_hyperparameters == {"report": {"deep": [1, {"a": 2}]}}
    code = (ROOT / "tests" / "support" / "agents.py").read_bytes()
    assert mine.sources.modules["tests.support.agents"] == hashlib.sha256(code).hexdigest()
    assert mine.source == mine.sources.hash
    assert recipe(mine, report=3).source == mine.source


def test_a_class_is_a_recipe() -> None:
    """A class needs no importable file, and its keyword arguments are the hyperparameters."""
    reporting = recipe(ReportingAgent, report=2)
    assert (reporting.name, reporting.target) == ("ReportingAgent-report-2", "tests.support.agents:ReportingAgent")
    agent = reporting.make()
    assert isinstance(agent, ReportingAgent)
    assert agent.report == 2
    assert reporting.source == find_recipe("tests.support.agents:AddingAgent").source


def test_a_class_of_a_notebook_makes_agents(notebook: Callable[[str], type[Agent]]) -> None:
    """No command line could find it."""
    assert isinstance(recipe(notebook("class Mine(AddingAgent):\n    pass")).make(), AddingAgent)


MAIN = """
import grokbench
from tests.support.agents import AddingAgent


class Mine(AddingAgent):
    class Inner(AddingAgent):
        pass


def make():
    return Mine()


if __name__ == "__main__":
    from grokbench.errors import AgentError
    from grokbench.runs import engine
    from grokbench.runs.plan import plan
    from grokbench.runs.store import Store

    found = [grokbench.find_recipe(f"__main__:{name}") for name in ("Mine", "Mine.Inner", "make")]
    print([type(each.make()).__qualname__ for each in found], [len(each.source) for each in found])
    print(found[0].hash == grokbench.recipe(Mine).hash)
    try:
        grokbench.find_recipe("__main__:Other")
    except AgentError as error:
        print("can't load" in str(error))
    print(engine.run(plan(["add_mod11-0.6", "sub_mod11-0.6"], found[:1], seeds=(0,)), Store("runs"), processes=2, max_steps=5))
"""


@pytest.mark.parametrize("how", ["script", "command", "standard input"])
def test_a_class_of_the_running_program_is_found(tmp_path: Path, how: str) -> None:
    """By its name in `__main__`, wherever Python reads the program from. Worker processes run it too."""
    (tmp_path / "mine.py").write_text(MAIN, encoding="utf-8")
    arguments = {"script": ["mine.py"], "command": ["-c", MAIN], "standard input": ["-"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=MAIN,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["['Mine', 'Mine.Inner', 'Mine'] [64, 64, 64]", "True", "True", "True"], done.stderr


class NoAgent:
    """Isn't derived from Agent."""


def test_what_makes_no_agent_is_refused() -> None:
    """The message names the base class, the accepted hyperparameters, or the folder that was searched."""
    with pytest.raises(AgentError, match=r"not an agent: derive it from grokbench\.Agent"):
        find_recipe(f"{__name__}:NoAgent").make()
    with pytest.raises(RecipeError, match="it takes report"):
        recipe(ReportingAgent, wrong=1).make()
    with pytest.raises(AgentError, match=r"looked in .* too"):
        find_recipe("nowhere:Agent")
    with pytest.raises(RecipeError, match="a class derived from"):
        recipe(NoAgent)  # type: ignore[arg-type]


INSTANCE = AddingAgent()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("./mine.py:Mine", "can't load './mine.py:Mine'"),
        (".mine:Mine", "can't load '.mine:Mine'"),
        (":Mine", "can't load ':Mine'"),
        ("math:", "can't load 'math:'"),
        (f"{__name__}:INSTANCE", "is a AddingAgent: name a class, or a function"),
        ("math:pi", "is a float: name a class, or a function"),
    ],
)
def test_a_target_that_cannot_make_an_agent_is_named(name: str, why: str) -> None:
    """A path in place of a module, nothing in place of a name, an instance or a number in place of a class."""
    with pytest.raises(AgentError, match=why):
        find_recipe(name)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.arange(2), "report must be a number, text, a list or a table, got .* of type ndarray"),
        ({1, 2}, "report must be a number.* of type set"),
        ([date(2020, 1, 1)], r"report\[0\] must be a number.* of type date"),
        ({1: "a", "b": 2}, "report must be a table with text as keys, got the key 1"),
        ({"lr": float("inf")}, r"report\.lr must be a finite number, got inf"),
        (np.float32("nan"), "report must be a finite number, got np.float32"),
    ],
    ids=repr,
)
def test_a_hyperparameter_that_a_record_cannot_hold_is_refused(value: object, problem: str) -> None:
    """Records, folders and the leaderboard know a recipe by its hash. The message has place, expectation and value."""
    with pytest.raises(RecipeError, match=f"'mine': {problem}"):
        recipe(ReportingAgent, name="mine", report=value)


def test_numbers_of_a_sweep_are_plain() -> None:
    """Numpy's numbers, from a loop over an array, make the recipe that plain ones make."""
    swept = [
        recipe("mlp", optimizer={"lr": lr}, network={"hidden": [width]}) for lr in np.array([1e-3]) for width in np.array([64])
    ]
    assert swept[0].hash == recipe("mlp", optimizer={"lr": 1e-3}, network={"hidden": [64]}).hash
    assert swept[0].make()


def test_finding_an_agent_leaves_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the current folder is found, and `sys.path` is as before."""
    (tmp_path / "an_agent.py").write_text("from tests.support.agents import AddingAgent as Mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    assert isinstance(find_recipe("an_agent:Mine").make(), AddingAgent)
    assert sys.path == before
    with pytest.raises(AgentError, match="can't load"):
        find_recipe("an_agent_that_is_not_there:Mine")
    assert sys.path == before


def test_code_outside_the_baselines_is_never_taken_for_a_baseline() -> None:
    """A baseline's recipe has no hash of its source, so a name that merely looks like a baseline's must not pass."""
    assert is_baseline("baselines.training.agent:make")
    assert is_baseline("baselines:make")
    for target in ("baselines_of_mine:make", "my.baselines:make", "baseline:make", "a:baselines.make", "Baselines:make"):
        assert not is_baseline(target)


def test_every_baseline_makes_an_agent() -> None:
    """Each recipe that ships, by its name."""
    for name in recipe_names():
        shipped = find_recipe(name)
        assert is_baseline(shipped.target)
        assert shipped.source == ""
        assert isinstance(shipped.make(), Agent)


class Minimal(Agent):
    """The least that an agent needs."""

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None: ...

    @override
    def learn(self, steps: int) -> None: ...

    @override
    def act(self) -> dict[str, Any]:
        return {}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def test_an_agents_defaults() -> None:
    """It isn't batched, and shows a single layer of 128 features at no stated cost. `keep` and `join` name what is missing."""
    agent = Minimal()
    assert (agent.feature_dims, agent.batched, agent.dtype, agent.cost()) == ((128,), False, None, {})
    with pytest.raises(AgentError, match=r"needs keep\(indices\)"):
        agent.keep([0])
    with pytest.raises(AgentError, match="don't train together"):
        Minimal.join([agent, agent])


def test_the_hash_is_of_target_hyperparameters_and_source() -> None:
    """Neither the name nor the order of hyperparameters counts, and a list is as good as a tuple."""
    plain = Recipe("a", "m:C", {"x": [1, {"y": 2}], "z": True})
    assert plain.hash == Recipe("b", "m:C", {"z": True, "x": (1, {"y": 2})}).hash
    others = [
        Recipe("a", "m:C", {"x": [1, {"y": 3}], "z": True}),
        Recipe("a", "m:D", {"x": [1, {"y": 2}], "z": True}),
        Recipe("a", "m:C", {"x": [1, {"y": 2}], "z": True}, source="0" * 64),
        Recipe("a", "m:C", {"x": [1, {"y": 2}], "z": "true"}),
        Recipe("a", "m:C"),
    ]
    assert len({plain.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_the_hash_is_the_same_in_every_process() -> None:
    """Folders of runs are found again by it, so it must not depend on the order of Python's sets and hashes."""
    code = "from grokbench.agents import recipe; print(recipe('mlp', network={'hidden': [8]}).hash)"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT).stdout
        assert printed.strip() == recipe("mlp", network={"hidden": [8]}).hash


def test_another_optimizer_replaces_the_table(tmp_path: Path) -> None:
    """A table that names another optimizer, schedule or filter replaces the base's; names are compared loosely."""
    lion = recipe("transformer", optimizer={"name": "lion", "lr": 1e-4})
    assert lion.plain_hyperparameters["optimizer"] == {"name": "lion", "lr": 1e-4}
    assert lion.plain_hyperparameters["schedule"] == {"name": "constant", "warmup": 10}
    assert lion.name == "transformer-lion-lr-0.0001"
    cosine = {"name": "cosine", "warmup": 5, "steps": 100}
    same = recipe("transformer", optimizer={"name": "Adam_W", "lr": 1e-4}, schedule=cosine)
    assert same.plain_hyperparameters["optimizer"]["betas"] == [0.9, 0.98]
    assert same.plain_hyperparameters["schedule"] == cosine
    filtered = recipe("transformer_grokfast", gradient={"filter": "orthogonal"})
    assert filtered.plain_hyperparameters["gradient"] == {"filter": "orthogonal"}
    path = tmp_path / "lion.toml"
    path.write_text('extends = "transformer"\n[optimizer]\nname = "lion"\nlr = 1e-4\n', encoding="utf-8")
    assert find_recipe(str(path)).hash == lion.hash
    assert lion.packages == ("pytorch-optimizer",)
    assert same.packages == find_recipe("transformer").packages == ()


def test_an_optimizer_of_ones_own_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class in a file of the current folder, by its name or as a class, gives the same recipe with its file's hash."""
    (tmp_path / "my_lion.py").write_text(LION, encoding="utf-8")
    (tmp_path / "own.toml").write_text(
        'extends = "transformer"\n[optimizer]\ntarget = "my_lion:Lion"\nlr = 1e-3\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    by_name = find_recipe("own.toml")
    assert by_name.source == hashlib.sha256(LION.encode()).hexdigest()
    by_class = recipe("transformer", optimizer={"target": load_target("my_lion:Lion"), "lr": 1e-3})
    assert by_class.hash == by_name.hash
    assert by_class.name == "transformer-Lion-lr-0.001"
    assert by_class.plain_hyperparameters["optimizer"] == {"target": "my_lion:Lion", "lr": 1e-3}
    for each in (by_name, by_class, recipe(by_class, optimizer={"lr": 1e-4}), pickle.loads(pickle.dumps(by_class))):
        assert isinstance(each.make(), Agent)
        assert each.source == by_name.source
    assert recipe(by_name, optimizer={"name": "lion"}).source == ""


def test_an_optimizer_from_a_notebook_runs() -> None:
    """A class that no module has is kept with the recipe."""
    module = ModuleType("another_notebook")
    exec(LION, module.__dict__)
    kind: Any = module.__dict__["Lion"]
    kind.__module__ = "another_notebook"
    sys.modules["another_notebook"] = module
    mine = recipe("mlp", optimizer={"target": kind, "lr": 1e-3}, name="mine")
    del sys.modules["another_notebook"]
    assert isinstance(recipe(mine, training={"batch_size": 8}).make(), Agent)
    record = grokbench.run(mine, "add_mod11-0.6", seed=0, max_steps=20).record
    assert record.agent.source == mine.source != ""
    assert record.agent.hyperparameters["optimizer"]["target"] == "another_notebook:Lion"
