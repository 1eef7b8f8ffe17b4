"""A good entry to `mini` without any training: its exams follow the protocol, and its counts and ranks are plausible."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.checks import Checked
from grokbench.board.entries.entry import Entry, official_runs, read_entry
from grokbench.board.entries.files import RECIPE
from grokbench.board.entries.form import Form, SettingsTried
from grokbench.board.entries.submit import write_entry
from grokbench.board.entries.tuning_lines import PackedTuning, RunLine, SpaceLine
from grokbench.evaluation.protocol import Exam, Outcome, protocol_of
from grokbench.evaluation.ranks import MEASURES
from grokbench.runs.provenance import Provenance
from grokbench.runs.records import Cost, RunRecord, make_record
from grokbench.sweeps.space import Space
from grokbench.sweeps.tuning import RULES, Rules, Trial, Tuning, TuningKey, TuningRun, follow
from grokbench.tasks import Task, make_instance, parse_id

MEMORIZED_AT = 100  # steps
FORM = Form(
    title="Made up",
    authors=["A. Nonymous"],
    link="https://example.org/paper",
    description="Nothing was trained for this.",
    license="MIT",
    protocol=2,
    suite="mini",
    agent=RECIPE,
    division="closed",
    tuning=SettingsTried(settings=3, tasks=["add_mod31-0.7"]),
)
PROVENANCE = Provenance(
    versions={"python": "3.11"}, device="cpu", dtype="float32", threads=2, commit=None, dirty=None, code="0" * 64
)

JsonRuns = list[dict[str, Any]]


def make_exams(task: Task, *, seed: int, steps_to_generalize: float) -> list[Exam]:
    """The exams of a run that memorizes at step 100 and then generalizes, except on a random table."""
    rng = np.random.default_rng([seed, task.num_questions, int(min(steps_to_generalize, 1e9))])
    outcome, exams, protocol = Outcome(), [], protocol_of(task)
    while not outcome.end:
        step = protocol.next_exam(outcome.step, protocol.horizon(task))
        guessed = int(rng.binomial(task.num_held_out, 1 / task.num_symbols))
        held_out = task.num_held_out if step >= steps_to_generalize and not task.control else guessed
        train = task.num_train if step >= MEMORIZED_AT else int(rng.integers(task.num_train // 2))
        ranks = {name: [float(rng.uniform(20, 80))] for name in MEASURES}
        measured = ranks if protocol.measures_ranks(outcome.exams) else None
        exams.append(Exam(step, train, held_out, measured, float(rng.uniform(0, 4))))
        outcome = protocol.advance(outcome, exams[-1], task)
    return exams


def make_run(of: str | Task, *, seed: int, steps_to_generalize: float, recipe: Recipe) -> RunRecord:
    """The record of a run with such exams. The task can have another budget, or sparse exams."""
    task = parse_id(of) if isinstance(of, str) else of
    exams = make_exams(task, seed=seed, steps_to_generalize=steps_to_generalize)
    steps = exams[-1].step
    return make_record(
        task=task,
        recipe=recipe,
        feature_dims=(128,),
        seed=seed,
        salt="",
        fingerprint=make_instance(task, seed).fingerprint,
        cohort=[seed],
        exams=exams,
        cost=Cost(steps=steps, examples=steps, flops=steps, parameters=209_792, seconds=1.0),
        provenance=PROVENANCE,
        incomplete=None,
    )


def good_runs(recipe_name: str = "transformer", *, around: float = 1_000, luck: int = 0) -> list[RunRecord]:
    """All official runs of `mini`, which generalize around the given step. `luck` seeds their steps."""
    return list(_good_runs(recipe_name, around, luck))


@cache
def _good_runs(recipe_name: str, around: float, luck: int) -> tuple[RunRecord, ...]:
    rng = np.random.default_rng(luck)
    recipe = find_recipe(recipe_name)
    return tuple(
        make_run(task, seed=seed, steps_to_generalize=around * rng.lognormal(0, 0.2), recipe=recipe)
        for task, seed in official_runs("mini")
    )


def write_good_entry(folder: Path, runs: list[RunRecord] | None = None, **form: Any) -> Path:
    """Write an entry with these runs, by default good ones, and return its folder. `form` changes keys of `entry.toml`."""
    write_entry(folder, FORM.model_copy(update=form), runs if runs is not None else good_runs())
    return folder


def read_good_entry(folder: Path) -> Entry:
    """The entry in `folder`, which must be readable."""
    entry, _ = read_entry(folder)
    assert entry is not None
    return entry


def errors_of(checked: Checked) -> str:
    """All findings that refuse the entry, one on each line."""
    return "\n".join(str(finding) for finding in checked.findings if finding.refused)


def restate_hash(run: dict[str, Any]) -> None:
    """Give a run, as parsed JSON, the hash of the recipe that it has now."""
    agent = run["agent"]
    agent["hash"] = Recipe(agent["name"], agent["target"], agent["hyperparameters"], agent["source"]).hash


def change_runs(folder: Path, change: Callable[[JsonRuns], Any]) -> None:
    """Change the entry's runs, as parsed JSON, and keep the file canonical otherwise."""
    path = folder / "runs.jsonl"
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(runs)
    dumped = (json.dumps(run, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for run in runs)
    path.write_text("".join(f"{line}\n" for line in dumped), encoding="utf-8")


def change_text(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of `old` in a file, which must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def make_tuning(space: Space, rules: Rules = RULES, *, luck: int = 0) -> tuple[Tuning, PackedTuning]:
    """A tuning without any training: T is inverse to learning rate × weight decay, with noise."""
    runs: dict[TuningKey, RunLine] = {}

    def results(wanted: Sequence[TuningRun]) -> list[Trial]:
        return [result(run) for run in wanted]

    def result(run: TuningRun) -> Trial:
        optimizer = space.recipe(run.number, run.point).plain_hyperparameters["optimizer"]
        noise = np.random.default_rng([run.number, run.seed, run.task.num_train, luck]).lognormal(0, 0.3)
        steps = 6 * noise / (optimizer["lr"] * optimizer["weight_decay"] + 1e-9)
        exams = make_exams(run.task, seed=1_000 * run.number + run.seed, steps_to_generalize=steps)
        outcome = protocol_of(run.task).outcome(exams, run.task)
        runs[run.key] = RunLine(
            setting=run.number,
            task=run.task.id,
            seed=run.seed,
            fingerprint=make_instance(run.task, run.seed, salt=rules.salt).fingerprint,
            provenance=0,
            train=[exam.train for exam in exams],
            held_out=[exam.held_out for exam in exams],
            diverged=False,
            steps_to_generalize=outcome.steps_to_generalize,
        )
        return Trial.of(run.task, run.seed, outcome)

    tuning = follow(space, results, rules)
    published = space.published.plain_hyperparameters
    first = SpaceLine(published=published, family=space.family, own=space.ranges, provenances=[PROVENANCE])
    return tuning, PackedTuning(first, tuple(runs[key] for key in sorted(runs)))


def by_recipe(runs: list[RunRecord], recipe: Recipe) -> list[RunRecord]:
    """The runs as if another recipe had made them."""
    agent = {"hyperparameters": recipe.plain_hyperparameters, "hash": recipe.hash}
    return [run.model_copy(update={"agent": run.agent.model_copy(update=agent)}) for run in runs]
