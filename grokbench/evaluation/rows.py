"""An exam as a row of named numbers: what DataFrames and loggers show of it."""

from collections.abc import Sequence

from grokbench.evaluation.protocol import Exam
from grokbench.evaluation.ranks import MEASURES
from grokbench.tasks import Task

COLUMNS = ("step", "train_accuracy", "held_out_accuracy", "loss", "train_loss", "held_out_loss", *MEASURES)  # in every table
NAMES = ("run", "task", "agent", "seed", "salt")  # what a table of several runs shows beside an exam's numbers


def exam_row(exam: Exam, task: Task) -> dict[str, float | None]:
    """`step`, `train_accuracy`, `held_out_accuracy`, the losses, every rank of the last layer, and metrics.

    With several layers, `effective_rank.1` is the first layer's; metrics are numbered in the same way. A metric that the agent
    calls like one of the other columns, such as `train_accuracy`, is `metric.train_accuracy`.
    """
    row: dict[str, float | None] = {
        "step": exam.step,
        "train_accuracy": exam.train / task.num_train,
        "held_out_accuracy": exam.held_out / task.num_held_out,
        "loss": exam.loss,
        "train_loss": exam.train_loss,
        "held_out_loss": exam.held_out_loss,
    }
    for name, layers in (exam.ranks or {}).items():
        row |= {name: layers[-1]} | _numbered(name, layers)
    for metric, layers in (exam.metrics or {}).items():
        if not layers:
            continue
        taken = metric in row or metric in NAMES or metric in MEASURES
        name = f"metric.{metric}" if taken else metric
        row |= _numbered(name, layers) or {name: layers[0]}
    return row


def _numbered(name: str, layers: Sequence[float]) -> dict[str, float]:
    return {f"{name}.{i}": value for i, value in enumerate(layers, start=1)} if len(layers) > 1 else {}
