"""Optimizers of any class with torch's interface: an instance for each member, with its own state and norms.

An instance sees its member's parameters as a module would have them. Networks store the matrices of products as (fan-in,
fan-out); the instance gets them as (fan-out, fan-in), as `nn.Linear` has them, so that an optimizer that tells inputs from
outputs by the axes does as its authors meant. The instances own copies of the parameters, contiguous in this form. Copying
takes about 1 % of a step, and optimizers that flatten gradients by `view` work.

Shapes: S members, P numbers in a member's row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import Parameter
from typing_extensions import override

from baselines.networks.network import Network
from baselines.optimizers.layout import Layout
from baselines.optimizers.optimizer import CohortOptimizer, Settings
from baselines.optimizers.schedules import Schedule
from grokbench.errors import AgentError

MAY_DIFFER = ("lr", "weight_decay")  # arguments that may differ within a cohort


@dataclass(frozen=True)
class Calls:
    """How an optimizer's `step` is called.

    Attributes:
        closure: with a function that computes loss and gradients anew.
        gradients_first: gradients are there before the call, and count as a pass, as SAM expects it.
    """

    closure: bool = False
    gradients_first: bool = False


@dataclass(frozen=True)
class ClassSettings(Settings):
    """An optimizer's class and its arguments.

    Attributes:
        kind: the class.
        arguments: keyword arguments beside the parameters.
        calls: how `step` is called.
    """

    kind: type[Any]
    arguments: Mapping[str, Any] = field(hash=False)
    calls: Calls = Calls()

    @property
    @override
    def shared(self) -> Self:
        return replace(self, arguments={name: value for name, value in self.arguments.items() if name not in MAY_DIFFER})

    @property
    @override
    def needs_closure(self) -> bool:
        return self.calls.closure

    def make(self, parameters: Sequence[Parameter]) -> Any:
        """A new optimizer of these parameters, in training mode where it has modes."""
        optimizer = self.kind(list(parameters), **self.arguments)
        set_mode(optimizer, "train")
        return optimizer

    @override
    def start(
        self, members: Sequence[Any], values: Tensor, *, layout: Layout, network: Network[Any], schedule: Schedule
    ) -> "PerMember":
        return PerMember(values, layout, fan_in_first=network.fan_in_first, members=members, schedule=schedule)


def set_mode(optimizer: Any, mode: str) -> None:
    """Call `train` or `eval` of an optimizer that has such modes, as schedule-free ones do."""
    if callable(switch := getattr(optimizer, mode, None)):
        switch()


class PerMember(CohortOptimizer):
    """An optimizer's instance for each member.

    Attributes:
        rows: the parameters as the instances have them, (S, P).
        slopes: their gradients, (S, P).
        updates: the number of steps taken.
        optimizers: an instance for each member.
    """

    capturable = False

    def __init__(
        self,
        values: Tensor,
        layout: Layout,
        *,
        fan_in_first: Sequence[str],
        members: Sequence[ClassSettings],
        schedule: Schedule,
    ) -> None:
        self.values, self.layout, self.fan_in_first, self.schedule = values, layout, fan_in_first, schedule
        self.calls, self.clock, self.updates = members[0].calls, 0, 0
        self.rows, self.slopes = torch.zeros_like(values), torch.zeros_like(values)  # (S, P) each
        self._connect()
        self.parameters = [[Parameter(view) for view in views] for views in self._member_views(self.rows)]
        self._copy(self.values, self.rows)
        self.optimizers = [member.make(own) for member, own in zip(members, self.parameters, strict=True)]
        self.peaks = [[group.get("lr") for group in optimizer.param_groups] for optimizer in self.optimizers]

    @override
    def step(self, gradients: Tensor) -> None:
        self._begin()
        self._give_gradients(gradients)
        for optimizer in self.optimizers:
            optimizer.step()
        self._end(passes=1)

    def step_with(self, evaluate: Callable[[], Tensor], gradients: Tensor) -> int:
        """Take a step of a single member that asks for gradients itself, and return how many passes it made.

        Args:
            evaluate: makes a forward and a backward pass at `values`: writes `gradients`, and returns the loss (1,).
            gradients: where it writes them, (1, P).
        """
        passes = 0

        def closure() -> Tensor:
            nonlocal passes
            passes += 1
            self._copy(self.rows, self.values, back=True)
            loss = evaluate()
            self._give_gradients(gradients)
            return loss[0].clone()

        self._begin()
        if self.calls.gradients_first:
            closure()
        self.optimizers[0].step(closure)
        self._end(passes=passes)
        return passes

    def _begin(self) -> None:
        self._copy(self.values, self.rows)
        if not self.schedule.changes:
            return
        for group, rate in self._scheduled():
            group["lr"] = rate

    def _scheduled(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Every group of every member's parameters, and the learning rate that the schedule has for the update."""
        factor = self.schedule.at(self.clock + 1)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            yield from ((group, peak * factor) for group, peak in zip(optimizer.param_groups, peaks, strict=True))

    def _check_rates(self) -> None:
        """Raise AgentError where an update has changed the learning rate, which the schedule sets anew before the next one."""
        if any(group["lr"] != rate for group, rate in self._scheduled()):
            raise AgentError(
                "the optimizer changes its learning rate itself, and [schedule] sets it before every step: set "
                'name = "constant" and warmup = 0 in [schedule]'
            )

    def _end(self, *, passes: int) -> None:
        if self.schedule.changes:
            self._check_rates()
        self._copy(self.rows, self.values, back=True)
        self.updates += 1
        self.clock += passes

    def _give_gradients(self, gradients: Tensor) -> None:
        """Make `gradients` (S, P) the gradients of the instances' parameters."""
        self._copy(gradients, self.slopes)
        for own, views in zip(self.parameters, self._slope_views, strict=True):
            for parameter, view in zip(own, views, strict=True):
                parameter.grad = view

    def _connect(self) -> None:
        """Make the views of the buffers that every step uses."""
        self._theirs = self.layout.transposed(self.fan_in_first)
        self._slope_views = self._member_views(self.slopes)

    def _member_views(self, rows: Tensor) -> list[list[Tensor]]:
        """The parameters that lie in `rows` (S, P) as the instances have them, member by member."""
        views = self._theirs.views(rows).values()  # (S, …) each
        return [[view[member] for view in views] for member in range(len(rows))]

    @torch.no_grad()
    def _copy(self, source: Tensor, target: Tensor, *, back: bool = False) -> None:
        """Copy parameters (S, P) in the network's form into the instances' form, or back."""
        of_source, of_target = (self._theirs, self.layout) if back else (self.layout, self._theirs)
        sources, targets = of_source.views(source), of_target.views(target)
        for name, view in targets.items():
            view.copy_(sources[name].mT if name in self.fan_in_first else sources[name])

    @contextmanager
    @override
    def evaluation(self) -> Iterator[None]:
        if not any(callable(getattr(optimizer, "eval", None)) for optimizer in self.optimizers):
            yield
            return
        before = self.rows.clone(), self.values.clone()  # leaving the mode again would round
        for optimizer in self.optimizers:
            set_mode(optimizer, "eval")
        self._copy(self.rows, self.values, back=True)
        try:
            yield
        finally:
            for optimizer in self.optimizers:
                set_mode(optimizer, "train")
            with torch.no_grad():
                self.rows.copy_(before[0])
                self.values.copy_(before[1])

    @override
    def state(self) -> dict[str, Any]:
        members = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"values": self.values, "clock": self.clock, "updates": self.updates, "members": members}

    @override
    def load_state(self, saved: dict[str, Any]) -> None:
        self.values.copy_(saved["values"])
        self.clock, self.updates = saved["clock"], saved["updates"]
        self._copy(self.values, self.rows)
        for optimizer, member in zip(self.optimizers, saved["members"], strict=True):
            optimizer.load_state_dict(member)
            set_mode(optimizer, "train")

    @override
    def take_members(self, indices: Tensor) -> None:
        chosen = indices.tolist()
        self.values, self.rows, self.slopes = (
            buffer.index_select(0, indices) for buffer in (self.values, self.rows, self.slopes)
        )
        self.parameters, self.optimizers, self.peaks = (
            [items[member] for member in chosen] for items in (self.parameters, self.optimizers, self.peaks)
        )
        self._connect()
        for own, views in zip(self.parameters, self._member_views(self.rows), strict=True):
            for parameter, view in zip(own, views, strict=True):
                parameter.data = view
