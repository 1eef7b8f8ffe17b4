"""A trial of an optimizer's class on a few numbers, before anything runs: how it is called, and whether it can be resumed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from baselines.fields import check
from baselines.networks.network import Network
from baselines.optimizers.per_member import Calls, ClassSettings, set_mode
from baselines.optimizers.schedules import Schedule
from grokbench.agents import trees
from grokbench.errors import AgentError, GrokbenchError, RecipeError

LARGEST = 8  # numbers along an axis of a parameter of the trial
TOLERANCE = 1e-4  # far above rounding, and far below what a forgotten momentum does
MOST_PASSES = 1_000  # of an update; a checker makes optimizers of strangers' settings
UPDATES = 3  # before the state is stored, and after


def tried(
    settings: ClassSettings, shown: str, *, network: Network[Any], schedule: Schedule, dtype: torch.dtype, most_passes: int
) -> ClassSettings:
    """`settings` that know how the optimizer's `step` is called.

    Args:
        settings: the class and its arguments.
        shown: what messages call the optimizer.
        network: the network, whose parameters' shapes the trial has, only smaller.
        schedule: the schedule of the learning rate.
        dtype: the number format of the parameters.
        most_passes: the passes of an update that the recipe declares.

    Raises:
        RecipeError: the class can't be made or doesn't step, a checkpoint can't hold its state, it makes more passes than
            declared, or it has no learning rate for the schedule to change.
    """
    trial = _Trial(settings, _shapes(network), dtype, shown)
    calls = trial.calls(needs_closure=most_passes > 1)
    trial = _Trial(replace(settings, calls=calls), trial.shapes, dtype, shown)
    passes = trial.check_state()
    check(passes <= most_passes, _too_many(shown, passes, most_passes))
    groups = trial.start(seed=0).optimizer.param_groups
    has_rate = all(isinstance(group.get("lr"), float | int) for group in groups)
    problem = f"[optimizer] {shown} has no lr for [schedule] to change: set constant without warmup"
    check(has_rate or not schedule.changes, problem)
    return trial.settings


def _too_many(shown: str, passes: int, most: int) -> str:
    return (
        f"[optimizer] {shown} makes {passes} forward-backward passes in an update, and passes_per_step in [training] "
        f"declares {most}: set passes_per_step = {passes} or more"
    )


def _shapes(network: Network[Any]) -> list[tuple[int, ...]]:
    """The shapes of the network's parameters as an optimizer has them, cut to `LARGEST` along every axis."""
    parameters = network.init_params(LARGEST, torch.Generator().manual_seed(0))
    shapes = {name: tensor.mT.shape if name in network.fan_in_first else tensor.shape for name, tensor in parameters.items()}
    return [tuple(min(LARGEST, size) for size in shape) for shape in shapes.values()]


class _Course:
    """An optimizer and the parameters that it brings to 0, where ½‖w − w₀‖² is least."""

    def __init__(self, settings: ClassSettings, start: Sequence[Tensor]) -> None:
        self.calls, self.passes = settings.calls, 0
        self.parameters = [Parameter(tensor.clone()) for tensor in start]
        self.optimizer = settings.make(self.parameters)

    def closure(self) -> Tensor:
        """The loss, after a pass that has computed the gradients."""
        self.passes += 1
        check(self.passes <= MOST_PASSES, f"an update makes more than {MOST_PASSES:,} passes")
        for parameter in self.parameters:
            parameter.grad = parameter.detach().clone()
        squares = [parameter.detach().square().sum() for parameter in self.parameters]  # () each
        return torch.stack(squares).sum() / 2

    def update(self) -> int:
        """Take an update, and return its passes."""
        self.passes = 0
        if not self.calls.closure or self.calls.gradients_first:
            self.closure()
        if self.calls.closure:
            self.optimizer.step(self.closure)
        else:
            self.optimizer.step()
        return self.passes


class _Trial:
    """Trial steps of an optimizer. Every failure becomes a RecipeError that names the optimizer."""

    def __init__(self, settings: ClassSettings, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, shown: str) -> None:
        self.settings, self.shapes, self.dtype, self.shown = settings, shapes, dtype, shown

    def start(self, *, seed: int) -> _Course:
        """A new optimizer of new parameters."""
        generator = torch.Generator().manual_seed(seed)
        tensors = [torch.randn(shape, generator=generator, dtype=self.dtype) for shape in self.shapes]
        course: _Course = self._attempt("can't be made", lambda: _Course(self.settings, tensors))
        return course

    def calls(self, *, needs_closure: bool) -> Calls:
        """How `step` is called: without arguments, with a closure, or with a closure after a pass."""
        if not needs_closure:
            course = self.start(seed=0)
            course.closure()
            try:
                course.optimizer.step()
                return Calls()
            except Exception as error:
                without_closure = error
        return Calls(closure=True, gradients_first=self._reads_gradients(None if needs_closure else without_closure))

    def _reads_gradients(self, without_closure: Exception | None) -> bool:
        """Whether a step with a closure depends on gradients that are there before: here they are NaN."""
        course = self.start(seed=0)
        for parameter in course.parameters:
            parameter.grad = torch.full_like(parameter, torch.nan)
        try:
            course.optimizer.step(course.closure)
        except Exception:
            course = self.start(seed=0)
            course.closure()
            try:
                course.optimizer.step(course.closure)
            except Exception as error:
                raise self._error("can't step", without_closure or error) from error
            return True
        return not all(parameter.isfinite().all() for parameter in course.parameters)

    def check_state(self) -> int:
        """Store and load the state in the middle of two equal courses, and return the most passes of an update."""
        course = self.start(seed=0)
        passes: list[int] = [self._attempt("can't step", course.update) for _ in range(UPDATES)]
        twin = self.start(seed=1)
        self._attempt("has a state that no checkpoint can hold", lambda: _resume(twin, course))
        kept, restored = _outside(course.optimizer), _outside(twin.optimizer)
        lost = ", ".join(name for name, value in kept.items() if restored.get(name) != value)
        check(not lost, f"[optimizer] {self.shown} changes {lost}, which its state_dict lacks, so no run resumes: use `state`")
        for _ in range(UPDATES):
            passes += [self._attempt("can't step", each.update) for each in (course, twin)]
        pairs = zip(course.parameters, twin.parameters, strict=True)
        same = all(torch.allclose(value, resumed, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True) for value, resumed in pairs)
        problem = f"[optimizer] {self.shown} goes on differently from its own state_dict"
        check(same, f"{problem}: put everything that changes into `state`, and draw no random numbers")
        return max(passes)

    def _attempt(self, failure: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:
            raise self._error(failure, error) from error

    def _error(self, failure: str, error: Exception) -> RecipeError:
        name = "" if isinstance(error, GrokbenchError) else f"{type(error).__name__}: "
        return RecipeError(f"[optimizer] {self.shown} {failure}: {name}{error}")


def _outside(optimizer: Any) -> dict[str, Any]:
    """The numbers and texts among an optimizer's attributes, and how far its schedulers are."""
    shown = {name: value for name, value in vars(optimizer).items() if not name.startswith("_")}
    plain = {name: value for name, value in shown.items() if isinstance(value, bool | int | float | str)}
    return plain | {name: value.last_epoch for name, value in shown.items() if hasattr(value, "last_epoch")}


def _resume(twin: _Course, course: _Course) -> None:
    """Bring `twin` to where `course` is, by way of a checkpoint's bytes."""
    try:
        state = trees.unpack(trees.pack(course.optimizer.state_dict()))
    except (ValueError, TypeError) as error:
        raise AgentError(str(error)) from error
    twin.optimizer.load_state_dict(state)
    set_mode(twin.optimizer, "train")
    for own, other in zip(twin.parameters, course.parameters, strict=True):
        own.data.copy_(other.data)
