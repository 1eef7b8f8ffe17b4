"""Shards: members of a cohort that take their steps together, as a single batched computation.

The parameters of all members lie in a buffer (S, P), a row for each member. On CUDA a step is captured once as a CUDA graph
and replayed, if the optimizer's update can be. So everything that a step reads or writes keeps its place in memory, and no
operation waits for the host. An optimizer that asks for gradients itself has a shard for each member, and runs eagerly.

Shapes: S members, n training questions, N questions of the table, P numbers in a member's row.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from baselines.devices import to_device
from baselines.optimizers.layout import Layout
from baselines.optimizers.optimizer import CohortOptimizer
from baselines.optimizers.per_member import PerMember
from baselines.training.capture import captured
from baselines.training.data import Data
from baselines.training.hyperparameters import DTYPES
from baselines.training.losses import LOSSES
from baselines.training.method import Method
from grokbench.agents.passes import Passes

Memory = dict[str, dict[str, Tensor]]  # part of the method → its tensors: (S, …), or () for numbers that members share


class Shard:
    """S members of a cohort that take their steps together. Their methods differ in `PER_MEMBER` alone.

    Attributes:
        data: the members' questions and answers.
        minibatch_size: m, training questions per step and member.
        parameters: name → (S, …), views of the optimizer's buffer.
        memory: what gradient filter, projection and average keep.
        updates: the number of updates so far.
    """

    def __init__(self, methods: Sequence[Method], data: Data, *, num_symbols: int, seeds: Sequence[int]) -> None:
        self.method, self.network, self.training = methods[0], methods[0].network, methods[0].training
        self.data, self.device = data, data.answers.device
        self.minibatch_size = self.training.minibatch_size(data.num_train)
        self.generators = [Generator().manual_seed(seed) for seed in seeds]
        self.order = torch.empty(len(seeds), 0, dtype=torch.int64, device=self.device)  # (S, questions left in this pass)
        self.passes, self.updates = Passes(self.training.passes_per_step), 0
        self.optimizer, self.layout = self._start_optimizer(methods, num_symbols)
        self.memory = self._first_memory()
        self.prepare()

    def _start_optimizer(self, methods: Sequence[Method], num_symbols: int) -> tuple[CohortOptimizer, Layout]:
        """The optimizer of newly drawn parameters, and where they lie: hidden matrices first, which may be Muon's."""
        pairs = zip(methods, self.generators, strict=True)
        members = [method.network.init_params(num_symbols, generator) for method, generator in pairs]
        hidden = self.network.hidden_weights
        names = [*hidden, *(name for name in members[0] if name not in hidden)]
        layout = Layout.of({name: members[0][name].shape for name in names})
        values = layout.packed(members, dtype=DTYPES[self.training.dtype], device=self.device)  # (S, P)
        settings = [method.optimizer for method in methods]
        schedule = self.method.schedule
        return settings[0].start(settings, values, layout=layout, network=self.network, schedule=schedule), layout

    def _first_memory(self) -> Memory:
        method, values = self.method, self.optimizer.values
        memory: Memory = {}
        if method.gradient_filter:
            memory["filter"] = method.gradient_filter.start(values)
        if method.projection:
            memory["projection"] = method.projection.start(self.layout.views(values), self.network.fan_in_first)
        if method.average:
            memory["average"] = {"values": values.clone()}
        return memory

    @property
    def size(self) -> int:
        """The number S of members."""
        return len(self.generators)

    def prepare(self) -> None:
        """Allocate everything that a step reads and writes beside the optimizer's state. On CUDA capture the step."""
        values = self.optimizer.values
        self.gradients = torch.zeros_like(values)  # (S, P)
        self._gradient_views = self.layout.views(self.gradients)
        self.parameters = self._with_gradients(values)
        # (S, P) each, or (0, P) where the method has no such noise.
        self.noise = torch.zeros_like(values if self.method.noise else values[:0])
        self.noisy = torch.zeros_like(values if self._has_noisy_weights else values[:0])
        self._trained = self._with_gradients(self.noisy) if self._has_noisy_weights else self.parameters
        self._used = self.layout.in_use(self.device).to(values.dtype)  # (P,)
        self.loss = torch.zeros(self.size, dtype=values.dtype, device=self.device)  # (S,)
        self.index = torch.zeros(self.size, self.minibatch_size, dtype=torch.int64, device=self.device)  # (S, m)
        captures = self.device.type == "cuda" and self.optimizer.capturable
        self._take_step = captured(self._step, self._changing()) if captures else self._step

    def _with_gradients(self, rows: Tensor) -> dict[str, Tensor]:
        """The parameters that lie in `rows` (S, P), by name, for autograd."""
        return {name: view.requires_grad_() for name, view in self.layout.views(rows).items()}

    @property
    def _has_noisy_weights(self) -> bool:
        return self.method.noise is not None and self.method.noise.on == "weights"

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step writes."""
        remembered = [tensor for tensors in self.memory.values() for tensor in tensors.values()]
        return [*self.optimizer.state().values(), *remembered, self.gradients, self.noisy, self.loss]

    def learn(self, steps: int) -> Tensor:
        """Take so many steps, and return every member's loss (S,) at the last update."""
        self.passes.left += steps
        while self.passes.suffice:
            self._draw()
            if self.method.optimizer.needs_closure:
                self.passes.take(self._step_with_closure())
            else:
                self._take_step()
                self.passes.take(1)
            self.updates += 1
        return self.loss

    def _draw(self) -> None:
        """Draw the minibatch and the noise of the next update."""
        if self.minibatch_size < self.data.num_train:
            self.index.copy_(self._next_minibatch())
        if self.method.noise:
            self.noise.copy_(self.method.noise.draw(self.noise, self.generators)).mul_(self._used)

    def _step(self) -> None:
        """A forward and a backward pass and an update."""
        loss = self._pass()
        self.optimizer.step(self.gradients)
        self._finish_update()
        self.loss.copy_(loss)

    def _step_with_closure(self) -> int:
        """An update of a single member that makes as many passes as its optimizer asks for; returns their number."""
        assert isinstance(self.optimizer, PerMember)
        losses: list[Tensor] = []  # (1,) each

        def evaluate() -> Tensor:
            losses.append(self._pass())
            return losses[-1]

        passes = self.optimizer.step_with(evaluate, self.gradients)
        self._finish_update()
        if losses:
            self.loss.copy_(losses[0])
        return passes

    @torch.enable_grad()
    def _pass(self) -> Tensor:
        """A forward and a backward pass, which writes `gradients` (S, P); returns the loss (S,) of every member."""
        questions, answers = self.data.questions, self.data.answers
        if self.minibatch_size < self.data.num_train:
            questions, answers = self.data.minibatch(self.index)
        if self._has_noisy_weights:
            torch.add(self.optimizer.values, self.noise, out=self.noisy)
        loss = self.network.gradients(self._trained, questions, answers, LOSSES[self.training.loss], self._gradient_views)
        if self.method.noise and not self._has_noisy_weights:
            self.gradients.add_(self.noise)
        if self.method.gradient_filter:
            pairs = [(self._gradient_views[name], parameter) for name, parameter in self.parameters.items()]
            self.method.gradient_filter.apply(self.gradients, pairs, self.memory["filter"])
        return loss

    def _finish_update(self) -> None:
        """Project the weights, and average them."""
        if self.method.projection:
            self.method.projection.apply(self.parameters, self.memory["projection"], self.network.fan_in_first)
        if self.method.average:
            self.method.average.apply(self.memory["average"]["values"], self.optimizer.values)

    def _next_minibatch(self) -> Tensor:
        """The next m of the shuffled training questions, (S, m). A remainder below m is dropped."""
        if self.order.shape[1] < self.minibatch_size:
            orders = [torch.randperm(self.data.num_train, generator=generator) for generator in self.generators]
            self.order = to_device(torch.stack(orders), self.device)  # (S, n)
        index, self.order = self.order[:, : self.minibatch_size], self.order[:, self.minibatch_size :]
        return index

    @torch.no_grad()
    def show(self) -> tuple[Tensor, Tensor]:
        """Logits (S, N, q) and features (S, N, Σd) of the whole table, from the weights or their average."""
        with self.optimizer.evaluation():
            average = self.memory.get("average")
            parameters = self.layout.views(average["values"]) if average else self.parameters
            return self.network.forward(parameters, self.data.table)

    def keep(self, indices: Sequence[int]) -> None:
        """Continue with these members alone."""
        if len(indices) == self.size:
            return
        index = torch.tensor(indices, device=self.device)  # (s,)
        self.generators = [self.generators[i] for i in indices]
        self.data, self.order = self.data.take_members(index), self.order.index_select(0, index)
        self.optimizer.take_members(index)
        for tensors in self.memory.values():
            tensors.update({name: tensor.index_select(0, index) for name, tensor in tensors.items() if tensor.ndim})
        self.prepare()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, and the number of members."""
        generators = torch.stack([generator.get_state() for generator in self.generators])  # (S, bytes)
        counts = {"size": self.size, "updates": self.updates, "steps_left": self.passes.left}
        changing = {"optimizer": self.optimizer.state(), "memory": self.memory, "loss": self.loss}
        return {**counts, **changing, "order": self.order, "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.order = state["order"].to(self.device)
        self.updates, self.passes.left = state["updates"], state["steps_left"]
        self.loss.copy_(state["loss"])
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.clone())
        self.optimizer.load_state(state["optimizer"])
        for part, tensors in self.memory.items():
            for name, tensor in tensors.items():
                tensor.copy_(state["memory"][part][name])
