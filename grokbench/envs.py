"""The Gymnasium face of tasks and protocol: one environment for one seed, one vector environment for many."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from grokbench.agents.agent import Action, Observation, checked_feature_dims
from grokbench.agents.trees import batch_of_one, to_numpy
from grokbench.evaluation.marking import Examiner
from grokbench.evaluation.picture import Frame
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.tasks import Instance, Task, make_instance, parse_id
from grokbench.tasks.images import PIXELS, ImageTask

FEATURE_BOUND = 1e6  # nominal: ranks don't depend on scale


class GrokEnv(gymnasium.Env[Observation, Action]):
    """One task with one seed: fill in the table, show the features, and generalize in as few steps as you can.

    **Observation** `Dict`: `inputs` (N, 2) the questions in shown symbols, or (N, 784) images; `targets` (N,) the answers of
    the training cells and the value q, blank, elsewhere; `steps_to_next_exam` the number of steps to take before the next exam.

    **Action** `Dict`: `answers` (N,) for every question, `features` (N, Σd) float32, the representation of every question,
    layers side by side, the last one the layer that feeds the output; Σd is the sum of `feature_dims`. Arrays or tensors.

    **Reward** −(steps since the last exam)/budget; when generalization is confirmed the steps after T are given back, and
    divergence (features that aren't finite) is charged the rest of the budget: the return is −min(T, budget)/budget.

    **Episode end** terminated when generalization is confirmed or the agent has diverged; truncated when the budget is
    spent without a standing candidate.

    **Info** numbers only: the seed at reset; the exam's counts, accuracies, ranks and the outcome so far at every step, with −1
    for a step that hasn't come.

    **Versions** v1: protocol v1.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        task: Task | str,
        feature_dims: Sequence[int] = (128,),
        salt: str = "",
        render_mode: str | None = None,
    ) -> None:
        self.task = parse_id(task) if isinstance(task, str) else task
        self.feature_dims = checked_feature_dims(feature_dims)
        self.salt = salt
        self.render_mode = _checked_render_mode(render_mode)
        self.observation_space = observation_space(self.task)
        self.action_space = action_space(self.task, self.feature_dims)
        self._examiner: Examiner | None = None
        self._frame = Frame()

    @property
    def instance(self) -> Instance:
        """The instance now being learned, for analysis and pictures; an honest agent never looks."""
        return self._started().instances[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start the instance of `seed`, or of one drawn at random, which `info["seed"]` reports."""
        super().reset(seed=None if seed is None else int(seed))
        drawn = int(self.np_random.integers(2**31)) if seed is None else int(seed)
        self._examiner = Examiner([make_instance(self.task, drawn, self.salt)], self.feature_dims)
        self._frame = Frame()
        return self._examiner.observation(0), {"seed": drawn, "step": 0}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Sit the exam that is due.

        Raises:
            ValueError: wrong keys, shape, dtype or range; the environment stays as it was.
            gymnasium.error.ResetNeeded: before the first reset or after the end.
        """
        examiner = self._started()
        before = examiner.outcomes[0]
        if before.end:
            raise gymnasium.error.ResetNeeded(f"this run has ended ({before.end} at step {before.step}): call reset()")
        exam = examiner.mark(batch_of_one(action), [0])[0]
        after = examiner.outcomes[0]
        if self.render_mode:
            self._frame = Frame(exam, np.array(to_numpy(action["answers"])))
        terminated, truncated = _flags(after)
        info = exam_info(exam, after, self.task)
        return examiner.observation(0), reward(before, after, self.task.budget), terminated, truncated, info

    def render(self) -> Any:
        """`ansi`: one line. `rgb_array`: every question in its place, right and wrong × seen and held out."""
        if self.render_mode == "ansi":
            return self._frame.line(self.instance)
        return self._frame.picture(self.instance) if self.render_mode == "rgb_array" else None

    def _started(self) -> Examiner:
        if self._examiner is None:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._examiner


class GrokVectorEnv(VectorEnv[Observation, Action, NDArray[Any]]):
    """S seeds of one task side by side, each as in `GrokEnv`, with a leading axis S; autoreset is disabled.

    `reset(seed=n)` takes the seeds n … n+S−1, a list takes its own. A member that has ended ignores its rows, gets reward 0 and
    repeats its flags; `reset(options={"reset_mask": mask})` restarts some members alone.
    """

    metadata = {**GrokEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(
        self,
        task: Task | str,
        num_envs: int = 1,
        feature_dims: Sequence[int] = (128,),
        salt: str = "",
        render_mode: str | None = None,
    ) -> None:
        self.task = parse_id(task) if isinstance(task, str) else task
        if num_envs < 1:
            raise ValueError(f"num_envs is the number of seeds, at least 1, got {num_envs}")
        self.num_envs = num_envs
        self.feature_dims = checked_feature_dims(feature_dims)
        self.salt = salt
        self.render_mode = _checked_render_mode(render_mode)
        self.single_observation_space = observation_space(self.task)
        self.single_action_space = action_space(self.task, self.feature_dims)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._examiner: Examiner | None = None
        self._frames = [Frame() for _ in range(num_envs)]

    @property
    def instances(self) -> list[Instance]:
        """The instances now being learned, for analysis and pictures."""
        return self._started().instances

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every member, or those in `options["reset_mask"]`, shape (S,) bool."""
        members = self._to_reset(options)
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
        seeds = self._draw(seed)
        made = {i: make_instance(self.task, seeds[i], self.salt) for i in members}
        kept = self._examiner
        instances = [made[i] if kept is None or i in made else kept.instances[i] for i in range(self.num_envs)]
        self._examiner = Examiner(instances, self.feature_dims)
        for i in range(self.num_envs):
            if kept is not None and i not in made:
                self._examiner.outcomes[i] = kept.outcomes[i]
            else:
                self._frames[i] = Frame()
        infos: dict[str, Any] = {}
        for i in members:
            infos = self._add_info(infos, {"seed": seeds[i], "step": 0}, i)
        return self._observe(), infos

    def step(self, actions: Action) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Sit the exams that are due, in every member that hasn't ended. Raises ValueError as `GrokEnv.step` does."""
        examiner = self._started()
        before = list(examiner.outcomes)
        live = [i for i, outcome in enumerate(before) if not outcome.end]
        infos: dict[str, Any] = {}
        if live:
            exams = examiner.mark(_rows(actions, live, self.num_envs), live)
            for i, exam in zip(live, exams, strict=True):
                infos = self._add_info(infos, exam_info(exam, examiner.outcomes[i], self.task), i)
                if self.render_mode:
                    self._frames[i] = Frame(exam, np.array(to_numpy(actions["answers"][i])))
        after = examiner.outcomes
        rewards = [reward(b, a, self.task.budget) for b, a in zip(before, after, strict=True)]
        flags = np.array([_flags(outcome) for outcome in after])
        return self._observe(), np.array(rewards), flags[:, 0], flags[:, 1], infos

    def render(self) -> tuple[Any, ...] | None:
        """One line or one picture for every member, as `GrokEnv.render`."""
        pairs = list(zip(self._frames, self.instances, strict=True))
        if self.render_mode == "ansi":
            return tuple(frame.line(instance) for frame, instance in pairs)
        return tuple(frame.picture(instance) for frame, instance in pairs) if self.render_mode else None

    def _observe(self) -> Observation:
        return self._started().observations(range(self.num_envs))

    def _to_reset(self, options: dict[str, Any] | None) -> list[int]:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return list(range(self.num_envs))
        if np.shape(mask) != (self.num_envs,):
            raise ValueError(f"reset_mask must have shape ({self.num_envs},), got {np.shape(mask)}")
        if self._examiner is None and not np.all(mask):
            raise ValueError("the first reset starts every member: leave out reset_mask")
        return [i for i in range(self.num_envs) if mask[i]]

    def _draw(self, seed: int | Sequence[int | None] | None) -> list[int]:
        if isinstance(seed, int | np.integer):
            return [int(seed) + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray | None) or isinstance(seed, str):
            raise ValueError(f"a seed is a whole number, or one for each member, got {seed!r}")
        given = [None] * self.num_envs if seed is None else list(seed)
        if len(given) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, one for each member, got {len(given)}")
        return [int(self.np_random.integers(2**31)) if s is None else s for s in given]

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
        steps_to_next_exam=Discrete(max(task.budget, PROTOCOL.smallest_gap) + 1),
    )


def action_space(task: Task, feature_dims: tuple[int, ...]) -> Space[Any]:
    """The space of one instance's actions."""
    n, q = task.num_questions, task.num_symbols
    return Dict(
        answers=MultiDiscrete(np.full(n, q)),
        features=Box(-FEATURE_BOUND, FEATURE_BOUND, (n, sum(feature_dims)), np.float32),
    )


def reward(before: Outcome, after: Outcome, budget: int) -> float:
    """The reward of one exam; those of a whole run sum to −min(T, budget)/budget."""
    if before.end:
        return 0.0
    charged = min(before.step, budget)
    if after.end == "diverged":
        return (charged - budget) / budget
    due = after.steps_to_generalize if after.steps_to_generalize is not None else min(after.step, budget)
    return (charged - due) / budget


def exam_info(exam: Exam, outcome: Outcome, task: Task) -> dict[str, float]:
    """One exam and the outcome so far as numbers: ranks of the last layer, NaN if diverged, −1 for a step that hasn't come."""
    steps = {
        name: -1 if getattr(outcome, name) is None else getattr(outcome, name)
        for name in ("steps_to_memorize", "first_crossing", "steps_to_generalize")
    }
    ranks = {"effective_rank": float("nan")} if exam.ranks is None else {k: v[-1] for k, v in exam.ranks.items()}
    return {
        "step": exam.step,
        "train_right": exam.train,
        "held_out_right": exam.held_out,
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        "diverged": float(exam.ranks is None),
        **steps,
        **ranks,
    }


def _flags(outcome: Outcome) -> tuple[bool, bool]:
    return outcome.end in ("generalized", "diverged"), outcome.end == "censored"


def _rows(actions: Action, live: list[int], members: int) -> Action:
    """The rows of the live members; a wrong leading axis is left for the examiner to name."""
    if not isinstance(actions, dict):
        return actions
    rows = {name: value if hasattr(value, "ndim") else np.asarray(value) for name, value in actions.items()}
    fits = all(value.ndim and len(value) == members for value in rows.values())
    return {name: value[live] for name, value in rows.items()} if fits and len(live) < members else rows


def _checked_render_mode(mode: str | None) -> str | None:
    if mode is not None and mode not in GrokEnv.metadata["render_modes"]:
        raise ValueError(f"render_mode must be one of {GrokEnv.metadata['render_modes']} or None, got {mode!r}")
    return mode
