"""Members of a batch that take their steps together: one buffer of parameters, one step, captured as a CUDA graph on CUDA."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor

from baselines.networks.network import Parameters
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon, MuonSettings
from baselines.training.losses import LOSSES
from baselines.training.method import DTYPES, Method, Training

ALIGNMENT = 16  # numbers; where a parameter may start in its row


class Shard:
    """S members that take their steps together, as one batched computation.

    On CUDA a step is captured once as a CUDA graph and replayed: all that it reads and writes stays where it is, and nothing in
    it waits for the host. The members' methods differ in `PER_MEMBER` alone.

    Attributes:
        batch: training cells per step and member.
        parameters: name → (S, …), views of the rows of the optimizer.
    """

    def __init__(
        self, methods: Sequence[Method], symbols: int, inputs: Tensor, targets: Tensor, seeds: tuple[int, ...]
    ) -> None:
        network, training = methods[0].network, methods[0].training
        self.network, self.filter, self.device = network, methods[0].gradient_filter, inputs.device
        self.loss_of = LOSSES[training.loss]
        dtype = DTYPES[training.dtype]
        seen = (targets != symbols).nonzero()[:, 1].view(len(seeds), -1)  # (S, cells)
        self.table = network.encode(inputs, symbols, dtype)
        seen_inputs = inputs.gather(1, seen.unsqueeze(-1).expand(-1, -1, inputs.shape[-1]))
        self.questions = network.encode(seen_inputs, symbols, dtype)
        self.answers = targets.gather(1, seen)  # (S, cells)
        self.minibatch_size = training.minibatch_size(seen.shape[1])
        self.generators = [Generator().manual_seed(seed) for seed in seeds]
        self.order = torch.empty(len(seeds), 0, dtype=torch.int64, device=self.device)  # (S, cells left in this pass)
        drawn = [one.network.init_params(symbols, generator) for one, generator in zip(methods, self.generators, strict=True)]
        ordered = [*network.hidden_weights, *(name for name in drawn[0] if name not in network.hidden_weights)]
        self.shapes = {name: drawn[0][name].shape for name in ordered}
        values = torch.zeros(len(seeds), sum(map(_room, self.shapes.values())), dtype=dtype, device=self.device)
        for name, view in self._views(values).items():
            view.copy_(torch.stack([one[name] for one in drawn]))
        self.optimizer = self._optimizer(values, [one.training for one in methods], methods[0].muon)
        self.memory = self.filter.start(values) if self.filter else {}
        self._settle()

    def _optimizer(self, values: Tensor, trainings: Sequence[Training], muon: MuonSettings | None) -> AdamW | Muon:
        """AdamW for all of `values` (S, P), or for those that aren't Muon's."""
        columns = self._columns()
        start = columns[self.network.hidden_weights[-1]].stop if muon else 0
        rates, decays = ([getattr(one, name) for one in trainings] for name in ("learning_rate", "weight_decay"))
        adamw = AdamW(values[:, start:], rates, decays, trainings[0].betas, trainings[0].warmup)
        if not muon:
            return adamw
        return Muon(values, [(columns[name], self.shapes[name]) for name in self.network.hidden_weights], muon, adamw)

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
        """Make what a step reads and writes besides the optimizer's state, and on CUDA capture the step."""
        self.gradients = torch.zeros_like(self.optimizer.values)
        self._gradient_views = self._views(self.gradients)
        self.parameters = {name: view.requires_grad_() for name, view in self._views(self.optimizer.values).items()}
        self.loss = torch.zeros(self.size, dtype=self.gradients.dtype, device=self.device)
        self.index = torch.zeros(self.size, self.minibatch_size, dtype=torch.int64, device=self.device)
        changes = [*self.optimizer.state().values(), *self.memory.values(), self.gradients, self.loss]
        self._take_step = captured(self._step, changes) if self.device.type == "cuda" else self._step

    def learn(self, steps: int) -> Tensor:
        """Take so many steps; the last one's loss for every member, (S,)."""
        for _ in range(steps):
            if self.minibatch_size < self.answers.shape[1]:
                self.index.copy_(self._next_batch())
            self._take_step()
        return self.loss

    def _step(self) -> None:
        """One forward and backward pass and one update."""
        questions, answers = self.questions, self.answers
        if self.minibatch_size < answers.shape[1]:
            questions, answers = questions.pick(self.index), answers.gather(1, self.index)
        loss = self.network.gradients(self.parameters, questions, answers, self.loss_of, self._gradient_views)
        if self.filter:
            pairs = [(self._gradient_views[name], parameter) for name, parameter in self.parameters.items()]
            self.filter.apply(self.gradients, pairs, self.memory)
        self.optimizer.step(self.gradients)
        self.loss.copy_(loss)

    def _next_batch(self) -> Tensor:
        """The next part of the shuffled cells, (S, batch); what is left when too few remain for a batch is dropped."""
        if self.order.shape[1] < self.minibatch_size:
            orders = [torch.randperm(self.answers.shape[1], generator=generator) for generator in self.generators]
            self.order = torch.stack(orders).to(self.device)
        index, self.order = self.order[:, : self.minibatch_size], self.order[:, self.minibatch_size :]
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

        def take(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, index)

        self.generators = [self.generators[i] for i in indices]
        self.table, self.questions = self.table.take_members(take), self.questions.take_members(take)
        self.answers, self.order = take(self.answers), take(self.order)
        self.optimizer.take_members(take)
        self.memory = {name: take(tensor) if tensor.ndim else tensor for name, tensor in self.memory.items()}
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
