"""Recipes: immutable, changed by `recipe`, found by name, file and class, with a hash of the code they run."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typing_extensions import override

from grokbench.agents import Agent, Recipe, Spec, find_recipe, recipe, recipe_names
from grokbench.agents.recipes import is_baseline, source_hash
from grokbench.errors import AgentError, RecipeError
from tests.support.agents import AddingAgent, ReportingAgent


def test_a_recipe_is_immutable_to_any_depth() -> None:
    """Neither the recipe nor its tables and lists can be changed, and a plain copy changes nothing."""
    mlp = find_recipe("mlp")
    before = mlp.hash
    for change in ("mlp.hyperparameters['training']['weight_decay'] = 9", "mlp.hyperparameters['network']['hidden'][0] = 9"):
        with pytest.raises(TypeError, match="does not support item assignment"):
            exec(change)
    mlp.plain_hyperparameters["training"]["weight_decay"] = 9
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
    changed = recipe("transformer", training={"weight_decay": 3.0})
    base = find_recipe("transformer")
    assert changed.name == "transformer-weight_decay-3.0"
    expected = base.plain_hyperparameters
    expected["training"]["weight_decay"] = 3.0
    assert changed.plain_hyperparameters == expected
    assert changed.hash != base.hash
    assert recipe(changed, name="mine", training={"weight_decay": 1.0}).hash == base.hash


def test_a_changed_name_can_be_shown() -> None:
    """A long list of changes is cut to sixty characters, and odd characters are replaced."""
    many = recipe("mlp", training={"learning_rate": 1e-2, "weight_decay": 1e-3, "warmup": 11, "batch_size": 12})
    assert len(many.name) <= 60
    assert recipe("mlp", gradient={"filter": "a/b c"}).name == "mlp-filter-a-b-c"


def test_a_file_extends_a_recipe(tmp_path: Path) -> None:
    """The file says what differs, and the result is what `recipe` gives."""
    path = tmp_path / "tuned.toml"
    path.write_text('extends = "transformer"\n[training]\nlearning_rate = 1e-2\nweight_decay = 3.0\n', encoding="utf-8")
    extended = find_recipe(str(path))
    assert extended.name == "tuned"
    assert extended.hash == recipe("transformer", training={"learning_rate": 1e-2, "weight_decay": 3.0}).hash


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs a line agent"),
        ('agent = "a:b"\nextends = "mlp"', "needs a line agent"),
        ("agent = 3", 'such as agent = "module:Class", got 3'),
        ('extends = "mpl"', "did you mean 'mlp'"),
        ("a = ", "not valid TOML"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, why: str) -> None:
    """The error says what the file needs."""
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=why):
        find_recipe(str(path))


def test_a_class_is_a_recipe() -> None:
    """A class needs no importable file, and its keyword arguments are the hyperparameters."""
    reporting = recipe(ReportingAgent, report=2)
    assert (reporting.name, reporting.target) == ("ReportingAgent-report-2", "tests.support.agents:ReportingAgent")
    agent = reporting.make()
    assert isinstance(agent, ReportingAgent)
    assert agent.report == 2
    assert reporting.source == find_recipe("tests.support.agents:AddingAgent").source


def notebook_class(body: str) -> type[Agent]:
    """A class whose source text is gone, as of a notebook."""
    module = ModuleType("a_notebook")
    sys.modules["a_notebook"] = module
    code = (
        f"from tests.support.agents import AddingAgent\nclass Mine(AddingAgent):\n    def learn(self, steps):\n        {body}\n"
    )
    exec(code, module.__dict__)
    made: type[Agent] = module.__dict__["Mine"]
    return made


def test_code_without_a_file_has_a_hash() -> None:
    """Equal code has equal hashes, and other code or other constants another one."""
    first, same, other = (notebook_class(f"return {{'loss': {number}}}") for number in (1.5, 1.5, 2.5))
    assert source_hash(first) == source_hash(same)
    assert source_hash(first) != source_hash(other)
    assert isinstance(recipe(first).make(), AddingAgent)


class NoAgent:
    """Has the five methods, but isn't an agent."""


def test_what_makes_no_agent_is_refused() -> None:
    """The message says what to derive from, what is accepted, or where was looked."""
    with pytest.raises(AgentError, match=r"not an agent: derive it from grokbench\.Agent"):
        find_recipe(f"{__name__}:NoAgent").make()
    with pytest.raises(RecipeError, match="it takes report"):
        recipe(ReportingAgent, wrong=1).make()
    with pytest.raises(AgentError, match=r"looked in .* too"):
        find_recipe("nowhere:Agent")
    with pytest.raises(RecipeError, match="a class derived from"):
        recipe(NoAgent)  # type: ignore[arg-type]


def test_finding_an_agent_leaves_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the current folder is found, and `sys.path` is as before."""
    (tmp_path / "an_agent.py").write_text("from tests.support.agents import AddingAgent as Mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    assert isinstance(find_recipe("an_agent:Mine").make(), AddingAgent)
    assert sys.path == before


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
    """Not batched, one layer of 128 features, no cost; keep and join say what is missing."""
    agent = Minimal()
    assert (agent.feature_dims, agent.batched, agent.dtype, agent.cost()) == ((128,), False, None, {})
    with pytest.raises(AgentError, match=r"needs keep\(indices\)"):
        agent.keep([0])
    with pytest.raises(AgentError, match="don't train together"):
        Minimal.join([agent, agent])


def test_a_recipe_states_its_fields() -> None:
    """A recipe by hand has no source, and hashes target and hyperparameters alone."""
    plain = Recipe("a", "m:C", {"x": [1, {"y": 2}]})
    assert plain.hash == Recipe("b", "m:C", {"x": (1, {"y": 2})}).hash
    assert plain.hash != Recipe("a", "m:C", {"x": [1, {"y": 3}]}).hash
