"""A good entry over `mini`, its runs made up in no time: every exam on the grid, counts and ranks as a real one's could be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.files import RECIPE, official_runs
from grokbench.board.entries.form import Form, Tuning
from grokbench.board.entries.submit import write_entry
from grokbench.evaluation.protocol import PROTOCOL, Exam, Outcome
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.provenance import Provenance
from grokbench.runs.records import Cost, RunRecord, make_record
from grokbench.tasks import Task, make_instance, parse_id

FORM = Form(
    title="Made up",
    authors=["A. Nonymous"],
    link="https://example.org/paper",
    description="Nothing was trained for this.",
    license="MIT",
    protocol=1,
    suite="mini",
    agent=RECIPE,
    division="closed",
    tuning=Tuning(settings=3, tasks=["add_mod47-0.7"]),
)


def exams_of(task: Task, seed: int, t: float) -> list[Exam]:
    """The exams of a run that memorizes at 100 and generalizes at about t, or never on a random table."""
    random = np.random.default_rng([seed, task.num_questions, int(t)])
    outcome, exams = Outcome(), []
    while not outcome.end:
        step = PROTOCOL.next_exam(outcome.step, task.budget)
        guess = int(random.binomial(task.num_held_out, 1 / task.num_symbols))
        held_out = task.num_held_out if step >= t and not task.control else guess
        seen = task.num_train if step >= 100 else int(random.integers(task.num_train // 2))
        ranks = {name: [float(random.uniform(20, 80))] for name in MEASURES}
        exams.append(Exam(step, seen, held_out, ranks, float(random.uniform(0, 4))))
        outcome = PROTOCOL.advance(outcome, exams[-1], task)
    return exams


def run_of(task_id: str, seed: int, t: float, recipe: Recipe) -> RunRecord:
    """The record of such a run."""
    task = parse_id(task_id)
    exams = exams_of(task, seed, t)
    steps = exams[-1].step
    return make_record(
        task,
        recipe,
        (128,),
        seed,
        "",
        make_instance(task, seed).fingerprint,
        [seed],
        exams,
        Cost(steps=steps, examples=steps, flops=steps, parameters=209_792, seconds=1.0),
        Provenance(
            versions={"python": "3.11"}, device="cpu", dtype="float32", threads=2, commit=None, dirty=None, code="0" * 64
        ),
        None,
    )


def good_runs(recipe: str = "transformer", around: float = 1_000, luck: int = 0) -> list[RunRecord]:
    """All of `mini`'s official runs."""
    random = np.random.default_rng(luck)
    found = find_recipe(recipe)
    return [run_of(task, seed, around * random.lognormal(0, 0.2), found) for task, seed in official_runs("mini")]


def write(folder: Path, runs: list[RunRecord] | None = None, **form: Any) -> Path:
    """The entry in `folder`."""
    write_entry(folder, FORM.model_copy(update=form), runs if runs is not None else good_runs())
    return folder


def restate(run: dict[str, Any]) -> None:
    """Give a run, as parsed JSON, the hash of the recipe that it states now."""
    agent = run["agent"]
    agent["hash"] = Recipe(agent["name"], agent["target"], agent["hyperparameters"], agent["source"]).hash


def rewrite(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Change the entry's runs, as parsed JSON, and keep the file canonical otherwise."""
    path = folder / "runs.jsonl"
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(runs)
    dumped = (json.dumps(run, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for run in runs)
    path.write_text("".join(f"{line}\n" for line in dumped), encoding="utf-8")
