"""Loggers: callbacks that show runs in an experiment tracker while they are made."""

import hashlib
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from typing_extensions import override

from grokbench.errors import CallbackError, MissingExtraError, install
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.evaluation.rows import exam_row
from grokbench.runs.callbacks import Callback
from grokbench.runs.plan import Run
from grokbench.runs.records import RunRecord

MODES = ("online", "offline", "disabled", "shared")
OWN = {"id", "name", "resume", "reinit", "settings"}  # options of `wandb.init` that the logger sets
FORBIDDEN = "/\\#?%:"  # in the name of a project


class WandbLogger(Callback):
    """Shows every run in Weights & Biases, with its exams over steps.

    ```python
    grokbench.run("mlp", "add_mod47-0.5", seed=0, callbacks=[grokbench.WandbLogger("grokking")])
    ```

    A run is named by task, agent and seed. Its config has the hyperparameters, and its summary the outcome. A run that goes on
    after a pause goes on there too. Runs that were finished before aren't shown.

    Args:
        project: the project's name.
        **options: of `wandb.init`, such as `entity`, `tags`, or `mode="offline"`. A `config` is added to every run's.

    Raises:
        MissingExtraError: wandb isn't installed.
        CallbackError: nobody is logged in to Weights & Biases here, or an option is wrong.
    """

    def __init__(self, project: str, **options: Any) -> None:
        try:
            self._wandb = import_module("wandb")
        except ImportError:
            raise MissingExtraError(f"Weights & Biases needs wandb: {install('wandb')}") from None
        _check(project, options, self._wandb.init)
        self._config = dict(options.pop("config", None) or {})
        mode = options.pop("mode", None) or os.environ.get("WANDB_MODE", "online")
        self._options = options | {"mode": mode, "project": project}
        self._log_in()
        self._shown: dict[Run, Any] = {}

    def _log_in(self) -> None:
        """Before anything is computed: W&B may ask for a key."""
        if self._options["mode"] not in ("online", "shared"):
            return
        try:
            self._wandb.login(verify=False)
        except self._wandb.Error as error:
            raise CallbackError(
                f"Weights & Biases: {error} Or keep its files on this machine, with WANDB_MODE=offline"
            ) from None

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        if run not in self._shown:
            self._shown[run] = self._begin(run)
        row = exam_row(exam, run.experiment.task)
        self._shown[run].log({name: value for name, value in row.items() if value is not None})

    @override
    def on_end(self, run: Run, reason: str, record: RunRecord | None) -> None:
        shown = self._shown.pop(run, None)
        if shown is None:
            return
        if record is not None:
            shown.summary.update({name: value for name, value in record.outcome if value is not None})
        shown.finish(exit_code=int(reason.startswith("failed")))

    def _begin(self, run: Run) -> Any:
        task, recipe = run.experiment.task, run.experiment.recipe
        names = {"task": task.id, "agent": recipe.name, "seed": run.seed, "salt": run.experiment.salt, "budget": task.budget}
        shown = self._wandb.init(
            id=_identity(run),
            name=f"{task.id} {recipe.name} seed {run.seed}",
            config=self._config | recipe.plain_hyperparameters | names,
            resume="allow",
            reinit="create_new",  # the runs of a cohort are shown side by side
            settings=self._wandb.Settings(silent=True, console="off"),  # the terminal has a display already
            **self._options,
        )
        shown.define_metric("*", step_metric="step")
        return shown


def _check(project: str, options: Mapping[str, Any], init: Callable[..., Any]) -> None:
    """Raise CallbackError for what `wandb.init` would refuse only at the first exam, or would get twice."""
    if not isinstance(project, str) or not project or set(project) & set(FORBIDDEN):
        raise CallbackError(f"a project of Weights & Biases has a name without {' '.join(FORBIDDEN)}, got {project!r}")
    if not isinstance(options.get("config") or {}, Mapping):
        raise CallbackError(f"config must be a dict, such as vars(arguments), got {options['config']!r}")
    if (options.get("mode") or "online") not in MODES:
        raise CallbackError(f"mode must be one of {', '.join(MODES)}, got {options['mode']!r}")
    if own := sorted(options.keys() & OWN):
        raise CallbackError(f"{', '.join(own)} of wandb.init can't be chosen: every run has its own")
    if unknown := sorted(options.keys() - signature(init).parameters.keys()):
        raise CallbackError(f"wandb.init has no option {', '.join(unknown)}")


def _identity(run: Run) -> str:
    """Of the same run always the same, so that it goes on where it is shown."""
    parts = (run.experiment.folder, run.experiment.suffix, run.experiment.recipe.hash, run.seed)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
