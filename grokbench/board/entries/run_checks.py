"""Checks of a single run: its outcome, agent, costs and ranks are recomputed or bounded, and oddities are noted."""

import re
from collections.abc import Iterator, Sequence

from grokbench.agents.recipes import Recipe
from grokbench.agents.targets import is_baseline
from grokbench.board.entries.entry import Entry, instance_fingerprint, official_runs, packed_recipe, run_key
from grokbench.board.entries.files import RUNS
from grokbench.board.entries.findings import Finding
from grokbench.evaluation.protocol import Ranks
from grokbench.evaluation.ranks import MEASURES
from grokbench.results import scoring
from grokbench.runs.records import OutcomeRecord, RunRecord
from grokbench.tasks import parse_id

RERUN = "run it again with `grokbench run` and pack the entry with `grokbench submit`"
IMPLAUSIBLE_SPEEDUP = 10  # over the reference's fastest run: a reviewer should look
RANK_TOLERANCE = 1e-6  # by which a measured rank may pass its bound
MOST_LAYERS = 100  # of a baseline's network, whatever the recipe claims
AGENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


def run_name(run: RunRecord) -> str:
    """Task and seed in words, as findings name a run."""
    return f"{run.task} seed {run.seed}"


def run_findings(run: RunRecord, entry: Entry) -> Iterator[Finding]:
    """Everything wrong with one official run by itself. Runs that aren't official have no findings here."""
    if run_key(run) not in official_runs(entry.form.suite):
        return
    try:
        recomputed = run.recomputed()
    except (ValueError, LookupError) as error:
        yield _error(run, f"its exams don't follow the protocol ({str(error)[:200]})")
        return
    yield from _outcome_findings(run, recomputed)
    yield from _instance_findings(run)
    yield from _agent_findings(run, entry.recipe)
    yield from _cost_findings(run)
    yield from _rank_findings(run, entry.recipe)
    yield from _control_findings(run)
    yield from _speed_findings(run)


def _error(run: RunRecord, problem: str, remedy: str = RERUN) -> Finding:
    return Finding(RUNS, run_name(run), problem, remedy)


def _note(run: RunRecord, problem: str) -> Finding:
    return Finding(RUNS, run_name(run), problem, "expect a reviewer's questions", refused=False)


def _outcome_findings(run: RunRecord, recomputed: OutcomeRecord) -> Iterator[Finding]:
    if recomputed != run.outcome:
        yield _error(run, "its outcome doesn't follow from its exams")
    if run.incomplete is not None or recomputed.end is None:
        yield _error(run, "is incomplete", "let it run to its end")


def _instance_findings(run: RunRecord) -> Iterator[Finding]:
    if run.salt:
        yield _error(run, "ran on a salted instance", "official runs have no salt")
    elif run.fingerprint != instance_fingerprint(run.task, run.seed):
        yield _error(run, "its fingerprint isn't that of the instance", "run it with an unchanged grokbench")
    if run.budget != (standard := parse_id(run.task).budget):
        yield _error(
            run, f"has a budget of {run.budget:,} steps", f"the suite's budget is {standard:,}: run it without --budget"
        )
    if run.exam_grid is not None:
        yield _error(run, f"has {run.exam_grid} exams", "official runs have all exams: make them with `grokbench run`")


def _agent_findings(run: RunRecord, recipe: Recipe) -> Iterator[Finding]:
    if not AGENT_NAME.fullmatch(run.agent.name):
        yield _error(run, "its agent's name can't be shown", "use at most 60 letters, digits, points and hyphens")
    stated = run.agent.model_copy(update={"name": recipe.name}).recipe  # any name: it is a stranger's
    if packed_recipe(stated) != recipe:
        yield _error(run, "was made by another recipe or code than the entry's", "bring the recipe and code that made the runs")
    elif run.agent.hash != stated.hash:
        yield _error(run, "its agent's hash isn't that of the recipe in the record")


def _cost_findings(run: RunRecord) -> Iterator[Finding]:
    last_step = run.exams[-1].step if run.exams else 0
    if run.cost.steps != last_step:
        yield _error(run, "its cost doesn't fit its exams")
    if run.seed not in run.cohort or len(set(run.cohort)) < len(run.cohort):
        yield _error(run, "its cohort lacks its own seed or has a seed twice")


def _rank_findings(run: RunRecord, recipe: Recipe) -> Iterator[Finding]:
    measured = [exam.ranks for exam in run.exams if exam.ranks]
    widths = _baseline_widths(recipe) or run.agent.feature_dims
    if not _same_measures(measured):
        yield _error(run, "its exams don't all have every measure of rank for the same layers")
        return
    if widths is None:
        yield _error(run, "doesn't state the widths of its layers, agent.feature_dims")
        return
    if run.agent.feature_dims not in (None, widths):
        yield _error(run, f"states layers of widths {run.agent.feature_dims}, its network has {widths}")
    if measured and len(measured[0]["effective_rank"]) != len(widths):
        yield _error(run, f"has ranks of other layers than those of widths {widths}")
    elif not _within_bounds(measured, widths, run.parsed_task().num_questions):
        questions = run.parsed_task().num_questions
        yield _error(run, f"has a rank out of bounds for {questions} questions and layers of widths {widths}")


def _same_measures(measured: Sequence[Ranks]) -> bool:
    """Whether every exam has all measures of rank, each for the same number of layers."""
    complete = all(set(ranks) == set(MEASURES) for ranks in measured)
    return complete and len({len(layers) for ranks in measured for layers in ranks.values()}) <= 1


def _within_bounds(measured: Sequence[Ranks], widths: Sequence[int], num_questions: int) -> bool:
    """Whether every rank lies between 0 and the largest rank of centered features (num_questions, width)."""
    bounds = [min(width, num_questions - 1) + RANK_TOLERANCE for width in widths]
    by_layer = [zip(layers, bounds, strict=True) for ranks in measured for layers in ranks.values()]
    return all(0 <= rank <= bound for layers in by_layer for rank, bound in layers)


def _baseline_widths(recipe: Recipe) -> list[int] | None:
    """The widths of the layers that a baseline's network shows; None for a network of the entry's own."""
    network = recipe.plain_hyperparameters.get("network")
    if not is_baseline(recipe.target) or not isinstance(network, dict):
        return None
    hidden, width, depth = (network.get(name) for name in ("hidden", "width", "depth"))
    if isinstance(hidden, list) and all(isinstance(size, int) for size in hidden):
        return hidden
    num_layers = depth - 1 if isinstance(depth, int) and 2 <= depth <= MOST_LAYERS else 1
    return [width] * num_layers if isinstance(width, int) else None


def _control_findings(run: RunRecord) -> Iterator[Finding]:
    task = run.parsed_task()
    if task.control and scoring.beats_chance(task, [exam.exam() for exam in run.exams]):
        remedy = "no honest method can: find out how the answers leak"
        yield _error(run, "answers held-out questions of the random control better than chance", remedy)
    if task.control and run.outcome.end == "diverged":
        yield _note(run, "diverged on the random control, so the control shows nothing")


def _speed_findings(run: RunRecord) -> Iterator[Finding]:
    outcome, budget = run.outcome, run.parsed_task().budget
    if outcome.steps_to_generalize is not None and outcome.steps_to_memorize is None:
        yield _note(run, "generalizes without having memorized")
    solved_steps = [steps for steps in scoring.reference().tasks.get(run.task, {}).values() if steps is not None]
    if solved_steps and (outcome.steps_to_generalize or budget) * IMPLAUSIBLE_SPEEDUP < min(solved_steps):
        yield _note(run, f"generalizes more than {IMPLAUSIBLE_SPEEDUP} times faster than the reference's fastest run")
