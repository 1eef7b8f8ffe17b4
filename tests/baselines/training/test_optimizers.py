"""Optimizers of any class in the baselines' engine: alone as in company, resumed to the bit, and as a plain torch loop."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer import SAM, Lion, ScheduleFreeAdamW
from torch import Tensor, nn
from typing_extensions import override

from baselines.networks.questions import Images
from baselines.training.agent import NetworkAgent
from grokbench.agents.recipes import recipe
from grokbench.errors import AgentError, RecipeError
from tests.support.baselines import MUON, started, started_agent, through_a_file

DIGITS = "mnist5k-n60"


class SignDescent(torch.optim.Optimizer):
    """A user's own: w ← w − lr · sign(mean gradient), with a momentum that is kept in the state."""

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @override
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step along the sign of the mean gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(mean.sign(), alpha=group["lr"])


COSINE = {"name": "cosine", "warmup": 3, "steps": 9}
TABLES: dict[str, dict[str, Any]] = {
    "adamw": {"schedule": COSINE},
    "muon": {"optimizer": MUON, "schedule": {"name": "linear", "warmup": 3, "steps": 9}},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "schedule": COSINE},
    "lion": {"optimizer": {"name": "Lion", "lr": 1e-3, "weight_decay": 1.0}},
    "soap": {"optimizer": {"name": "soap", "lr": 1e-3, "precondition_frequency": 2}},
    "shampoo": {"optimizer": {"name": "shampoo", "lr": 1e-3}},
    "schedule_free": {"optimizer": {"name": "schedule-free_adamw", "lr": 1e-2}},
    "own": {"optimizer": {"target": SignDescent, "lr": 1e-3}},
    "lbfgs": {"optimizer": {"name": "lbfgs", "lr": 0.5, "max_iter": 2}, "training": {"passes_per_step": 3}},
    "sam": {"optimizer": {"name": "sam", "base_optimizer": "adamw", "lr": 1e-3}, "training": {"passes_per_step": 2}},
    "everything": {
        "optimizer": {"name": "lion", "lr": 1e-3},
        "gradient": {"filter": "grokfast_ema", "decay": 0.9, "amplification": 1.0},
        "projection": {"norm": "rows"},
        "noise": {"scale": 0.01},
        "average": {"decay": 0.9},
    },
    "weight_noise": {"noise": {"scale": 0.01, "on": "weights"}, "projection": {"norm": "global"}, "average": {"decay": 0.9}},
}


def begun(seeds: list[int], tables: dict[str, Any], name: str = "mlp", **training: Any) -> NetworkAgent:
    """An agent with these tables, in float64, on these seeds."""
    others = {key: table for key, table in tables.items() if key != "training"}
    return started(name, seeds, tables=others, **{**tables.get("training", {}), **training})


@pytest.mark.parametrize("change", sorted(TABLES))
def test_members_learn_as_alone_and_resume_to_the_bit(change: str, tmp_path: Path) -> None:
    """Together as alone, through `keep`, an exam and a checkpoint in the middle of a pass over the questions."""
    tables, name = TABLES[change], "transformer" if change in ("muon", "everything", "own") else "mlp"
    together, alone = (begun(seeds, tables, name, batch_size=16) for seeds in ([0, 1, 2], [2]))
    plain = begun([2], {}, name, batch_size=16)
    together.learn(7)
    together.act()
    together.keep([0, 2])
    saved = through_a_file(together, tmp_path)
    restored = begun([0, 2], tables, name, batch_size=16)
    restored.load_state_dict(saved)
    losses = together.learn(8)["loss"]
    np.testing.assert_array_equal(losses, restored.learn(8)["loss"])
    shown, shown_again = together.act()["features"], restored.act()["features"]
    assert torch.equal(shown, shown_again)
    alone.learn(7)
    assert losses[1] == pytest.approx(alone.learn(8)["loss"][0], rel=1e-9)
    torch.testing.assert_close(shown[1], alone.act()["features"][0], rtol=1e-7, atol=1e-9)
    plain.learn(15)
    assert not torch.allclose(shown[1], plain.act()["features"][0], rtol=1e-5)


def test_members_may_differ_in_their_learning_rate() -> None:
    """Learning rate and weight decay of a class by name too are each member's own."""
    recipes = [recipe("mlp", training={"dtype": "float64"}, optimizer={"name": "lion", "lr": lr}) for lr in (1e-3, 1e-4)]
    joint = started_agent(NetworkAgent.join([each.make() for each in recipes]), [0, 0])
    alone = started_agent(recipes[1].make(), [0])
    assert joint.learn(6)["loss"][1] == pytest.approx(alone.learn(6)["loss"][0], rel=1e-9)


class Plain:
    """A deep MLP of `nn.Linear` layers with the weights of an agent's only member, trained by torch alone."""

    def __init__(self, agent: NetworkAgent) -> None:
        shard = agent.shards[0]
        assert isinstance(shard.data.questions, Images)
        self.x, self.targets = shard.data.questions.pixels[0], shard.data.answers[0]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([784, *agent.feature_dims, 10]):
            layers += [nn.Linear(wide, narrow, dtype=torch.float64), nn.ReLU()]
        self.module = nn.Sequential(*layers[:-1])
        for name, parameter in self.module.named_parameters():
            kind, layer = name.rpartition(".")[2], int(name.partition(".")[0]) // 2
            parameter.data.copy_(shard.parameters[f"{kind}{layer}"][0])

    def closure(self) -> Tensor:
        """Cross-entropy, with gradients."""
        self.module.zero_grad()
        loss = nn.functional.cross_entropy(self.module(self.x), self.targets)
        torch.autograd.backward(loss)
        return loss.detach()

    def assert_weights_of(self, agent: NetworkAgent) -> None:
        """The module has the agent's weights, to rounding."""
        for name, parameter in self.module.named_parameters():
            own = agent.shards[0].parameters[f"{name.rpartition('.')[2]}{int(name.partition('.')[0]) // 2}"][0]
            torch.testing.assert_close(own.detach(), parameter.detach(), rtol=1e-8, atol=1e-11)


def deep(tables: dict[str, Any], **training: Any) -> NetworkAgent:
    """A small deep MLP on images, full batch, with cross-entropy, in float64."""
    network = {"depth": 3, "width": 12, "init_scale": 1.0}
    changes: dict[str, Any] = {"network": network, "training": {"batch_size": 0, "loss": "cross_entropy", **training}, **tables}
    changes["training"]["dtype"] = "float64"
    return started_agent(recipe("deep_mlp", **changes).make(), [3], task=DIGITS)


@pytest.mark.parametrize("name", ["sgd", "lion"])
def test_steps_are_those_of_a_plain_loop(name: str) -> None:
    """Ten steps end where torch's module and the optimizer's own class end, warm-up included."""
    arguments: dict[str, Any] = {"sgd": {"lr": 0.05, "momentum": 0.9}, "lion": {"lr": 1e-3, "weight_decay": 0.3}}[name]
    agent = deep({"optimizer": {"name": name, **arguments}, "schedule": {"name": "constant", "warmup": 4}})
    plain = Plain(agent)
    kind: Any = {"sgd": torch.optim.SGD, "lion": Lion}[name]
    optimizer = kind(plain.module.parameters(), **arguments)
    for step in range(1, 11):
        optimizer.param_groups[0]["lr"] = arguments["lr"] * min(1, step / 4)
        plain.closure()
        optimizer.step()
    agent.learn(10)
    plain.assert_weights_of(agent)


def test_lbfgs_is_that_of_a_plain_loop() -> None:
    """Updates with several passes; passes that are left over before an exam count for later updates."""
    agent = deep({"optimizer": {"name": "lbfgs", "lr": 0.3, "max_iter": 4}}, passes_per_step=5)
    plain = Plain(agent)
    optimizer: Any = torch.optim.LBFGS(plain.module.parameters(), lr=0.3, max_iter=4)
    assert "loss" not in agent.learn(3)  # no update fits in yet
    plain.assert_weights_of(agent)
    report = agent.learn(20)  # 23 passes: four for an update, while five are left
    for _ in range(5):
        before = float(optimizer.step(plain.closure))
    assert agent.shards[0].updates == 5
    assert agent.shards[0].passes.left == 3
    assert report["loss"][0] == pytest.approx(before)
    plain.assert_weights_of(agent)


def test_sam_is_that_of_a_plain_loop() -> None:
    """SAM expects gradients before the call, which are its first pass of two."""
    agent = deep({"optimizer": {"name": "sam", "base_optimizer": "sgd", "lr": 0.05, "rho": 0.1}}, passes_per_step=2)
    plain = Plain(agent)
    optimizer: Any = SAM(plain.module.parameters(), torch.optim.SGD, rho=0.1, lr=0.05)
    agent.learn(11)
    for _ in range(5):
        plain.closure()
        optimizer.step(plain.closure)
    plain.assert_weights_of(agent)
    assert agent.shards[0].passes.left == 1


def test_schedule_free_answers_in_evaluation_mode() -> None:
    """The exam sees the averaged weights, and training goes on as if there had been none."""
    agent, unexamined = (deep({"optimizer": {"name": "schedulefreeadamw", "lr": 1e-2}}) for _ in (0, 1))
    plain = Plain(agent)
    optimizer: Any = ScheduleFreeAdamW(plain.module.parameters(), lr=1e-2)
    optimizer.train()
    agent.learn(5)
    for _ in range(5):
        plain.closure()
        optimizer.step()
    optimizer.eval()
    logits = plain.module(agent.shards[0].data.table.pixels[0])  # type: ignore[attr-defined]
    assert torch.equal(agent.act()["answers"][0], logits.argmax(-1))
    with agent.shards[0].optimizer.evaluation():
        plain.assert_weights_of(agent)
    unexamined.learn(5)
    np.testing.assert_array_equal(agent.learn(4)["loss"], unexamined.learn(4)["loss"])


def test_the_optimizer_sees_matrices_as_torch_has_them() -> None:
    """Matrices of products come as (fan-out, fan-in), look-up tables as (symbols, width)."""
    shapes: list[list[tuple[int, ...]]] = []

    class Looking(SignDescent):
        def __init__(self, params: Any, lr: float) -> None:
            params = list(params)
            shapes.append([tuple(parameter.shape) for parameter in params])
            super().__init__(params, lr)

    begun([0], {"network": {"hidden": [6]}, "optimizer": {"target": Looking, "lr": 1e-3}})
    assert shapes[-1] == [(22, 6), (11, 6)]
    assert started("transformer", [0]).method.network.fan_in_first[-2:] == ("mlp_out", "unembed")


class Forgetful(SignDescent):
    """Keeps its momentum outside of the state."""

    @override
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step, with a mean that no checkpoint holds."""
        self.means = getattr(self, "means", {})
        for parameter in self.param_groups[0]["params"]:
            mean = self.means.setdefault(parameter, torch.zeros_like(parameter)).lerp_(parameter.grad, 0.1)
            parameter.sub_(mean, alpha=0.1)


class Counting(SignDescent):
    """Counts its updates outside of the state, and acts on the count late."""

    updates = 0

    @override
    def step(self, closure: Any = None) -> Any:
        """Step, with a smaller learning rate after the hundredth."""
        self.updates += 1
        self.param_groups[0]["lr"] *= 0.1 if self.updates == 100 else 1.0
        return super().step()


class Unstorable(SignDescent):
    """Keeps a set in its state."""

    @override
    def step(self, closure: Any = None) -> Any:
        """Remember something that no checkpoint can hold."""
        super().step()
        self.state[self.param_groups[0]["params"][0]]["seen"] = object()


class Nothing:
    """No optimizer at all."""


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimizer": {"name": "lyon"}}, "an optimizer 'lyon'; did you mean .*'lion'"),
        ({"optimizer": {"name": 3}}, "name must be text, got 3"),
        ({"optimizer": {"name": "lion", "learning": 1}}, "lion doesn't know learning: its hyperparameters are betas, "),
        ({"optimizer": {"name": "sam", "lr": 1.0}}, "sam lacks base_optimizer"),
        ({"optimizer": {"name": "sgd", "lr": -1.0}}, r"sgd can't be made: ValueError: Invalid learning rate"),
        ({"optimizer": {"name": "sgd", "target": SignDescent}}, r"\[optimizer\] needs name = .*, or target"),
        ({"optimizer": {"target": "nowhere:Lion"}}, "can't load 'nowhere:Lion'"),
        ({"optimizer": {"target": 3}}, "target must be a class, or its name as .*, got 3"),
        ({"optimizer": {"target": Nothing}}, "a class with the interface of torch"),
        ({"optimizer": {"target": Forgetful}}, "goes on differently from its own state_dict"),
        ({"optimizer": {"target": Counting}}, "changes updates, which its state_dict lacks"),
        ({"optimizer": {"target": Unstorable}}, "no checkpoint can hold: state_dict holds a object at /state/0/seen"),
        ({"optimizer": {"name": "lbfgs"}}, "lbfgs makes . forward-backward passes .* set passes_per_step = . or more"),
        ({"training": {"passes_per_step": 2}}, "make one pass in an update"),
        ({"training": {"learning_rate": 1e-3}}, r"\[training\] doesn't know learning_rate: .*set \[optimizer\] lr instead"),
        ({"training": {"weight_decay": 1.0}}, r"set \[optimizer\] weight_decay instead of weight_decay"),
        ({"optimizer": {"warmup": 3}}, r"set \[schedule\] warmup instead"),
        ({"schedule": {"name": "cosin"}}, r"\[schedule\] needs name = one of .*; did you mean 'cosine'"),
        ({"schedule": {"name": "linear", "warmup": 9, "steps": 9}}, "steps must be above warmup = 9, got 9"),
        ({"schedule": {"name": "constant", "warmup": 9, "final": 0.1}}, r"\[schedule\] doesn't know final"),
        ({"optimizer": {"name": "a2grad"}}, "a2grad has no lr for .* to change"),
        ({"average": {"decay": 1.0}}, "decay must be a number in"),
        ({"noise": {"scale": 1.0, "on": "answers"}}, "on must be one of gradient, weights, got 'answers'"),
    ],
)
def test_mistakes_are_named_before_anything_runs(tables: dict[str, Any], message: str) -> None:
    """What is wrong, and what is expected."""
    with pytest.raises((AgentError, RecipeError), match=message):
        recipe("transformer", **tables).make()


def test_names_of_parameters_are_checked() -> None:
    """A projection of a parameter that the network doesn't have is refused before anything runs."""
    with pytest.raises(RecipeError, match=r"\[projection\] names nothing: the parameters are layer0, layer1"):
        recipe("mlp", projection={"norm": "rows", "names": ["nothing"]}).make()


class Decaying(SignDescent):
    """Has a learning rate that falls from the tenth update on, and keeps all of that in its groups."""

    @override
    def step(self, closure: Any = None) -> Any:
        """Step."""
        group = self.param_groups[0]
        group["updates"] = group.get("updates", 0) + 1
        group["lr"] *= 0.5 if group["updates"] > 9 else 1.0
        return super().step()


def test_an_optimizers_own_schedule_is_never_undone_in_silence() -> None:
    """`[schedule]` sets the learning rate before every step. Without a schedule the optimizer's own counts."""
    agent = begun([0], {"optimizer": {"target": Decaying}, "schedule": {"name": "constant", "warmup": 5}})
    agent.learn(8)
    with pytest.raises(AgentError, match=r'changes its learning rate itself, .* set name = "constant" and warmup = 0'):
        agent.learn(5)
    begun([0], {"optimizer": {"target": Decaying}, "schedule": {"name": "constant", "warmup": 0}}).learn(20)


class Greedy(SignDescent):
    """Makes two passes in an update, and four from the tenth update on."""

    @override
    def step(self, closure: Any = None) -> Any:
        """Call the closure, and step."""
        self.state[self.param_groups[0]["params"][0]].setdefault("step", torch.zeros(())).add_(1)
        updates = int(self.state[self.param_groups[0]["params"][0]]["step"])
        losses = [closure() for _ in range(2 if updates < 10 else 4)]
        super().step()
        return losses[0]


def test_an_update_with_too_many_passes_ends_the_run() -> None:
    """The error names the number of passes that would have been enough."""
    agent = begun([0], {"optimizer": {"target": Greedy}, "training": {"passes_per_step": 3}})
    agent.learn(19)
    with pytest.raises(AgentError, match=r"made 4 .* passes, and passes_per_step declares 3: set passes_per_step = 4 or more"):
        agent.learn(20)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pytorch-optimizer the message says how to install it."""
    monkeypatch.setattr("baselines.optimizers.by_name.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"torch.optim has no optimizer 'lion': `pip install -e '\.\[optimizers\]'`"):
        recipe("mlp", optimizer={"name": "lion"}).make()
    recipe("mlp", optimizer={"name": "NAdam"}).make()
