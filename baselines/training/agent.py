"""The baselines' agent. It trains a cohort of S members; each member learns what it would learn alone, up to rounding."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, pairwise
from math import ceil
from typing import Any, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from baselines.devices import members_that_fit
from baselines.training.data import Data
from baselines.training.hyperparameters import DTYPES, PER_MEMBER
from baselines.training.method import Method
from baselines.training.shards import Shard
from baselines.training.threads import side_by_side
from grokbench.agents.agent import Agent, Spec
from grokbench.errors import AgentError

QUESTIONS_PER_SHARD = 1_024  # on CPU; about as many questions at once keep the processor busy and fit its cache
INTERRUPTIBLE = 50  # steps after which threads return, so that Ctrl-C is handled

T = TypeVar("T")


class NetworkAgent(Agent):
    """An agent that trains a network on the train questions. Members may differ in seed and in `PER_MEMBER` hyperparameters.

    Attributes:
        method: the method of every member, unless `methods` gives each its own.
        methods: the members' methods, for an agent made by `join`.
        shards: the members of the cohort, in order; those of a shard take their steps together.
    """

    batched = True

    def __init__(self, method: Method) -> None:
        self.method = method
        self.feature_dims = method.network.feature_dims
        self.dtype = method.training.dtype
        self.seeds_together = method.training.seeds_together
        self.methods: Sequence[Method] = ()

    @classmethod
    @override
    def join(cls, agents: Sequence[Agent]) -> "NetworkAgent":
        """An agent for a cohort in which every member has the method of its own agent.

        Raises:
            AgentError: the agents differ in more than `PER_MEMBER`; with Muon, in more than `init_scale`.
        """
        methods = [agent.method for agent in agents if isinstance(agent, NetworkAgent)]
        if any(method.shared != methods[0].shared for method in methods):
            raise AgentError(
                f"agents that train together may differ in nothing but {', '.join(PER_MEMBER)}, and with Muon in init_scale "
                "alone: run each recipe by itself"
            )
        joint = NetworkAgent(methods[0])
        joint.methods = methods
        return joint

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self.spec = spec
        on_cpu = spec.device == "cpu"
        self.dtype = "float32" if self.method.training.dtype == "tf32" and on_cpu else self.method.training.dtype
        if self.dtype == "tf32":
            torch.set_float32_matmul_precision("high")  # the loop puts it back, and the record states it
        inputs = torch.as_tensor(observation["inputs"]).to(spec.device)
        targets = torch.as_tensor(observation["targets"]).to(spec.device)
        self.inputs = inputs if spec.batched else inputs.unsqueeze(0)  # (S, N, L)
        self.targets = targets if spec.batched else targets.unsqueeze(0)  # (S, N)
        num_train = int((self.targets[0] != spec.num_symbols).sum())
        sizes = _even_sizes(len(spec.seeds), self._shard_count(num_train))
        self._within_memory(partial(self._start_shards, sizes))
        self.captured = None if on_cpu else all(shard.optimizer.capturable for shard in self.shards)

    def _shard_count(self, num_train: int) -> int:
        """The number of shards: as few as fit the cache on CPU. It doesn't depend on the number of threads.

        A closure computes a single member's gradients, so every member has a shard of its own.
        """
        members = len(self.spec.seeds)
        if self.method.optimizer.needs_closure:
            return members
        return ceil(members / self._largest_shard(num_train)) if self.spec.device == "cpu" else 1

    def _largest_shard(self, num_train: int) -> int:
        """The members whose minibatches fit the cache, at least 1."""
        return max(1, QUESTIONS_PER_SHARD // self.method.training.minibatch_size(num_train))

    def _start_shards(self, sizes: Sequence[int]) -> None:
        """Make shards of these sizes, with newly drawn parameters."""
        self.shards = [self._shard(slice(start, stop)) for start, stop in pairwise(accumulate(sizes, initial=0))]

    def _shard(self, members: slice) -> Shard:
        methods = self.methods or [self.method] * len(self.spec.seeds)
        network, dtype, num_symbols = self.method.network, DTYPES[self.method.training.dtype], self.spec.num_symbols
        data = Data.of(self.inputs[members], self.targets[members], num_symbols=num_symbols, network=network, dtype=dtype)
        return Shard(methods[members], data, num_symbols=num_symbols, seeds=self.spec.seeds[members])

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        losses = self._within_memory(partial(self._learn, steps))
        metrics = [shard.network.metrics(shard.parameters) for shard in self.shards]
        report = {name: torch.cat([values[name].detach() for values in metrics]) for name in metrics[0]}  # (S, layers) each
        if all(shard.updates for shard in self.shards):
            report["loss"] = torch.cat(losses)  # (S,)
        return {name: self._unbatched(values.cpu().numpy()) for name, values in report.items()}

    def _learn(self, steps: int) -> list[Tensor]:
        """Every shard's losses (S,) at the last of so many steps."""
        losses: list[Tensor] = []
        for start in range(0, steps, INTERRUPTIBLE):
            losses = side_by_side(partial(Shard.learn, steps=min(INTERRUPTIBLE, steps - start)), self.shards)
        return losses

    @override
    def act(self) -> dict[str, Tensor]:
        shown_by_shard = self._within_memory(lambda: side_by_side(Shard.show, self.shards))
        logits, features = map(torch.cat, zip(*shown_by_shard, strict=True))
        shown = {"answers": logits.argmax(-1), "features": features} | ({"logits": logits} if self.spec.logits else {})
        return {name: self._unbatched(values) for name, values in shown.items()}

    def _within_memory(self, compute: Callable[[], T]) -> T:
        """What `compute` returns. Raises AgentError with the members that fit if the memory of the GPU is too small."""
        with suppress(torch.OutOfMemoryError):
            return compute()
        # The error is gone, and with it the tensors in its traceback.
        members, self.shards = len(self.spec.seeds), []
        fit = members_that_fit(self._take_one_member_through)
        advice = f"About {fit} fit: set seeds_together = {fit} in [training]" if fit else "Not even one seed fits"
        raise AgentError(f"{members} seeds together need more memory than the GPU has left. {advice}")

    def _take_one_member_through(self) -> None:
        """A step and an exam of the first member alone."""
        shard = self._shard(slice(0, 1))
        shard.learn(self.method.training.passes_per_step)
        shard.show()

    def _unbatched(self, values: Any) -> Any:
        """`values` (S, …), without the leading axis S if the spec isn't batched."""
        return values if self.spec.batched else values[0]

    @override
    def keep(self, indices: Sequence[int]) -> None:
        """Continue with these members of the cohort alone."""
        edges = pairwise(accumulate((shard.size for shard in self.shards), initial=0))
        remaining = []
        for shard, (start, stop) in zip(self.shards, list(edges), strict=True):
            if kept := [i - start for i in indices if start <= i < stop]:
                shard.keep(kept)
                remaining.append(shard)
        self.shards = remaining

    @override
    def cost(self) -> dict[str, int]:
        """Each member's parameters, and the FLOPs and examples of a step. A backward pass counts as two forward passes."""
        shard = self.shards[0]
        parameters = sum(parameter[0].numel() for parameter in shard.parameters.values())
        flops = 3 * self.method.network.flops(self.spec.num_symbols, shard.minibatch_size)
        return {"parameters": parameters, "flops_per_step": flops, "examples_per_step": shard.minibatch_size}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"shards": [shard.state_dict() for shard in self.shards]}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start_shards([saved["size"] for saved in state["shards"]])
        for shard, saved in zip(self.shards, state["shards"], strict=True):
            shard.load_state_dict(saved)


def _even_sizes(members: int, parts: int) -> list[int]:
    """The sizes of so many parts of the cohort. They differ by at most 1."""
    return [members // parts + (part < members % parts) for part in range(parts)]
