"""Reproductions: what is measured on curves, verdicts, grids, and a study from runs to report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grokbench.analysis import patterns
from grokbench.analysis.curves import Curves
from grokbench.evaluation.protocol import Exam
from grokbench.runs.provenance import current_provenance
from grokbench.runs.records import Cost, make_record
from grokbench.runs.store import find_records
from grokbench.studies import deep_grokking, model_wise, omnigrok, pattern_learning
from grokbench.studies.settings import Deep, JointSettings, Measured, Scale, Wide
from grokbench.studies.study import STUDIES, Evidence, Statement, find_study, reproduce, spread, statements_table, verdicts

Levels = Sequence[float]
TASK = "mnist5k-n1000"


def curves_of(setting: Deep | Wide, seed: int, train: Levels, held_out: Levels, rank: Levels) -> Curves:
    """A made-up run with these curves, an exam at every step of the protocol's grid, interpolated between nine points."""
    from grokbench.evaluation.protocol import PROTOCOL

    task, steps = setting.experiment.task, list(PROTOCOL.grid(setting.experiment.task.budget))
    knots = np.geomspace(10, task.budget, len(train))
    read = [np.interp(np.log(steps), np.log(knots), values) for values in (train, held_out, rank)]
    measures = (
        "effective_rank",
        "srank",
        "participation_ratio",
        "stable_rank",
        "deep_grokking_rank_paper",
        "deep_grokking_rank_code",
    )
    exams = [
        Exam(
            step,
            round(float(a) * task.num_train),
            round(float(b) * task.num_held_out),
            {name: [float(r)] * 2 for name in measures},
            metrics={"weight_norm": [10.0 / (1 + i), 1.0, 1.0]},
        )
        for i, (step, a, b, r) in enumerate(zip(steps, *read, strict=True))
    ]
    cost = Cost(steps=steps[-1], examples=None, flops=None, parameters=7, seconds=60.0)
    return Curves(
        make_record(
            task, setting.experiment.recipe, (), seed, "", "", [seed], exams, cost, current_provenance("cpu", None), None
        )
    )


LATE = ([0.1, 0.99, 1, 1, 1, 1, 1, 1, 1], [0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.8, 0.9, 0.9], [90, 90, 80, 80, 70, 60, 40, 30, 30])
EARLY = ([0.1, 0.99, 1, 1, 1, 1, 1, 1, 1], [0.1, 0.88, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [50.0] * 9)
STAGES = (
    [0.1, 0.99, 1, 1, 1, 1, 1, 1, 1],
    [0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9],
    [90, 80, 50, 80, 80, 80, 80, 30, 30],
)


def test_what_is_measured_on_a_run() -> None:
    """Memorization, delay, stages, falls, tunnel and the rank's change, on curves with known answers."""
    late, early, stages = (curves_of(Deep(TASK, 3, 8.0, 0.05), 0, *shape) for shape in (LATE, EARLY, STAGES))
    assert late.memorized is not None
    assert late.delay is not None
    assert late.delay.ratio > 5
    assert early.delay is None
    assert (early.stages, late.stages, stages.stages) == (1, 1, 2)
    assert (late.falls(), stages.falls()) == (1, 2)
    start, end = late.rank_around()
    assert start > 80
    assert end == 30
    start, end = late.rank_as_it_generalizes()
    assert 60 < start < 75
    assert end == 30
    rising = curves_of(Deep(TASK, 3, 8.0, 0.05), 0, LATE[0], [0.1] * 7 + [0.4, 0.8], LATE[2])
    never = curves_of(Deep(TASK, 3, 8.0, 0.05), 0, LATE[0], [0.1] * 9, LATE[2])
    assert [one.settled for one in (late, early, rising, never)] == [True, True, False, False]
    assert late.tunnel(width=200) == 2
    assert early.tunnel(width=50) == 0
    assert late.half is not None
    assert 800 < late.half < 6000
    steps, norms = late.metrics("weight_norm")
    assert norms.shape == (len(steps), 3)


def test_verdicts() -> None:
    """A statement without a evidence wasn't tested; the table and the count say which is which."""
    made = [Statement("a", "x", None), Statement("b", "x", Evidence("1 of 2", True)), Statement("c", "x", Evidence("0", False))]
    assert [one.verdict for one in made] == ["not tested at this scale", "reproduced", "not reproduced"]
    assert "1 of 2" in statements_table(made)
    assert verdicts(made) == "1 reproduced, 1 not reproduced, 1 not tested at this scale"
    assert spread([1.0, None, 3.0]) == "2 (1–3, 1 never)"
    assert spread([None]) == "never"


def test_deep_grokkings_statements() -> None:
    """Curves as the paper has them reproduce its statements, other curves don't, and what didn't run isn't tested."""
    alphas: dict[float, tuple[Levels, Levels, Levels]] = {1.0: EARLY, 8.0: LATE}
    as_published: Measured = {
        Deep(TASK, depth, alpha, decay): [curves_of(Deep(TASK, depth, alpha, decay), seed, *shape) for seed in (0, 1)]
        for depth in (3, 6)
        for alpha, shape in alphas.items()
        for decay in deep_grokking.DECAYS
    }
    found = {one.text: one.verdict for one in deep_grokking.statements(as_published)}
    assert found["α = 8: grokking, held-out accuracy rises long after train accuracy"] == "reproduced"
    assert found["without the large initialization there is no grokking (α = 1)"] == "reproduced"
    assert found["deep networks generalize in two surges (depth 6)"] == "not reproduced"
    assert found["N = 7000: depth 4 generalizes without grokking"] == "not tested at this scale"
    swapped: Measured = {s: [curves_of(s, 0, *STAGES)] for s in as_published if isinstance(s, Deep)}
    found = {one.text: one.verdict for one in deep_grokking.statements(swapped)}
    assert found["deep networks generalize in two surges (depth 6)"] == "reproduced"
    assert found["their feature rank falls, rises and falls again: double descent (depth 6)"] == "reproduced"
    paper = [deep_grokking.paper(7000, depth, 0.01) for depth in (4, 8, 12)]
    assert all(one in [s for batch in deep_grokking.batches("paper") for s in batch.settings] for one in paper)


def test_omnigroks_law() -> None:
    """Times that go as 1/γ give an exponent of −1; times that don't depend on γ don't."""

    def shifted(decay: float, exponent: float) -> Levels:
        # Nine knots over 3.3 decades: half of the rise at 2000 · (γ/.05)^exponent.
        middle = np.log10(2000 * (decay / 0.05) ** exponent)
        return [0.1 + 0.8 / (1 + np.exp(-12 * (x - middle))) for x in np.linspace(1, np.log10(20_000), 9)]

    for exponent, verdict in ((-1.0, "reproduced"), (0.0, "not reproduced")):
        measured: Any = {
            Deep(TASK, 3, 8.0, g): [curves_of(Deep(TASK, 3, 8.0, g), s, LATE[0], shifted(g, exponent), LATE[2]) for s in (0, 1)]
            for g in omnigrok.DECAYS
        }
        law = next(one for one in omnigrok.statements(measured) if "∝" in one.text)
        assert law.verdict == verdict, law.evidence


def test_model_wise_statements() -> None:
    """A row of widths that fits first and generalizes only when larger is grokking over the model."""
    shapes = {2: ([0.1] * 9, [0.05] * 9), 4: (LATE[0], [0.05] * 9), 8: (LATE[0], [0.05] * 9), 16: LATE[:2], 32: LATE[:2]}
    shapes = {w: (t, [min(1.0, 1.1 * x) for x in h]) for w, (t, h) in shapes.items()}
    measured: Any = {
        Wide("div_mod23-0.7", w, 1, 1.0, 500): [curves_of(Wide("div_mod23-0.7", w, 1, 1.0, 500), 0, t, h, LATE[2])]
        for w, (t, h) in shapes.items()
    }
    found = [one.verdict for one in model_wise.statements(measured)]
    assert found[:2] == ["reproduced", "reproduced"]
    assert "smallest that fits" in next(one.evidence.measured for one in model_wise.statements(measured)[1:] if one.evidence)


def test_the_toy_model_as_published() -> None:
    """Both settings do what the paper shows, whatever real runs do."""
    first, second, *others = pattern_learning.statements({})
    assert (first.verdict, second.verdict) == ("reproduced", "reproduced")
    assert {one.verdict for one in others} == {"not tested at this scale"}
    assert patterns.train_accuracy(patterns.GROKKING, pattern_learning.TIMES)[-1] > 0.99


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_grid_can_be_made(name: str, scale: Scale) -> None:
    """Every setting names a task and an agent that accepts it, once, and at least three seeds but for what the dtype does."""
    batches = find_study(name).batches(scale)
    cells = [setting.experiment for batch in batches for setting in batch.settings]
    assert len({(cell.task.id, cell.recipe.hash) for cell in cells}) == len(cells)
    assert all(len(batch.seeds) >= 3 for batch in batches if batch.settings != (deep_grokking.DOUBLE,))
    for batch in batches:
        assert len({setting.experiment.task.id for setting in batch.settings}) == 1
        made = [setting.experiment.recipe.make() for setting in batch.settings]
        if len(made) > 1:
            made[0].together(made)  # type: ignore[attr-defined]


def test_a_study_from_runs_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real runs of a tiny grid, their report and figures; run again, nothing is trained anew."""
    settings = tuple(Deep("mnist5k-n60", 3, alpha, 0.05, width=12, steps=40) for alpha in (1.0, 8.0))
    monkeypatch.setattr(deep_grokking, "batches", lambda scale: [JointSettings(settings, (0, 1))])
    monkeypatch.setattr(deep_grokking, "SMALL", "mnist5k-n60")
    runs, out = tmp_path / "runs", tmp_path / "report"
    assert reproduce("deep-grokking", "small", runs, out, "cpu") is not None
    text = (out / "README.md").read_text()
    assert "not tested at this scale" in text
    assert (out / "depth-3.png").stat().st_size > 10_000
    records, errors = find_records([runs])
    assert not errors
    assert len(records) == 4
    assert {tuple(record.cohort) for record in records} == {(0, 1, 0, 1)}
    first = records[0].exams[0]
    assert first.metrics is not None
    assert sorted(first.metrics) == ["probe", "weight_norm"]
    assert [len(numbers) for _, numbers in sorted(first.metrics.items())] == [2, 3]
    reproduce("deep-grokking", "small", runs, out, "cpu")
    assert [one.cost.seconds for one in find_records([runs])[0]] == [one.cost.seconds for one in records]


def test_an_unknown_study() -> None:
    """The error names the studies there are."""
    with pytest.raises(ValueError, match="expected one of deep-grokking, omnigrok, pattern-learning, model-wise"):
        find_study("grokking")
