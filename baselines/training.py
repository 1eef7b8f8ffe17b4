"""The training loop of the baselines: S seeds of one task at once, each exactly as it would train alone, to rounding."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from baselines.losses import LOSSES
from baselines.networks import Network, Parameters
from baselines.questions import Questions
from grokbench.agents import Agent, Spec


@dataclass(frozen=True)
class Training:
    """Hyperparameters of the training.

    Attributes:
        learning_rate: AdamW's step size after warm-up.
        weight_decay: AdamW's decoupled decay, on every parameter.
        betas: AdamW's two averaging rates.
        warmup: updates over which the learning rate rises linearly.
        batch_size: most training cells per step; 0 takes all. At most half of the training cells (Power et al.).
        loss: `cross_entropy` or `mse` (against one-hot answers).
        dtype: `float32` or `float64`.
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
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")


class TableAgent(Agent):
    """An agent that trains a network on the seen cells, by AdamW; batched over seeds.

    Attributes:
        feature_dims: the layers that it shows.
        dtype: what it computes in.
        seeds_together: most seeds that it takes as one batch.
    """

    batched = True

    def __init__(self, network: Network, training: Training) -> None:
        self.network = network
        self.training = training
        self.feature_dims = network.feature_dims
        self.dtype = training.dtype
        self.seeds_together = training.seeds_together

    @override
    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        self.spec = spec
        self.device = torch.device(spec.device)
        dtype = getattr(torch, self.dtype)
        inputs = torch.from_numpy(observation["inputs"]).to(self.device)  # (S, N, 2)
        targets = torch.from_numpy(observation["targets"]).to(self.device)  # (S, N)
        seeds, cells = len(inputs), int((observation["targets"][0] != spec.symbols).sum())
        seen = (targets != spec.symbols).nonzero()[:, 1].view(seeds, cells)
        self.table = Questions.of(inputs, spec.symbols)
        self.questions = Questions.of(_take(inputs, seen), spec.symbols, dtype)  # n questions per seed
        self.answers = _take(targets, seen)  # (S, n)
        self.batch = cells if not self.training.batch_size else max(1, min(self.training.batch_size, cells // 2))
        self.steps = 0
        self.generators = [Generator().manual_seed(seed) for seed in spec.seeds]
        self.order = torch.empty(seeds, 0, dtype=torch.int64, device=self.device)  # (S, cells left in this pass)
        drawn = [self.network.draw(spec.symbols, generator) for generator in self.generators]
        self.parameters: Parameters = {
            name: torch.stack([one[name] for one in drawn]).to(self.device, dtype).requires_grad_() for name in drawn[0]
        }
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=self.training.learning_rate,
            betas=self.training.betas,
            weight_decay=self.training.weight_decay,
            fused=True,
        )

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        for _ in range(steps):
            loss = self._step()
        return {"loss": loss.detach().cpu().numpy()}

    def _step(self) -> Tensor:
        """One forward and backward pass and one update; the loss of every seed, (S,)."""
        questions, answers = self._next_batch()
        self.steps += 1
        self.optimizer.param_groups[0]["lr"] = self.training.learning_rate * min(1.0, self.steps / max(self.training.warmup, 1))
        self.optimizer.zero_grad(set_to_none=True)
        logits, _ = self.network.forward(self.parameters, questions)
        loss = LOSSES[self.training.loss](logits, answers)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss

    def _next_batch(self) -> tuple[Questions, Tensor]:
        """The next part of the shuffled cells; what is left of a pass when too few remain for a batch is dropped."""
        if self.batch == self.answers.shape[1]:
            return self.questions, self.answers
        if self.order.shape[1] < self.batch:
            orders = [torch.randperm(self.answers.shape[1], generator=generator) for generator in self.generators]
            self.order = torch.stack(orders).to(self.device)
        index, self.order = self.order[:, : self.batch], self.order[:, self.batch :]
        return self.questions.pick(index), self.answers.gather(1, index)

    @override
    @torch.no_grad()
    def act(self) -> dict[str, Tensor]:
        logits, features = self.network.forward(self.parameters, self.table)
        return {"answers": logits.argmax(-1), "features": features}

    def keep(self, indices: list[int]) -> None:
        """Go on with these seeds of the batch alone."""
        index = torch.tensor(indices, device=self.device)

        def select(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, index)

        self.generators = [self.generators[i] for i in indices]
        self.table, self.questions = (questions.select(select) for questions in (self.table, self.questions))
        self.answers, self.order = select(self.answers), select(self.order)
        for parameter in self.parameters.values():
            parameter.data = select(parameter.data)
            for name, value in self.optimizer.state[parameter].items():
                if value.ndim:
                    self.optimizer.state[parameter][name] = select(value)

    def cost(self) -> dict[str, int]:
        """Per seed: parameters, and the FLOPs (backward counted as two forwards) and examples of one step."""
        parameters = sum(parameter[0].numel() for parameter in self.parameters.values())
        flops = 3 * self.network.flops(self.spec.symbols, self.batch)
        return {"parameters": parameters, "flops_per_step": flops, "examples_per_step": self.batch}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "parameters": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "order": self.order,
            "generators": torch.stack([generator.get_state() for generator in self.generators]),
        }

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.order = state["order"].to(self.device)
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.clone())
        for name, parameter in self.parameters.items():
            parameter.data.copy_(state["parameters"][name])
        self.optimizer.load_state_dict(state["optimizer"])


def _take(tensor: Tensor, index: Tensor) -> Tensor:
    """`tensor[s, index[s]]` for every seed s."""
    return torch.stack([row[i] for row, i in zip(tensor, index, strict=True)])
