"""An agent around any PyTorch module: write `build`, and the rest is here."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from grokbench.agents.agent import Action, Agent, Observation, Spec
from grokbench.agents.passes import Passes
from grokbench.errors import AgentError

OWN_ATTRIBUTES = {"spec", "inputs", "train_inputs", "train_answers", "random_state", "passes", "last_loss", "dtype", "built"}


class TorchAgent(Agent):
    """Trains one module with one optimizer on the training questions, by cross-entropy, full batch or in minibatches.

    ```python
    class Mine(grokbench.TorchAgent):
        def build(self, spec):
            model = MyNet(spec.num_symbols)  # forward(inputs) returns logits (n, q) and features (n, Σ feature_dims)
            return model, torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)
    ```

    The agent has its own random state: it neither reads nor changes torch's global one.

    A checkpoint holds model, optimizer and random state. Of the agent's other attributes it holds numbers, text, tensors, and
    whatever has a `state_dict`, such as a learning rate's schedule or an average of the weights: make it in `build`. Anything
    else that changes while the agent learns needs a `state_dict` and a `load_state_dict` of your own.

    An optimizer whose `step` needs a closure, such as LBFGS, gets it. Each call is a forward-backward pass, and so a step. For
    SAM, which needs the gradients before the call too, override `update`.

    Attributes:
        minibatch_size: training questions per step, drawn without replacement; 0 takes all of them.
        passes_per_step: the most forward-backward passes of an update. An update begins only if as many steps are left.
    """

    minibatch_size: int = 0
    passes_per_step: int = 1

    @abstractmethod
    def build(self, spec: Spec) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A new module and its optimizer. The module maps inputs (n, L) to logits (n, q) and features (n, Σ feature_dims)."""

    def loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        """The training loss of logits (n, q) and answers (n,): cross-entropy unless overridden."""
        return nn.functional.cross_entropy(logits, answers)

    @override
    def reset(self, observation: Observation, spec: Spec) -> None:
        self.spec = spec
        self.inputs = torch.as_tensor(observation["inputs"]).to(spec.device)  # (N, L)
        targets = torch.as_tensor(observation["targets"]).to(spec.device)  # (N,)
        train = targets != spec.num_symbols
        self.train_inputs, self.train_answers = self.inputs[train], targets[train]
        self.random_state = _seeded(spec)
        with self._own_random_state():
            self.model, self.optimizer = self.build(spec)
            move(self.model, self.optimizer, spec.device)
        self.built = {name for name, value in vars(self).items() if _has_state(value)}
        self.passes = Passes(self.passes_per_step)
        self.last_loss: Tensor | None = None
        self.dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        self._set_mode("train")
        self.passes.left += steps
        with self._own_random_state():
            while self.passes.suffice:
                self.passes.take(self._step())
        return {} if self.last_loss is None else {"loss": self.last_loss}

    def _step(self) -> int:
        """An update on the next minibatch; returns how many passes it made."""
        inputs, answers = self.train_inputs, self.train_answers
        if 0 < self.minibatch_size < len(answers):
            index = torch.randperm(len(answers), device=answers.device)[: self.minibatch_size]
            inputs, answers = inputs[index], answers[index]
        losses: list[Tensor] = []

        @torch.enable_grad()
        def closure() -> Tensor:
            loss = self.loss(self._forward(inputs)[0], answers)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            return losses[-1]

        self.update(closure)
        self.last_loss = losses[0] if losses else self.last_loss
        return len(losses)

    def update(self, closure: Callable[[], Tensor]) -> None:
        """Update the parameters once. `closure` is a forward-backward pass: it computes the gradients, and returns the loss."""
        if self.passes_per_step > 1 or _needs_closure(self.optimizer):
            self.optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            self.optimizer.step()

    def _set_mode(self, mode: str) -> None:
        """Put the module, and an optimizer with modes such as a schedule-free one, into `train` or `eval` mode."""
        for part in (self.model, self.optimizer):
            if callable(switch := getattr(part, mode, None)):
                switch()

    @override
    @torch.no_grad()
    def act(self) -> Action:
        self._set_mode("eval")
        with self._own_random_state():
            logits, features = self._forward(self.inputs)
        shown = {"answers": logits.argmax(-1), "features": features}
        return shown | {"logits": logits} if self.spec.logits else shown

    def _forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features, once the module has returned just these."""
        result = self.model(inputs)
        if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(part, Tensor) for part in result)):
            raise AgentError(
                f"the module of {type(self).__name__} must return two tensors, logits (n, q) and features (n, Σ feature_dims), "
                f"got {type(result).__name__}"
            )
        return result

    @override
    def cost(self) -> dict[str, int]:
        examples = min(self.minibatch_size or len(self.train_answers), len(self.train_answers))
        return {"parameters": sum(p.numel() for p in self.model.parameters()), "examples_per_step": examples}

    @override
    def state_dict(self) -> dict[str, Any]:
        self._check_that_all_is_built()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self.random_state,
            "steps_left": self.passes.left,
            "loss": self.last_loss,
            "attributes": {name: _state_of(value) for name, value in vars(self).items() if self._keeps(name, value)},
        }

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random_state = state["random_state"]
        self.passes.left, self.last_loss = state["steps_left"], state["loss"]
        for name, saved in state["attributes"].items():
            self._restore(name, saved)

    def _check_that_all_is_built(self) -> None:
        """Raise AgentError for state that a resumed run would look for in vain."""
        late = [name for name, value in vars(self).items() if _has_state(value) and name not in self.built]
        if late:
            raise AgentError(
                f"make {', '.join(late)} in build or before: a killed run can't go on with what is made while it learns"
            )

    def _keeps(self, name: str, value: Any) -> bool:
        """Whether a checkpoint holds an attribute that a subclass has set."""
        if name in OWN_ATTRIBUTES or value is self.model or value is self.optimizer:
            return False
        return _has_state(value) or value is None or isinstance(value, bool | int | float | str | Tensor)

    @torch.no_grad()
    def _restore(self, name: str, saved: Any) -> None:
        """Give an attribute its saved state. A tensor is changed in place, because it may be a part of the model."""
        now: Any = getattr(self, name, None)
        if _has_state(now):
            now.load_state_dict(saved)
        elif isinstance(saved, Tensor) and isinstance(now, Tensor) and now.shape == saved.shape:
            now.copy_(saved)
        else:
            setattr(self, name, saved.to(self.spec.device) if isinstance(saved, Tensor) else saved)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Within it torch draws from the agent's random state; torch's own state is put back afterwards."""
        cuda = [torch.cuda.current_device()] if self.spec.device == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.set_rng_state(self.random_state["cpu"])
            if cuda:
                torch.cuda.set_rng_state(self.random_state["cuda"])
            yield
            self.random_state = _random_state(cuda=bool(cuda))


def move(model: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> None:
    """Move a module to a device, and with it the state that some optimizers make at once, such as Adagrad's."""
    model.to(device)
    if optimizer.state:
        optimizer.load_state_dict(optimizer.state_dict())  # puts every tensor where its parameter is


def _has_state(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _state_of(value: Any) -> Any:
    return value.state_dict() if _has_state(value) else value


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` can't be called without a closure."""
    parameter = signature(optimizer.step).parameters.get("closure")
    return parameter is not None and parameter.default is parameter.empty


def _seeded(spec: Spec) -> dict[str, Tensor]:
    """The random state that the agent's seed gives, on the CPU and on the device."""
    cuda = [torch.cuda.current_device()] if spec.device == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(spec.seed)
        return _random_state(cuda=bool(cuda))


def _random_state(*, cuda: bool) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state()} if cuda else state
