"""Tables of runs: the cells of every kind of row, and the reasons for a missing score."""

import re
from statistics import mean, median

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.results import scoring
from grokbench.results.scoring import Reference
from grokbench.results.tables import group, report, score_table, task_table
from grokbench.runs.records import RunRecord
from grokbench.tasks import parse_id
from tests.support.entries import good_runs, make_run

TABLE, OTHER_TABLE, CONTROL = "add_mod47-0.35-v1", "div_mod43-0.55-v1", "random_mod23-0.5-v1"

pytestmark = pytest.mark.usefixtures("reference")


def table_run(seed: int = 0, *, task: str = TABLE, t: float = 1_000, recipe: str = "transformer") -> RunRecord:
    """A complete run that generalizes at the first exam from step `t` on, except on the control."""
    return make_run(task, seed=seed, steps_to_generalize=t, recipe=find_recipe(recipe))


def cells(table: str) -> list[list[str]]:
    """The rows of a table in GitHub's style, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_a_row_of_generalized_runs() -> None:
    """The cells follow from the records, by the formulas of the protocol."""
    runs = [table_run(seed, t=t) for seed, t in enumerate((600, 900, 3_000))]
    times = [run.outcome.steps_to_generalize or 0 for run in runs]
    memorized = [run.outcome.steps_to_memorize or 0 for run in runs]
    ranks = [run.outcome.final_rank or 0 for run in runs]
    assert cells(task_table(runs, "github")) == [
        [
            TABLE,
            "transformer",
            "3/3",
            "44%–100%",
            f"{median(memorized):,.0f}",
            f"{median(times):,.0f}",
            f"{mean(times):,.0f}",
            f"{median(ranks):.1f}",
            "",
        ]
    ]


def test_a_row_of_censored_runs() -> None:
    """The median is beyond the budget, RMST is the budget, and no rank is shown."""
    runs = [table_run(seed, t=1e9) for seed in range(2)]
    ((*_, solved, _, _, generalized, rmst, rank, _),) = cells(task_table(runs, "github"))
    assert (solved, generalized, rmst, rank) == ("0/2", "> 5,000", "5,000", "")


def test_a_row_of_the_control() -> None:
    """A run at chance says so, and a run with one answer over the limit is named. Neither has an RMST or a rank."""
    at_chance = table_run(task=CONTROL)
    ((*_, generalized, rmst, rank, notes),) = cells(task_table([at_chance], "github"))
    assert (generalized, rmst, rank, notes) == ("at chance", "", "", "never scored")
    exams = [*at_chance.exams]
    limit = scoring.chance_limit(parse_id(CONTROL), len(exams))
    exams[-1] = exams[-1].model_copy(update={"held_out": limit + 1})
    ((*_, generalized, _, _, _),) = cells(task_table([at_chance.model_copy(update={"exams": exams})], "github"))
    assert generalized == "ABOVE CHANCE"


def test_incomplete_and_diverged_runs_are_noted() -> None:
    """An incomplete run isn't counted, and a diverged run is counted as unsolved."""
    complete, stopped, diverged = table_run(0), table_run(1), table_run(2)
    stopped = stopped.model_copy(update={"incomplete": "stopped: --max-steps 100"})
    outcome = diverged.outcome.model_copy(update={"steps_to_generalize": None, "end": "diverged"})
    diverged = diverged.model_copy(update={"outcome": outcome})
    (row,) = cells(task_table([complete, stopped, diverged], "github"))
    assert row[2] == "1/2"
    assert row[-1] == "seed 1 stopped: --max-steps 100; 1 diverged"
    (row,) = cells(task_table([stopped], "github"))
    assert row[2:-1] == ["incomplete", "", "", "", "", ""]


def test_a_complete_record_replaces_an_incomplete_one() -> None:
    """The same run counts once, whichever record comes first."""
    complete = table_run(0)
    incomplete = complete.model_copy(update={"incomplete": "stopped"})
    for records in ([complete, incomplete], [incomplete, complete], [complete, complete]):
        (runs,) = group(records)
        assert (len(runs.complete), runs.incomplete) == (1, ())


def test_recipes_that_share_a_name_are_told_apart() -> None:
    """Two hashes under a name get the first letters of the hash."""
    run, other = table_run(0), table_run(0)
    changed = other.agent.model_copy(update={"hash": "f" * 64})
    agents = {runs.agent for runs in group([run, other.model_copy(update={"agent": changed})])}
    assert agents == {f"transformer-{run.agent.hash[:8]}", "transformer-ffffffff"}


def test_the_score_is_against_the_reference_on_the_same_seeds(reference: Reference) -> None:
    """The geometric mean over tasks of RMST ratios, for the seeds at hand."""
    runs = [run for run in good_runs() if run.seed < 3]
    ratios = []
    for runs_of_task in group(run for run in runs if not run.parsed_task().control):
        task = runs_of_task.task
        ratios.append(reference.rmst(task, runs_of_task.seeds) / scoring.rmst(runs_of_task.times, task.budget))
    assert len(ratios) == 3
    assert scoring.score(ratios) != pytest.approx(1, abs=0.01)
    assert cells(score_table(runs, "github")) == [["transformer", f"×{scoring.score(ratios):.2f}", "3", "0–2", ""]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"incomplete": "failed: ValueError"}, f"1 incomplete on {TABLE}"),
        ({"salt": "grain"}, f"salted runs on {TABLE}"),
        ({"seed": 11}, f"no reference for these seeds of {TABLE}"),
        ({"task": "add_mod43-0.7-v1", "budget": 10_000}, "no reference for these seeds of add_mod43-0.7-v1"),
        ({"budget": 10_000}, f"another budget than the standard one on {TABLE}"),
    ],
)
def test_a_missing_score_has_a_reason(change: dict[str, object], reason: str) -> None:
    """The notes name everything that the score lacks."""
    records = [table_run(0), table_run(1).model_copy(update=change)]
    _, score, *_, notes = cells(score_table(records, "github"))[-1]
    assert (score, notes) == ("none", reason)


@pytest.mark.parametrize(("seeds", "shown"), [((0, 1, 2), "0–2"), ((0, 2), "0, 2"), ((4,), "4")])
def test_seeds_are_shown_as_ranges(seeds: tuple[int, ...], shown: str) -> None:
    """Consecutive seeds are a range."""
    ((_, _, _, cell, _),) = cells(score_table([table_run(seed) for seed in seeds], "github"))
    assert cell == shown


def test_the_report_names_the_reference(reference: Reference) -> None:
    """Both tables, and the recipes that the score compares with."""
    text = report([table_run(0)])
    assert text.startswith("task ")
    assert re.search(r"\nagent +score", text)
    assert all(f"`{agent}`" in text for agent in reference.agents)


def test_the_report_has_no_scores_without_a_task_of_the_reference(reference: Reference) -> None:
    """It says so, instead of a table whose every score is none."""
    text = report([table_run(0).model_copy(update={"task": "add_mod43-0.7-v1", "budget": 10_000})])
    assert not re.search(r"\nagent +score", text)
    assert f"{', '.join(f'`{agent}`' for agent in reference.agents)}, has no runs of add_mod43-0.7-v1." in text


def test_a_rank_is_that_of_the_runs_that_generalized() -> None:
    """A censored run has a final rank too, which doesn't count. The median step does count it."""
    runs = [table_run(0, t=600), table_run(1, t=1e9), table_run(2, t=1e9)]
    ((*_, generalized, _, rank, _),) = cells(task_table(runs, "github"))
    assert (generalized, rank) == ("> 5,000", f"{runs[0].outcome.final_rank:.1f}")
    assert runs[1].outcome.final_rank is not None


def test_a_salted_run_is_not_the_published_one() -> None:
    """Both count, though task, agent and seed are the same."""
    published = table_run(0)
    records = [published, published.model_copy(update={"salt": "grain"})]
    assert [(runs.salt, len(runs.complete)) for runs in group(records)] == [("", 1), ("grain", 1)]
    assert task_table(records).count("salt grain") == 1


def test_runs_with_different_budgets_are_told_apart() -> None:
    """They are other experiments: neither replaces the other, and each has a row."""
    longer = table_run(0).model_copy(update={"budget": 10_000})
    assert [len(runs.records) for runs in group([table_run(0), longer, table_run(1)])] == [2, 1]


def test_the_same_settings_under_two_names_are_the_same_agent() -> None:
    """A second record of a seed adds nothing."""
    first = table_run(0)
    renamed = first.model_copy(update={"agent": first.agent.model_copy(update={"name": "again"})})
    (runs,) = group([first, renamed])
    assert runs.records == (first,)


def test_the_control_has_no_score() -> None:
    """Its runs add neither a task nor a row."""
    (row,) = cells(score_table([table_run(0), table_run(0, task=CONTROL)], "github"))
    assert row[2] == "1"
    assert cells(score_table([table_run(0, task=CONTROL)], "github")) == []


def test_an_unfinished_control_has_no_other_note() -> None:
    """It is neither scored nor finished."""
    stopped = table_run(task=CONTROL).model_copy(update={"incomplete": "stopped"})
    assert cells(task_table([stopped], "github"))[0][-1] == "seed 0 stopped"


@pytest.mark.parametrize("name", ["007", "1e5", "nan", "1.10"])
def test_a_name_that_looks_like_a_number_stays_as_it_is(name: str) -> None:
    """Tables don't reformat it."""
    run = table_run(0)
    named = run.model_copy(update={"agent": run.agent.model_copy(update={"name": name})})
    assert cells(task_table([named], "github"))[0][1] == name
    assert cells(score_table([named], "github"))[0][0] == name


def test_rows_keep_the_order_of_the_records() -> None:
    """Tasks and agents come as they were first met."""
    met = [(OTHER_TABLE, "mlp"), (TABLE, "transformer"), (TABLE, "mlp")]
    runs = [table_run(seed, task=task, recipe=agent) for seed in (0, 1) for task, agent in met]
    assert [tuple(row[:2]) for row in cells(task_table(runs, "github"))] == met


def test_without_runs_there_is_a_head_alone() -> None:
    """No exception, and no row."""
    assert cells(task_table([], "github")) == cells(score_table([], "github")) == []
