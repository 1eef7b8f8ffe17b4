"""TorchAgent: trains any module, by hand or by the runner, with a random state of its own, and resumes to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_optimizer import SAM, ScheduleFreeAdamW
from torch import Tensor, nn
from typing_extensions import override

import grokbench
from grokbench.agents import Spec
from grokbench.agents.torch_agent import TorchAgent, move
from grokbench.agents.trees import pack, unpack
from grokbench.errors import AgentError
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import spec_of

TASK = parse_id("add_mod11-0.6")


class Net(nn.Module):
    """An embedding, a hidden layer with dropout, and an output."""

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.embed, self.hidden, self.output = nn.Embedding(num_symbols, 8), nn.Linear(16, 32), nn.Linear(32, num_symbols)
        self.dropout = nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features."""
        features = self.dropout(self.hidden(self.embed(inputs).flatten(1)).relu())
        return self.output(features), features


class Small(TorchAgent):
    """AdamW on `Net`, in minibatches."""

    feature_dims = (32,)
    minibatch_size = 20

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = Net(spec.num_symbols)
        return net, torch.optim.AdamW(net.parameters(), lr=1e-2)


class Returning(nn.Module):
    """A module that returns some value instead of logits and features."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.value = value

    def forward(self, inputs: Tensor) -> object:
        """The value."""
        return self.value


class Wrong(Small):
    """Its module returns a value that it was given."""

    def __init__(self, value: object) -> None:
        self.value = value

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = Returning(self.value)
        return net, torch.optim.SGD(net.parameters(), lr=1.0)


def started(seed: int = 0, agent: TorchAgent | None = None) -> TorchAgent:
    """An agent on an instance of the task."""
    instance = make_instance(TASK, seed)
    agent = agent or Small()
    observation: dict[str, Any] = {"inputs": instance.shown_inputs.copy(), "targets": instance.targets.copy()}
    agent.reset(observation, spec_of([instance], (32,), batched=False))
    return agent


def test_it_learns_the_training_answers() -> None:
    """The loss falls, and most training answers are right in the end."""
    agent = started()
    first = agent.learn(1)["loss"]
    last = agent.learn(400)["loss"]
    assert last < first / 3
    instance = make_instance(TASK, 0)
    right = agent.act()["answers"].numpy() == instance.shown_answers
    assert right[instance.train].mean() > 0.9


class FullBatch(Small):
    """On all training questions at once."""

    minibatch_size = 0


def test_it_trains_as_a_loop_written_by_hand() -> None:
    """Seed, training questions, loss and updates are those of the plain loop in PyTorch's tutorial, to the bit."""
    instance = make_instance(TASK, 0)
    with torch.random.fork_rng():
        torch.manual_seed(instance.agent_seed)
        net = Net(11)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        inputs, answers = (torch.tensor(array[instance.train]) for array in (instance.shown_inputs, instance.shown_answers))
        for _ in range(5):
            loss = nn.functional.cross_entropy(net(inputs)[0], answers)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    agent = started(agent=FullBatch())
    assert torch.equal(agent.learn(5)["loss"], loss.detach())
    with torch.no_grad():
        logits, features = net.eval()(torch.tensor(instance.shown_inputs))
    action = agent.act()
    assert torch.equal(action["answers"], logits.argmax(1))
    assert torch.equal(action["features"], features)


class Recording(FullBatch):
    """Keeps the answers of every batch that it is given."""

    def __init__(self, minibatch_size: int) -> None:
        self.minibatch_size = minibatch_size
        self.batches: list[Tensor] = []

    @override
    def loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        self.batches.append(answers)
        return 2 * super().loss(logits, answers)


@pytest.mark.parametrize(("minibatch_size", "taken"), [(0, 72), (1, 1), (71, 71), (72, 72), (1000, 72)])
def test_a_minibatch_is_drawn_without_replacement(minibatch_size: int, taken: int) -> None:
    """Of 72 training questions, at most all of them, each at most once, and other questions at every step."""
    recording = started(agent=Recording(minibatch_size))
    assert isinstance(recording, Recording)
    recording.learn(8)
    assert [len(batch) for batch in recording.batches] == [taken] * 8
    assert recording.cost()["examples_per_step"] == taken
    counts = torch.bincount(recording.train_answers, minlength=11)
    assert all((torch.bincount(batch, minlength=11) <= counts).all() for batch in recording.batches)
    assert len({tuple(batch.tolist()) for batch in recording.batches}) > 1 or taken == 72


def test_a_loss_of_ones_own() -> None:
    """`loss` may be overridden, and what it returns is reported and minimized."""
    (plain, doubled) = (started(agent=agent).learn(1)["loss"] for agent in (FullBatch(), Recording(0)))
    assert doubled == 2 * plain


def test_exams_leave_training_as_it_is() -> None:
    """Acting turns dropout off and on again, draws nothing, and gives the same answers when repeated."""
    examined, alone = started(), started()
    for _ in range(3):
        examined.learn(4)
        first, second = examined.act(), examined.act()
        assert torch.equal(first["features"], second["features"])
        assert not first["features"].requires_grad
    alone.learn(12)
    assert torch.equal(alone.act()["features"], first["features"])


def test_a_reset_forgets_all_training() -> None:
    """The same object on another instance is as a new agent there."""
    agent = started(seed=0)
    agent.learn(5)
    again = started(seed=1, agent=agent)
    assert torch.equal(again.learn(3)["loss"], started(seed=1).learn(3)["loss"])


def test_its_dtype_is_the_modules() -> None:
    """The record states in which numbers an agent computed."""

    class Double(Small):
        """Trains in double precision."""

        @override
        def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
            net = Net(spec.num_symbols).double()
            return net, torch.optim.SGD(net.parameters(), lr=1e-2)

    assert (started().dtype, started(agent=Double()).dtype) == ("float32", "float64")


def test_a_module_in_bfloat16_runs(tmp_path: Path) -> None:
    """Numpy has no such numbers, and records need it."""

    class Half(Small):
        @override
        def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
            net = Net(spec.num_symbols).bfloat16()
            return net, torch.optim.SGD(net.parameters(), lr=1e-2)

    run = grokbench.run(Half, "add_mod11-0.6-to10", seed=0, out=tmp_path, device="cpu")
    assert (run.record.incomplete, run.record.provenance.dtype) == (None, "bfloat16")
    assert run.exams["loss"].notna().all()


def test_it_resumes_to_the_bit() -> None:
    """Minibatches and dropout go on where they were, through a checkpoint's bytes."""
    agent, resumed = started(), started()
    agent.learn(7)
    state = unpack(pack(agent.state_dict()))
    resumed.load_state_dict(state)
    assert torch.equal(agent.learn(9)["loss"], resumed.learn(9)["loss"])
    assert torch.equal(agent.act()["features"], resumed.act()["features"])


class Scheduled(Small):
    """A schedule, an average of the weights, a counter, and tensors: one that starts late, one that is a part of the model."""

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net, optimizer = super().build(spec)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        self.average = torch.optim.swa_utils.AveragedModel(net)
        self.updates, self.bias = 0, net.get_parameter("output.bias")
        return net, optimizer

    @override
    def update(self, closure: Callable[[], Tensor]) -> None:
        super().update(closure)
        self.schedule.step()
        self.average.update_parameters(self.model)
        self.updates += 1
        self.noise = torch.full((1,), float(self.updates))


def test_schedules_averages_and_counters_resume_too() -> None:
    """They belong to the state of training, wherever a subclass keeps them."""
    agent, resumed = Scheduled(), Scheduled()
    started(agent=agent).learn(7)
    started(agent=resumed)
    resumed.load_state_dict(unpack(pack(agent.state_dict())))
    assert torch.equal(agent.learn(9)["loss"], resumed.learn(9)["loss"])
    assert agent.optimizer.param_groups[0]["lr"] == resumed.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * 0.8**16)
    assert (resumed.updates, resumed.noise.item()) == (16, 16)
    assert resumed.bias is resumed.model.get_parameter("output.bias")
    for mine, theirs in zip(agent.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class LateAverage(Small):
    """Makes an average of the weights after the third update."""

    updates, average = 0, None

    @override
    def update(self, closure: Callable[[], Tensor]) -> None:
        super().update(closure)
        self.updates += 1
        if self.updates == 3:
            self.average = torch.optim.swa_utils.AveragedModel(self.model)


def test_state_that_is_made_while_it_learns_is_refused_at_the_next_checkpoint(tmp_path: Path) -> None:
    """A resumed agent would have nothing to load it into."""
    with pytest.raises(AgentError, match="make average in build or before"):
        grokbench.run(LateAverage, "add_mod11-0.6-to20", seed=0, out=tmp_path)


def test_an_optimizers_first_state_goes_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adagrad makes it with itself, before the module is moved. On CUDA a moved module keeps its parameters."""
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)  # here, too
    net = Net(TASK.num_symbols)
    optimizer = torch.optim.Adagrad(net.parameters(), lr=1e-2)
    move(net, optimizer, "meta")
    assert {state["sum"].device.type for state in optimizer.state.values()} == {"meta"}


def test_its_randomness_is_its_own() -> None:
    """It neither changes torch's random state nor reads it. Two agents that take turns learn what each learns alone."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    alone = started(seed=1).learn(10)["loss"]
    first, second = started(seed=0), started(seed=1)
    for _ in range(10):
        torch.rand(3)
        first.learn(1)
        loss = second.learn(1)["loss"]
    assert torch.equal(loss, alone)
    torch.manual_seed(5)
    assert torch.equal(before, torch.get_rng_state())
    started(seed=2).learn(3)
    assert torch.equal(before, torch.get_rng_state())


def test_its_cost() -> None:
    """Parameters, and the training questions of a step."""
    assert started().cost() == {"parameters": sum(p.numel() for p in Net(11).parameters()), "examples_per_step": 20}


@pytest.mark.parametrize(
    ("value", "kind"),
    [(torch.zeros(3, 11), "Tensor"), ((torch.zeros(3, 11),), "tuple"), ((torch.zeros(3, 11), None), "tuple"), ({}, "dict")],
)
def test_a_module_that_shows_no_features_is_explained(value: object, kind: str) -> None:
    """The error names the agent, and says what its module must return and what it returned."""
    with pytest.raises(AgentError, match=rf"the module of Wrong must return two tensors, logits.*, got {kind}"):
        started(agent=Wrong(value)).learn(1)


def test_by_hand_on_an_environment() -> None:
    """`start` resets the agent, and it takes the exams as in a run."""
    env = grokbench.make(TASK.id, feature_dims=(32,))
    observation, _ = env.reset(seed=3)
    agent = Small()
    agent.start(env)
    for step in (5, 10, 15):
        agent.learn(int(observation["steps_to_next_exam"]))
        observation, _, _, _, info = env.step(agent.act())
        assert info["step"] == step
    vector = grokbench.make_vec(TASK.id, 2)
    vector.reset(seed=0)
    with pytest.raises(AgentError, match="isn't batched"):
        agent.start(vector)


def test_a_batched_baseline_by_hand() -> None:
    """Only the arrays of a vector environment have a leading axis. The first member trains in the same way on both."""
    env, vector = grokbench.make(TASK.id, feature_dims=(256,)), grokbench.make_vec(TASK.id, 2, feature_dims=(256,))
    env.reset(seed=0)
    vector.reset(seed=0)
    single, several = (grokbench.recipe("mlp", training={"dtype": "float64"}).make() for _ in range(2))
    single.start(env)
    several.start(vector)
    report, reports = single.learn(10), several.learn(10)
    assert report is not None
    assert reports is not None
    assert report["loss"] == pytest.approx(reports["loss"][0], rel=1e-9)
    info, infos = env.step(single.act())[4], vector.step(several.act())[4]
    assert info["train_right"] == infos["train_right"][0]


def test_the_spec_of_an_environment() -> None:
    """Sizes from the task, the agent's seeds from the instances, and neither the task's name nor the instance's seed."""
    env = grokbench.make("add_mod11-0.6", feature_dims=(4, 8))
    env.reset(seed=7)
    spec = grokbench.Spec.of(env)
    assert (spec.num_symbols, spec.num_questions, spec.feature_dims, spec.batched) == (11, 121, (4, 8), False)
    assert spec.seed == make_instance(parse_id("add_mod11-0.6"), 7).agent_seed


class ByLBFGS(Small):
    """LBFGS with at most four passes an update, full batch, without dropout."""

    minibatch_size = 0
    passes_per_step = 5

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = Net(spec.num_symbols)
        net.dropout.p = 0.0
        return net, torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)


def test_a_closures_passes_are_steps() -> None:
    """An update begins only if as many steps are left as it can make passes; what is left over counts later."""
    agent = started(agent=ByLBFGS())
    assert agent.learn(4) == {}
    before = [parameter.detach().clone() for parameter in agent.model.parameters()]
    agent.learn(1)
    assert agent.passes.left == 1  # LBFGS has made four passes
    assert any(not torch.equal(old, new) for old, new in zip(before, agent.model.parameters(), strict=True))
    state = unpack(pack(agent.state_dict()))
    loss = agent.learn(8)["loss"]
    resumed = started(agent=ByLBFGS())
    resumed.load_state_dict(state)
    assert torch.equal(resumed.learn(8)["loss"], loss)


def test_more_passes_than_declared_are_refused() -> None:
    """The error names the number needed."""
    agent = ByLBFGS()
    agent.passes_per_step = 2
    with pytest.raises(AgentError, match=r"made 4 forward-backward passes, .* set passes_per_step = 4 or more"):
        started(agent=agent).learn(2)


class BySAM(ByLBFGS):
    """SAM, whose first pass comes before the call."""

    passes_per_step = 2

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = Net(spec.num_symbols)
        return net, SAM(net.parameters(), torch.optim.AdamW, lr=1e-2)

    @override
    def update(self, closure: Callable[[], Tensor]) -> None:
        closure()
        self.optimizer.step(closure)  # type: ignore[arg-type]


class ByScheduleFree(Small):
    """Schedule-free AdamW, which has modes."""

    @override
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = Net(spec.num_symbols)
        return net, ScheduleFreeAdamW(net.parameters(), lr=1e-2)


def test_sam_and_schedule_free_optimizers_train() -> None:
    """SAM spends two steps an update; a schedule-free optimizer answers in evaluation mode."""
    sam = started(agent=BySAM())
    first = sam.learn(2)["loss"]
    assert sam.learn(121)["loss"] < first
    assert sam.passes.left == 1
    free = started(agent=ByScheduleFree())
    free.learn(5)
    assert free.optimizer.param_groups[0]["train_mode"]
    free.act()
    assert not free.optimizer.param_groups[0]["train_mode"]
