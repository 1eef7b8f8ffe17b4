"""The Gymnasium environments: one for a single seed, one for a vector of seeds. They hold no training code."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from grokbench.agents.agent import Action, Observation, checked_feature_dims
from grokbench.agents.trees import to_numpy
from grokbench.errors import ActionError, TaskError
from grokbench.evaluation.marking import Examiner
from grokbench.evaluation.picture import Frame
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.evaluation.ranks import MEASURES
from grokbench.tasks import Instance, Task, make_instance, parse_id
from grokbench.tasks.images import PIXELS, ImageTask
from grokbench.tasks.task import checked_salt, is_count, whole_number

FEATURE_BOUND = 1e6  # nominal, because ranks don't depend on scale
LOSSES = ("train_loss", "held_out_loss")
EVENTS = ("steps_to_memorize", "first_crossing", "steps_to_generalize")


class GrokEnv(gymnasium.Env[Observation, Action]):
    """One task with one seed: fill in the table, show the features, and generalize in as few steps as you can.

    ## Description
    A table has N questions about q symbols. The answers to the training questions are given, and the held-out ones are blank.
    At every `step` the agent takes an exam: it answers all questions and shows its features. Between two exams it trains.

    ## Observation space
    A `Dict`. Every observation is a copy.

    | key | space | meaning |
    |---|---|---|
    | `inputs` | `MultiDiscrete` (N, 2); images: `Box(0, 1)` (N, 784) | operands of the questions in shown symbols, or pixels |
    | `targets` | `MultiDiscrete` (N,) | answers to the training questions; the value q, blank, for held-out questions |
    | `steps_to_next_exam` | `Discrete` | how many steps to take before the next exam; 0 after the end |

    ## Action space
    A `Dict` of numpy arrays, or of tensors on any device.

    | key | space | meaning |
    |---|---|---|
    | `answers` | `MultiDiscrete` (N,) | an answer below q to every question |
    | `features` | `Box` (N, Σ feature_dims) | features of every question, the last layer at the right |
    | `logits` | `Box` (N, q) | with `logits=True` alone: the answers' logits, whose largest one is the answer |

    ## Reward
    −(steps since the last exam)/budget. When generalization is confirmed, the steps after T are given back. A run that ends
    without T is charged the rest of the budget. So the return of an episode is −min(T, budget)/budget.

    ## Episode end
    *Terminated* when the window of T ends, or when features aren't finite (divergence). *Truncated* when the next exam comes
    after the budget and no exam can still become T. The horizon, twice the budget, ends every window.

    ## Info
    Numbers only. `reset` gives `seed` and `step`. `step` always gives these keys:

    | key | meaning |
    |---|---|
    | `step` | steps taken before this exam |
    | `train_right`, `held_out_right` | right answers to training and to held-out questions |
    | `train_accuracy`, `held_out_accuracy` | the same as shares |
    | `diverged` | 1 if the features aren't finite, else 0 |
    | `steps_to_memorize`, `first_crossing`, `steps_to_generalize` | steps of these events, −1 before they happen |
    | `train_loss`, `held_out_loss` | with `logits=True` alone: mean cross-entropy in nats |
    | `effective_rank` and the other measures of `grokbench.ranks` | ranks of the last layer; NaN at every second exam |

    ## Arguments
    `grokbench.make(id, feature_dims=(128,), salt="", budget=None, logits=False, render_mode=None)`: the widths of the layers
    that the agent shows; a text that draws fresh instances; a budget in steps instead of the standard one; whether actions have
    logits; `ansi` for a line of text, `rgb_array` for the table as a picture.

    ## Version history
    v1: protocol 2 (`grokbench.PROTOCOL`).
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        task: Task | str,
        *,
        feature_dims: Sequence[int] = (128,),
        salt: str = "",
        budget: int | None = None,
        logits: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.task = _task(task, budget)
        self.feature_dims = checked_feature_dims(feature_dims)
        self.salt = checked_salt(salt)
        self.logits = logits
        self.render_mode = _checked_render_mode(render_mode)
        self.observation_space = observation_space(self.task)
        self.action_space = action_space(self.task, self.feature_dims, logits=logits)
        self._examiner: Examiner | None = None
        self._frame = Frame()

    @property
    def instance(self) -> Instance:
        """The current instance, for analysis and pictures. An honest agent never looks at it."""
        return self._started().instances[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start the instance of `seed`. Without a seed one is drawn, which `info["seed"]` reports.

        Raises:
            TaskError: the seed isn't a whole number in [0, 2⁶³).
        """
        given = None if seed is None else make_instance(self.task, seed, self.salt)
        super().reset(seed=None if given is None else given.seed)
        instance = given or make_instance(self.task, int(self.np_random.integers(2**31)), self.salt)
        self._examiner = Examiner([instance], self.feature_dims)
        self._frame = Frame()
        return self.observe(), {"seed": instance.seed, "step": 0}

    def observe(self) -> Observation:
        """The current observation, a copy. `reset` and `step` return the same."""
        return self._started().observation(0)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take the next exam.

        Raises:
            ActionError: wrong keys, shape, dtype or range; the environment is unchanged.
            gymnasium.error.ResetNeeded: before the first reset, or after the end.
        """
        examiner = self._started()
        before = examiner.outcomes[0]
        if before.end:
            raise gymnasium.error.ResetNeeded(f"this run has ended ({before.end} at step {before.step}): call reset()")
        _check_logits_shown(action, wanted=self.logits)
        exam = examiner.mark_member(action)
        after = examiner.outcomes[0]
        if self.render_mode:
            self._frame = Frame(exam, np.array(to_numpy(action["answers"])))
        terminated, truncated = _flags(after)
        info = exam_info(exam, after, self.task, logits=self.logits)
        return self.observe(), reward(before, after, self.task.budget), terminated, truncated, info

    def render(self) -> Any:
        """`ansi`: one line. `rgb_array`: every question in its place, right and wrong × train and held out."""
        if self.render_mode == "ansi":
            return self._frame.line(self.instance)
        return self._frame.picture(self.instance) if self.render_mode == "rgb_array" else None

    def _started(self) -> Examiner:
        if self._examiner is None:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._examiner


class GrokVectorEnv(VectorEnv[Observation, Action, NDArray[Any]]):
    """S seeds of one task side by side, each as in `GrokEnv`, with a leading axis S. Autoreset is disabled.

    `reset(seed=n)` takes the seeds n … n+S−1; a list gives each member its own. A member that has ended ignores its part of an
    action, gets reward 0, and its `steps_to_next_exam` is 0. Its flag is true at the step that ends it, and at no later step.
    `reset(options={"reset_mask": mask})` restarts some members alone.
    """

    metadata = {**GrokEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(
        self,
        task: Task | str,
        num_envs: int = 1,
        *,
        feature_dims: Sequence[int] = (128,),
        salt: str = "",
        budget: int | None = None,
        logits: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if not is_count(num_envs):
            raise ActionError(f"num_envs is the number of seeds, a whole number from 1 up, got {num_envs!r}")
        self.task = _task(task, budget)
        self.num_envs = int(num_envs)
        self.feature_dims = checked_feature_dims(feature_dims)
        self.salt = checked_salt(salt)
        self.logits = logits
        self.render_mode = _checked_render_mode(render_mode)
        self.single_observation_space = observation_space(self.task)
        self.single_action_space = action_space(self.task, self.feature_dims, logits=logits)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._examiner: Examiner | None = None
        self._frames = [Frame() for _ in range(num_envs)]

    @property
    def instances(self) -> list[Instance]:
        """The current instances, for analysis and pictures."""
        return self._started().instances

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every member, or those in `options["reset_mask"]`, shape (S,) bool."""
        restarted = self._to_restart(options)
        seeds = self._seeds(seed)
        fresh = {i: make_instance(self.task, seeds[i], self.salt) for i in restarted}
        if seed is not None and (given := [each for each in np.atleast_1d(np.asarray(seed, dtype=object)) if each is not None]):
            super().reset(seed=int(given[0]))
        previous = self._examiner
        instances = [fresh[i] if previous is None or i in fresh else previous.instances[i] for i in range(self.num_envs)]
        self._examiner = Examiner(instances, self.feature_dims)
        infos: dict[str, Any] = {}
        for i in range(self.num_envs):
            if previous is None or i in fresh:
                self._frames[i] = Frame()
                infos = self._add_info(infos, {"seed": seeds[i], "step": 0}, i)
            else:
                self._examiner.outcomes[i] = previous.outcomes[i]
        return self.observe(), infos

    def observe(self) -> Observation:
        """The current observations of all members, copies. `reset` and `step` return the same."""
        return self._started().observations(range(self.num_envs))

    def step(self, actions: Action) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take the next exam of every member that hasn't ended. Raises ActionError as `GrokEnv.step` does."""
        examiner = self._started()
        before = list(examiner.outcomes)
        live = [i for i, outcome in enumerate(before) if not outcome.end]
        infos: dict[str, Any] = {}
        if live:
            _check_logits_shown(actions, wanted=self.logits)
            exams = examiner.mark(_of_members(actions, live, self.num_envs), live)
            for i, exam in zip(live, exams, strict=True):
                infos = self._add_info(infos, exam_info(exam, examiner.outcomes[i], self.task, logits=self.logits), i)
                if self.render_mode:
                    self._frames[i] = Frame(exam, np.array(to_numpy(actions["answers"][i])))
        rewards = [reward(old, new, self.task.budget) for old, new in zip(before, examiner.outcomes, strict=True)]
        flags = np.array([_flags(outcome) if i in live else (False, False) for i, outcome in enumerate(examiner.outcomes)])
        return self.observe(), np.array(rewards), flags[:, 0], flags[:, 1], infos

    def render(self) -> tuple[Any, ...] | None:
        """A line or a picture for every member, as `GrokEnv.render`."""
        pairs = list(zip(self._frames, self.instances, strict=True))
        if self.render_mode == "ansi":
            return tuple(frame.line(instance) for frame, instance in pairs)
        return tuple(frame.picture(instance) for frame, instance in pairs) if self.render_mode else None

    def _to_restart(self, options: dict[str, Any] | None) -> list[int]:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return list(range(self.num_envs))
        if np.shape(mask) != (self.num_envs,):
            raise ActionError(f"reset_mask must have shape ({self.num_envs},), got {np.shape(mask)}")
        if self._examiner is None and not np.all(mask):
            raise ActionError("the first reset starts every member: leave out reset_mask")
        return [i for i in range(self.num_envs) if mask[i]]

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int]:
        if (first := whole_number(seed)) is not None:
            return [first + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray | None) or isinstance(seed, str):
            raise TaskError(f"a seed is a whole number, or one for each member, got {seed!r}")
        given = [None] * self.num_envs if seed is None else list(seed)
        if len(given) != self.num_envs:
            raise TaskError(f"expected {self.num_envs} seeds, one for each member, got {len(given)}")
        return [int(self.np_random.integers(2**31)) if member is None else member for member in given]

    def _started(self) -> Examiner:
        if self._examiner is None:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._examiner


def observation_space(task: Task) -> Space[Any]:
    """The space of one instance's observations."""
    n, q = task.num_questions, task.num_symbols
    images = isinstance(task, ImageTask)
    return Dict(
        inputs=Box(0, 1, (n, PIXELS), np.float32) if images else MultiDiscrete(np.full((n, 2), q)),
        targets=MultiDiscrete(np.full(n, q + 1)),
        steps_to_next_exam=Discrete(PROTOCOL.horizon(task) + 1),
    )


def action_space(task: Task, feature_dims: tuple[int, ...], *, logits: bool = False) -> Space[Any]:
    """The space of one instance's actions."""
    n, q = task.num_questions, task.num_symbols
    spaces: dict[str, Space[Any]] = {
        "answers": MultiDiscrete(np.full(n, q)),
        "features": Box(-FEATURE_BOUND, FEATURE_BOUND, (n, sum(feature_dims)), np.float32),
    }
    return Dict(spaces | {"logits": Box(-FEATURE_BOUND, FEATURE_BOUND, (n, q), np.float32)} if logits else spaces)


def reward(before: Outcome, after: Outcome, budget: int) -> float:
    """The reward of one exam. The rewards of a whole run sum to −min(T, budget)/budget."""
    if before.end:
        return 0.0
    due = budget if after.censored else after.steps_to_generalize or min(after.step, budget)
    return (min(before.step, budget) - due) / budget


def exam_info(exam: Exam, outcome: Outcome, task: Task, *, logits: bool = False) -> dict[str, float]:
    """One exam and the outcome so far, as `GrokEnv` documents it. The keys are always the same."""
    events = {name: -1 if (step := getattr(outcome, name)) is None else step for name in EVENTS}
    ranks = {name: float("nan") if exam.ranks is None else exam.ranks[name][-1] for name in MEASURES}
    losses = {name: float("nan") if (loss := getattr(exam, name)) is None else loss for name in (LOSSES if logits else ())}
    return {
        "step": exam.step,
        "train_right": exam.train,
        "held_out_right": exam.held_out,
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        "diverged": float(exam.diverged),
        **events,
        **losses,
        **ranks,
    }


def _flags(outcome: Outcome) -> tuple[bool, bool]:
    """Terminated and truncated."""
    return outcome.end in ("generalized", "diverged"), outcome.end == "censored"


def _task(task: Task | str, budget: int | None) -> Task:
    if isinstance(task, str):
        return parse_id(task, budget)
    return task if budget is None else parse_id(task.id, budget)


def _check_logits_shown(action: Action, *, wanted: bool) -> None:
    if wanted and isinstance(action, dict) and "logits" not in action:
        raise ActionError("this environment was made with logits=True: an action has the key 'logits' too")


def _of_members(actions: Action, live: list[int], num_envs: int) -> Action:
    """The part of an action that belongs to the live members. What isn't a dict is left for the examiner to refuse."""
    if not isinstance(actions, dict):
        return actions
    try:
        arrays = {name: value if hasattr(value, "ndim") else np.asarray(value) for name, value in actions.items()}
    except ValueError as error:  # lists of different lengths
        raise ActionError(f"an action is made of arrays with a row for each member: {error}") from None
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != num_envs:
            raise ActionError(f"{name} must have a leading axis of {num_envs} members, got shape {tuple(array.shape)}")
    return {name: array[live] for name, array in arrays.items()} if len(live) < num_envs else arrays


def _checked_render_mode(mode: str | None) -> str | None:
    if mode is not None and mode not in GrokEnv.metadata["render_modes"]:
        raise ActionError(f"render_mode must be one of {GrokEnv.metadata['render_modes']} or None, got {mode!r}")
    return mode
