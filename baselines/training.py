"""The training loop of the baselines: S members at once, seeds of one task, each as it would train alone, to rounding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.adamw import AdamW
from baselines.filters import Filter
from baselines.losses import LOSSES
from baselines.memory import keep_freed_memory
from baselines.muon import Muon, MuonSettings
from baselines.networks import Network, Parameters
from baselines.threads import side_by_side
from grokbench.agents import Agent, Spec

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}
CPU_CELLS = 1_024  # about as many training cells at once keep a CPU busy from its cache; more members would only spill it
INTERRUPTIBLE = 50  # steps that threads take before Ctrl-C is heard
PER_MEMBER = ("init_scale", "learning_rate", "weight_decay")  # hyperparameters that may differ within a batch
ALIGNMENT = 16  # numbers; where a parameter may start in its row


@dataclass(frozen=True)
class Training:
    """Hyperparameters of the training.

    Attributes:
        learning_rate: AdamW's step size after warm-up.
        weight_decay: AdamW's decoupled decay, on every parameter.
        betas: AdamW's two averaging rates.
        warmup: updates over which the learning rate rises linearly.
        batch_size: most training cells per step; 0 takes all. At most half of the training cells (Power et al.).
        loss: `cross_entropy`, `mse` (against one-hot answers) or `stablemax`.
        dtype: `float32`, `float64`, or `tf32`: float32 whose matrix products CUDA may round to TF32.
        seeds_together: most seeds trained as one batch.
    """

    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: int
    batch_size: int
    loss: str
    dtype: str
    seeds_together: int

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    def batch(self, cells: int) -> int:
        """Training cells per step, of `cells` in all."""
        return cells if not self.batch_size else max(1, min(self.batch_size, cells // 2))


class NetworkAgent(Agent):
    """An agent that trains a network on the seen cells; batched over seeds, and over `PER_MEMBER` hyperparameters.

    AdamW, unless Muon is chosen for the matrices; a filter may change the gradients first.

    Attributes:
        feature_dims: the layers that it shows.
        dtype: what it computes in.
        seeds_together: most seeds that it takes as one batch.
        cohorts: the members of the batch, in order, by those that take their steps together.
    """

    batched = True

    def __init__(
        self, network: Network[Any], training: Training, gradient_filter: Filter | None = None, muon: MuonSettings | None = None
    ) -> None:
        if muon and not network.matrices:
            raise ValueError(f"Muon updates hidden layers' matrices, and {type(network).__name__} has none")
        self.network = network
        self.training = training
        self.gradient_filter = gradient_filter
        self.muon = muon
        self.feature_dims = network.feature_dims
        self.dtype = training.dtype
        self.seeds_together = training.seeds_together
        self.followed: Sequence[NetworkAgent] = ()

    @staticmethod
    def together(agents: "Sequence[NetworkAgent]") -> "NetworkAgent":
        """One agent for a batch whose members follow `agents`, each its own.

        Raises:
            ValueError: they differ in more than `PER_MEMBER`.
        """
        first = agents[0]
        if any(agent._shared() != first._shared() for agent in agents) or (first.muon and len(set(agents)) > 1):
            raise ValueError(f"agents that train together differ in nothing but {', '.join(PER_MEMBER)}, and use no Muon")
        joint = NetworkAgent(first.network, first.training, first.gradient_filter, first.muon)
        joint.followed = agents
        return joint

    def _shared(self) -> list[Any]:
        """What all members of a batch have in common."""
        parts = [self.network, self.training, self.gradient_filter, self.muon]
        return [part and replace(part, **{name: 1.0 for name in PER_MEMBER if hasattr(part, name)}) for part in parts]  # type: ignore[type-var]

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self.spec = spec
        on_cpu = spec.device == "cpu"
        if on_cpu:
            keep_freed_memory()
        self.dtype = "float32" if self.training.dtype == "tf32" and on_cpu else self.training.dtype
        torch.backends.cuda.matmul.allow_tf32 = self.dtype == "tf32"
        self.inputs = torch.from_numpy(observation["inputs"]).to(spec.device)  # (S, N, L)
        self.targets = torch.from_numpy(observation["targets"]).to(spec.device)  # (S, N)
        cells = int((observation["targets"][0] != spec.symbols).sum())
        self._gather(_even(len(spec.seeds), self._cohorts(cells) if on_cpu else 1))

    def _cohorts(self, cells: int) -> int:
        """How many cohorts keep a CPU's threads equally busy, none of them more than its cache can hold."""
        members, threads = len(self.spec.seeds), torch.get_num_threads()
        size = max(1, CPU_CELLS // self.training.batch(cells))
        return min(members, -(-members // (size * threads)) * threads) if members > size else 1

    def _gather(self, sizes: list[int]) -> None:
        """Start anew with cohorts of these sizes."""
        followed = self.followed or [self] * len(self.spec.seeds)
        edges = pairwise(accumulate(sizes, initial=0))
        rows = [slice(start, stop) for start, stop in edges]
        self.cohorts = [Cohort(followed[r], self.spec, self.inputs[r], self.targets[r], self.spec.seeds[r]) for r in rows]

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        for start in range(0, steps, INTERRUPTIBLE):
            block = min(INTERRUPTIBLE, steps - start)
            losses = side_by_side(lambda cohort: cohort.learn(block), self.cohorts)  # noqa: B023
        watched = [cohort.network.watch(cohort.parameters) for cohort in self.cohorts]
        report = {name: torch.cat([one[name].detach() for one in watched]).cpu().numpy() for name in watched[0]}
        return {"loss": torch.cat(losses).cpu().numpy(), **report}

    @override
    def act(self) -> dict[str, Tensor]:
        answers, features = zip(*side_by_side(Cohort.show, self.cohorts), strict=True)
        return {"answers": torch.cat(answers), "features": torch.cat(features)}

    def keep(self, indices: list[int]) -> None:
        """Go on with these members of the batch alone."""
        staying, start = [], 0
        for cohort in self.cohorts:
            mine = [i - start for i in indices if start <= i < start + cohort.size]
            start += cohort.size
            if mine:
                cohort.keep(mine)
                staying.append(cohort)
        self.cohorts = staying

    def cost(self) -> dict[str, int]:
        """Per seed: parameters, and the FLOPs (backward counted as two forwards) and examples of one step."""
        cohort = self.cohorts[0]
        parameters = sum(parameter[0].numel() for parameter in cohort.parameters.values())
        flops = 3 * self.network.flops(self.spec.symbols, cohort.batch)
        return {"parameters": parameters, "flops_per_step": flops, "examples_per_step": cohort.batch}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"cohorts": [cohort.state_dict() for cohort in self.cohorts]}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._gather([one["size"] for one in state["cohorts"]])
        for cohort, one in zip(self.cohorts, state["cohorts"], strict=True):
            cohort.load_state_dict(one)


class Cohort:
    """S members that take their steps together, as one batched computation.

    On CUDA a step is captured once as a CUDA graph and replayed: all that it reads and writes stays where it is, and nothing in
    it waits for the host.

    Attributes:
        batch: training cells per step and member.
        parameters: name → (S, …), views of the rows of the optimiser.
    """

    def __init__(
        self, followed: Sequence[NetworkAgent], spec: Spec, inputs: Tensor, targets: Tensor, seeds: tuple[int, ...]
    ) -> None:
        agent, symbols = followed[0], spec.symbols
        network, training = agent.network, agent.training
        self.network, self.filter, self.device = network, agent.gradient_filter, inputs.device
        self.loss_of = LOSSES[training.loss]
        dtype = DTYPES[training.dtype]
        seen = (targets != symbols).nonzero()[:, 1].view(len(seeds), -1)  # (S, cells)
        self.table = network.encode(inputs, symbols, dtype, training=False)
        seen_inputs = inputs.gather(1, seen.unsqueeze(-1).expand(-1, -1, inputs.shape[-1]))
        self.questions = network.encode(seen_inputs, symbols, dtype, training=True)
        self.answers = targets.gather(1, seen)  # (S, cells)
        self.batch = training.batch(seen.shape[1])
        self.generators = [Generator().manual_seed(seed) for seed in seeds]
        self.order = torch.empty(len(seeds), 0, dtype=torch.int64, device=self.device)  # (S, cells left in this pass)
        drawn = [one.network.draw(symbols, generator) for one, generator in zip(followed, self.generators, strict=True)]
        ordered = [*network.matrices, *(name for name in drawn[0] if name not in network.matrices)]
        self.shapes = {name: drawn[0][name].shape for name in ordered}
        values = torch.zeros(len(seeds), sum(map(_room, self.shapes.values())), dtype=dtype, device=self.device)
        for name, view in self._views(values).items():
            view.copy_(torch.stack([one[name] for one in drawn]))
        self.optimizer = self._optimizer(values, [one.training for one in followed], agent.muon)
        self.memory = self.filter.start(values) if self.filter else {}
        self._settle()

    def _optimizer(self, values: Tensor, trainings: Sequence[Training], muon: MuonSettings | None) -> AdamW | Muon:
        """AdamW for all of `values` (S, P), or for those that aren't Muon's."""
        columns = self._columns()
        start = columns[self.network.matrices[-1]].stop if muon else 0
        rates, decays = ([getattr(one, name) for one in trainings] for name in ("learning_rate", "weight_decay"))
        adamw = AdamW(values[:, start:], rates, decays, trainings[0].betas, trainings[0].warmup)
        if not muon:
            return adamw
        return Muon(values, [(columns[name], self.shapes[name]) for name in self.network.matrices], muon, adamw)

    @property
    def size(self) -> int:
        """The number S of members."""
        return len(self.generators)

    def _columns(self) -> dict[str, slice]:
        """Where each parameter lies in a row, its padding left out."""
        starts = accumulate(map(_room, self.shapes.values()), initial=0)
        return {n: slice(start, start + prod(s)) for (n, s), start in zip(self.shapes.items(), starts, strict=False)}

    def _views(self, rows: Tensor) -> Parameters:
        """The parameters that lie in `rows` (S, P): name → (S, …)."""
        return {name: rows[:, c].view(len(rows), *self.shapes[name]) for name, c in self._columns().items()}

    def _settle(self) -> None:
        """Make what a step reads and writes besides the optimiser's state, and on CUDA capture the step."""
        self.gradients = torch.zeros_like(self.optimizer.values)
        self._gradient_views = self._views(self.gradients)
        self.parameters = {name: view.requires_grad_() for name, view in self._views(self.optimizer.values).items()}
        self._leaves = list(self.parameters.values())
        self.loss = torch.zeros(self.size, dtype=self.gradients.dtype, device=self.device)
        self.index = torch.zeros(self.size, self.batch, dtype=torch.int64, device=self.device)
        changes = [*self.optimizer.state().values(), *self.memory.values(), self.gradients, self.loss]
        self._take_step = captured(self._step, changes) if self.device.type == "cuda" else self._step

    def learn(self, steps: int) -> Tensor:
        """Take so many steps; the last one's loss for every member, (S,)."""
        for _ in range(steps):
            if self.batch < self.answers.shape[1]:
                self.index.copy_(self._next_batch())
            self._take_step()
        return self.loss

    def _step(self) -> None:
        """One forward and backward pass and one update."""
        questions, answers = self.questions, self.answers
        if self.batch < answers.shape[1]:
            questions, answers = questions.pick(self.index), answers.gather(1, self.index)
        logits = self.network.logits(self.parameters, questions)
        loss, gradient = self.loss_of(logits.detach(), answers)
        for name, found in zip(self.parameters, torch.autograd.grad(logits, self._leaves, gradient), strict=True):
            self._gradient_views[name].copy_(found)
        if self.filter:
            pairs = [(self._gradient_views[name], parameter) for name, parameter in self.parameters.items()]
            self.filter.apply(self.gradients, pairs, self.memory)
        self.optimizer.step(self.gradients)
        self.loss.copy_(loss)

    def _next_batch(self) -> Tensor:
        """The next part of the shuffled cells, (S, batch); what is left when too few remain for a batch is dropped."""
        if self.order.shape[1] < self.batch:
            orders = [torch.randperm(self.answers.shape[1], generator=generator) for generator in self.generators]
            self.order = torch.stack(orders).to(self.device)
        index, self.order = self.order[:, : self.batch], self.order[:, self.batch :]
        return index

    @torch.no_grad()
    def show(self) -> tuple[Tensor, Tensor]:
        """Answers (S, N) to the whole table and features (S, N, Σd)."""
        logits, features = self.network.forward(self.parameters, self.table)
        return logits.argmax(-1), features

    def keep(self, indices: list[int]) -> None:
        """Go on with these members alone."""
        if len(indices) == self.size:
            return
        index = torch.tensor(indices, device=self.device)

        def select(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, index)

        self.generators = [self.generators[i] for i in indices]
        self.table, self.questions = self.table.select(select), self.questions.select(select)
        self.answers, self.order = select(self.answers), select(self.order)
        self.optimizer.select(select)
        self.memory = {name: select(tensor) if tensor.ndim else tensor for name, tensor in self.memory.items()}
        self._settle()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        generators = torch.stack([generator.get_state() for generator in self.generators])
        changing = {"optimizer": self.optimizer.state(), "filter": self.memory}
        return {"size": self.size, **changing, "order": self.order, "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.order = state["order"].to(self.device)
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.clone())
        for name, tensor in self.optimizer.state().items():
            tensor.copy_(state["optimizer"][name])
        for name, tensor in self.memory.items():
            tensor.copy_(state["filter"][name])


def _even(members: int, parts: int) -> list[int]:
    """So many members in so many parts, as even as can be."""
    return [members // parts + (part < members % parts) for part in range(parts)]


def captured(step: Callable[[], None], changes: list[Tensor]) -> Callable[[], None]:
    """`step` as a CUDA graph to replay; the trial steps that capture needs leave `changes` as they were."""
    before = [tensor.clone() for tensor in changes]
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
        for tensor, saved in zip(changes, before, strict=True):
            tensor.copy_(saved)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


def _room(shape: torch.Size) -> int:
    """The numbers that a parameter takes up in a row, so that the next one starts aligned."""
    return -(-prod(shape) // ALIGNMENT) * ALIGNMENT
