"""The agent of the baselines: S members at once, seeds of one task, each trained as it would be alone, to rounding."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from baselines.networks.network import Network
from baselines.optimizers.gradient_filters import Filter
from baselines.optimizers.muon import MuonSettings
from baselines.training.method import PER_MEMBER, Method, Training
from baselines.training.shards import Shard
from baselines.training.threads import side_by_side
from grokbench.agents.agent import Agent, Spec

CPU_CELLS = 1_024  # about as many training cells at once keep a CPU busy from its cache; more members would only spill it
INTERRUPTIBLE = 50  # steps that threads take before Ctrl-C is heard


class NetworkAgent(Agent):
    """An agent that trains a network on the seen cells; batched over seeds, and over `PER_MEMBER` hyperparameters.

    Attributes:
        method: what it does, where members don't follow methods of their own.
        feature_dims: the layers that it shows.
        dtype: what it computes in.
        seeds_together: most seeds that it takes as one batch.
        shards: the members of the batch, in order, by those that take their steps together.
    """

    batched = True

    def __init__(
        self, network: Network[Any], training: Training, gradient_filter: Filter | None = None, muon: MuonSettings | None = None
    ) -> None:
        self.method = Method(network, training, gradient_filter, muon)
        self.feature_dims = network.feature_dims
        self.dtype = training.dtype
        self.seeds_together = training.seeds_together
        self.methods: Sequence[Method] = ()

    @classmethod
    @override
    def join(cls, agents: Sequence[Agent]) -> "NetworkAgent":
        """One agent for a batch whose members follow `agents`, each its own.

        Raises:
            ValueError: they differ in more than `PER_MEMBER`.
        """
        methods = [agent.method for agent in agents if isinstance(agent, NetworkAgent)]
        first = methods[0]
        if any(method.shared != first.shared for method in methods) or (first.muon and len(set(methods)) > 1):
            raise ValueError(f"agents that train together differ in nothing but {', '.join(PER_MEMBER)}, and use no Muon")
        joint = NetworkAgent(first.network, first.training, first.gradient_filter, first.muon)
        joint.methods = methods
        return joint

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self.spec = spec
        on_cpu = spec.device == "cpu"
        self.dtype = "float32" if self.method.training.dtype == "tf32" and on_cpu else self.method.training.dtype
        inputs, targets = (torch.as_tensor(observation[name]).to(spec.device) for name in ("inputs", "targets"))
        self.inputs = inputs if spec.batched else inputs.unsqueeze(0)  # (S, N, L)
        self.targets = targets if spec.batched else targets.unsqueeze(0)  # (S, N)
        num_train = int((self.targets[0] != spec.num_symbols).sum())
        self._gather(_even(len(spec.seeds), self._shards(num_train) if on_cpu else 1))

    def _shards(self, cells: int) -> int:
        """How many shards keep a CPU's threads equally busy, none of them more than its cache can hold."""
        members, threads = len(self.spec.seeds), torch.get_num_threads()
        size = max(1, CPU_CELLS // self.method.training.minibatch_size(cells))
        return min(members, -(-members // (size * threads)) * threads) if members > size else 1

    def _gather(self, sizes: list[int]) -> None:
        """Start anew with shards of these sizes."""
        methods, symbols = self.methods or [self.method] * len(self.spec.seeds), self.spec.num_symbols
        edges = pairwise(accumulate(sizes, initial=0))
        rows = [slice(start, stop) for start, stop in edges]
        self.shards = [Shard(methods[r], symbols, self.inputs[r], self.targets[r], self.spec.seeds[r]) for r in rows]

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        for start in range(0, steps, INTERRUPTIBLE):
            block = min(INTERRUPTIBLE, steps - start)
            losses = side_by_side(lambda shard: shard.learn(block), self.shards)  # noqa: B023
        metrics = [shard.network.metrics(shard.parameters) for shard in self.shards]
        report = {name: torch.cat([of_shard[name].detach() for of_shard in metrics]) for name in metrics[0]}
        report["loss"] = torch.cat(losses)  # (S,)
        return {name: self._unbatched(values.cpu().numpy()) for name, values in report.items()}

    @override
    def act(self) -> dict[str, Tensor]:
        answers, features = zip(*side_by_side(Shard.show, self.shards), strict=True)
        return {"answers": self._unbatched(torch.cat(answers)), "features": self._unbatched(torch.cat(features))}

    def _unbatched(self, values: Any) -> Any:
        """`values` (S, …) without the leading axis where the spec asks for none."""
        return values if self.spec.batched else values[0]

    @override
    def keep(self, indices: Sequence[int]) -> None:
        """Go on with these members of the batch alone."""
        staying, start = [], 0
        for shard in self.shards:
            mine = [i - start for i in indices if start <= i < start + shard.size]
            start += shard.size
            if mine:
                shard.keep(mine)
                staying.append(shard)
        self.shards = staying

    @override
    def cost(self) -> dict[str, int]:
        """Per seed: parameters, and the FLOPs (backward counted as two forwards) and examples of one step."""
        shard = self.shards[0]
        parameters = sum(parameter[0].numel() for parameter in shard.parameters.values())
        flops = 3 * self.method.network.flops(self.spec.num_symbols, shard.minibatch_size)
        return {"parameters": parameters, "flops_per_step": flops, "examples_per_step": shard.minibatch_size}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"shards": [shard.state_dict() for shard in self.shards]}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._gather([one["size"] for one in state["shards"]])
        for shard, one in zip(self.shards, state["shards"], strict=True):
            shard.load_state_dict(one)


def _even(members: int, parts: int) -> list[int]:
    """So many members in so many parts, as even as can be."""
    return [members // parts + (part < members % parts) for part in range(parts)]
