"""Shards: members of a cohort that take their steps together, as a single batched computation.

The parameters of all members lie in a buffer (S, P), a row for each member. On CUDA a step is captured once as a CUDA graph
and replayed. So everything that a step reads or writes keeps its place in memory, and no operation waits for the host.

Shapes: S members, n training questions, N questions of the table, P numbers in a member's row, L numbers in a question.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Self

import torch
from torch import Generator, Tensor

from baselines.networks.network import Network, Parameters
from baselines.networks.questions import Rows
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from baselines.training.hyperparameters import DTYPES
from baselines.training.losses import LOSSES
from baselines.training.method import Method

ALIGNMENT = 16  # numbers; every parameter starts at a multiple of it in its row
TRIAL_STEPS = 3  # before a capture, as PyTorch's documentation of CUDA graphs advises


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in a member's row of the buffer (S, P).

    Attributes:
        shapes: name → the shape of a single member's parameter.
        columns: name → its columns, without padding.
        width: P, padding included.
    """

    shapes: Mapping[str, torch.Size]
    columns: Mapping[str, slice]
    width: int

    @staticmethod
    def of(shapes: Mapping[str, torch.Size]) -> "Layout":
        """Parameters of these shapes side by side, in this order, each padded to a multiple of `ALIGNMENT`."""
        columns, start = {}, 0
        for name, shape in shapes.items():
            columns[name] = slice(start, start + prod(shape))
            start += ceil(prod(shape) / ALIGNMENT) * ALIGNMENT
        return Layout(shapes, columns, start)

    def views(self, rows: Tensor) -> Parameters:
        """The parameters that lie in `rows` (S, P): name → (S, …)."""
        return {name: rows[:, self.columns[name]].view(len(rows), *shape) for name, shape in self.shapes.items()}

    def packed(self, members: Sequence[Parameters], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """A new buffer (S, P) with the parameters of S single members."""
        rows = torch.zeros(len(members), self.width, dtype=dtype, device=device)  # (S, P)
        for name, view in self.views(rows).items():
            view.copy_(torch.stack([parameters[name] for parameters in members]))  # (S, …)
        return rows


@dataclass(frozen=True)
class Data:
    """What S members learn from and are examined on.

    Attributes:
        table: all questions, N for each member.
        questions: the training questions, n for each member.
        answers: the answers of the training questions, (S, n).
    """

    table: Rows
    questions: Rows
    answers: Tensor

    @staticmethod
    def of(inputs: Tensor, targets: Tensor, *, num_symbols: int, network: Network[Any], dtype: torch.dtype) -> "Data":
        """The data of a table: `inputs` (S, N, L) and `targets` (S, N), where `num_symbols` marks a held-out answer."""
        train = (targets != num_symbols).nonzero()[:, 1].view(len(targets), -1)  # (S, n)
        train_inputs = inputs.gather(1, train.unsqueeze(-1).expand(-1, -1, inputs.shape[-1]))  # (S, n, L)
        return Data(
            table=network.encode(inputs, num_symbols, dtype),
            questions=network.encode(train_inputs, num_symbols, dtype),
            answers=targets.gather(1, train),
        )

    @property
    def num_train(self) -> int:
        """The number n of training questions."""
        return self.answers.shape[1]

    def minibatch(self, index: Tensor) -> tuple[Rows, Tensor]:
        """The training questions at `index` (S, m), and their answers (S, m)."""
        return self.questions.pick(index), self.answers.gather(1, index)

    def take_members(self, indices: Tensor) -> Self:
        """The data of these members, `indices` (s,)."""
        table, questions = self.table.take_members(indices), self.questions.take_members(indices)
        return type(self)(table, questions, self.answers.index_select(0, indices))


class Shard:
    """S members of a cohort that take their steps together. Their methods differ in `PER_MEMBER` alone.

    Attributes:
        data: the members' questions and answers.
        minibatch_size: m, training questions per step and member.
        parameters: name → (S, …), views of the optimizer's buffer.
    """

    def __init__(self, methods: Sequence[Method], data: Data, *, num_symbols: int, seeds: Sequence[int]) -> None:
        self.network, self.training, self.filter = methods[0].network, methods[0].training, methods[0].gradient_filter
        self.data, self.device = data, data.answers.device
        self.minibatch_size = self.training.minibatch_size(data.num_train)
        self.generators = [Generator().manual_seed(seed) for seed in seeds]
        self.order = torch.empty(len(seeds), 0, dtype=torch.int64, device=self.device)  # (S, questions left in this pass)
        self.optimizer, self.layout = self._optimizer(methods, num_symbols)
        self.memory = self.filter.start(self.optimizer.values) if self.filter else {}
        self.prepare()

    def _optimizer(self, methods: Sequence[Method], num_symbols: int) -> tuple[AdamW | Muon, Layout]:
        """The optimizer of newly drawn parameters, and where they lie: hidden matrices first, which may be Muon's."""
        pairs = zip(methods, self.generators, strict=True)
        members = [method.network.init_params(num_symbols, generator) for method, generator in pairs]
        hidden = self.network.hidden_weights
        names = [*hidden, *(name for name in members[0] if name not in hidden)]
        layout = Layout.of({name: members[0][name].shape for name in names})
        values = layout.packed(members, dtype=DTYPES[self.training.dtype], device=self.device)  # (S, P)
        muon = methods[0].muon
        if not muon:
            return _adamw(methods, values), layout
        adamw = _adamw(methods, values[:, layout.columns[hidden[-1]].stop :])
        matrices = [(layout.columns[name], layout.shapes[name]) for name in hidden]
        return Muon(values, matrices=matrices, settings=muon, adamw=adamw), layout

    @property
    def size(self) -> int:
        """The number S of members."""
        return len(self.generators)

    def prepare(self) -> None:
        """Allocate everything that a step reads and writes beside the optimizer's state. On CUDA capture the step."""
        values = self.optimizer.values
        self.gradients = torch.zeros_like(values)  # (S, P)
        self._gradient_views = self.layout.views(self.gradients)
        self.parameters = {name: view.requires_grad_() for name, view in self.layout.views(values).items()}
        self.loss = torch.zeros(self.size, dtype=values.dtype, device=self.device)  # (S,)
        self.index = torch.zeros(self.size, self.minibatch_size, dtype=torch.int64, device=self.device)  # (S, m)
        self._take_step = captured(self._step, self._changing()) if self.device.type == "cuda" else self._step

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step writes."""
        return [*self.optimizer.state().values(), *self.memory.values(), self.gradients, self.loss]

    def learn(self, steps: int) -> Tensor:
        """Take so many steps, and return every member's loss (S,) at the last step."""
        for _ in range(steps):
            if self.minibatch_size < self.data.num_train:
                self.index.copy_(self._next_minibatch())
            self._take_step()
        return self.loss

    def _step(self) -> None:
        """A forward and a backward pass and an update."""
        questions, answers = self.data.questions, self.data.answers
        if self.minibatch_size < self.data.num_train:
            questions, answers = self.data.minibatch(self.index)
        loss = self.network.gradients(self.parameters, questions, answers, LOSSES[self.training.loss], self._gradient_views)
        if self.filter:
            pairs = [(self._gradient_views[name], parameter) for name, parameter in self.parameters.items()]
            self.filter.apply(self.gradients, pairs, self.memory)
        self.optimizer.step(self.gradients)
        self.loss.copy_(loss)

    def _next_minibatch(self) -> Tensor:
        """The next m of the shuffled training questions, (S, m). A remainder below m is dropped."""
        if self.order.shape[1] < self.minibatch_size:
            orders = [torch.randperm(self.data.num_train, generator=generator) for generator in self.generators]
            self.order = torch.stack(orders).to(self.device)  # (S, n)
        index, self.order = self.order[:, : self.minibatch_size], self.order[:, self.minibatch_size :]
        return index

    @torch.no_grad()
    def show(self) -> tuple[Tensor, Tensor]:
        """Answers (S, N) to the whole table, and features (S, N, Σd)."""
        logits, features = self.network.forward(self.parameters, self.data.table)  # (S, N, q), (S, N, Σd)
        return logits.argmax(-1), features

    def keep(self, indices: Sequence[int]) -> None:
        """Continue with these members alone."""
        if len(indices) == self.size:
            return
        index = torch.tensor(indices, device=self.device)  # (s,)
        self.generators = [self.generators[i] for i in indices]
        self.data, self.order = self.data.take_members(index), self.order.index_select(0, index)
        self.optimizer.take_members(index)
        self.memory = {name: tensor.index_select(0, index) if tensor.ndim else tensor for name, tensor in self.memory.items()}
        self.prepare()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, and the number of members."""
        generators = torch.stack([generator.get_state() for generator in self.generators])  # (S, bytes)
        changing = {"optimizer": self.optimizer.state(), "filter": self.memory}
        return {"size": self.size, **changing, "order": self.order, "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.order = state["order"].to(self.device)
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.clone())
        for name, tensor in self.optimizer.state().items():
            tensor.copy_(state["optimizer"][name])
        for name, tensor in self.memory.items():
            tensor.copy_(state["filter"][name])


def _adamw(methods: Sequence[Method], values: Tensor) -> AdamW:
    """AdamW on `values` (S, columns), with each member's learning rate and weight decay."""
    trainings = [method.training for method in methods]
    return AdamW(
        values,
        rates=[training.learning_rate for training in trainings],
        decays=[training.weight_decay for training in trainings],
        betas=trainings[0].betas,
        warmup=trainings[0].warmup,
    )


def captured(step: Callable[[], None], changes: Sequence[Tensor]) -> Callable[[], None]:
    """A function that replays `step` from a CUDA graph. `changes`, which `step` writes, are as before the capture."""
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        rehearse(step, changes)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()  # recorded, not executed
    replay: Callable[[], None] = graph.replay
    return replay


def rehearse(step: Callable[[], None], changes: Iterable[Tensor]) -> None:
    """Take `TRIAL_STEPS` steps, in which libraries allocate memory, then restore the tensors `changes` in place."""
    saved = [(tensor, tensor.clone()) for tensor in changes]
    for _ in range(TRIAL_STEPS):
        step()
    with torch.no_grad():
        for tensor, before in saved:
            tensor.copy_(before)
