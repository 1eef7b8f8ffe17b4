"""A study from its name to its report."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from grokbench.agents.recipes import Recipe
from grokbench.analysis.curves import Curves
from grokbench.errors import StudyError
from grokbench.runs.plan import Experiment
from grokbench.runs.store import find_records
from grokbench.studies import deep_grokking
from grokbench.studies.settings import Baseline, Deep, Setting
from grokbench.studies.study import STUDIES, find_study, reproduce
from grokbench.tasks import parse_id
from tests.support.curves import AT_ONCE, LATE, make_curves
from tests.support.tables import table_rows

REPORTS = Path(__file__).parents[2] / "docs" / "studies"


def test_an_unknown_study() -> None:
    """The error names the studies there are."""
    with pytest.raises(StudyError, match="'grokking': expected one of deep-grokking, omnigrok, pattern-learning, model-wise"):
        find_study("grokking")


def test_a_study_from_runs_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny grid is trained, with probes and weight norms in its records; a second call trains nothing."""
    settings = tuple(Deep("mnist5k-n60", 3, alpha, 0.05, width=12, steps=40) for alpha in (1.0, 8.0))
    monkeypatch.setattr(deep_grokking, "settings", lambda scale: dict.fromkeys(settings, (0, 1)))
    runs, out = tmp_path / "runs", tmp_path / "report"
    statements = reproduce("deep-grokking", scale="small", runs=runs, out=out, device="cpu")
    assert statements is not None
    assert {statement.conclusion for statement in statements} == {"not tested at this scale"}
    report = (out / "README.md").read_text(encoding="utf-8")
    assert report.startswith("# Deep Grokking")
    assert "`grokbench reproduce deep-grokking --scale small`: 25 not tested at this scale." in report
    assert "4 runs of 2 settings" in report
    assert {path.name for path in out.iterdir()} == {"README.md", "depth-3.png"}

    records, errors = find_records([runs])
    assert not errors
    assert {tuple(record.cohort) for record in records} == {(0, 1, 0, 1)}
    metrics = records[0].exams[0].metrics
    assert metrics is not None
    assert {name: len(layers) for name, layers in metrics.items()} == {"probe": 2, "weight_norm": 3}
    reproduce("deep-grokking", scale="small", runs=runs, out=out, device="cpu")
    assert [record.cost.seconds for record in find_records([runs])[0]] == [record.cost.seconds for record in records]


@dataclass(frozen=True)
class Small(Setting):
    """A setting whose agent is a class of `tests.support.agents`."""

    agent: str

    @property
    def experiment(self) -> Experiment:
        """Addition mod 7 with the agent."""
        return Experiment(parse_id("add_mod7-0.5-to100"), Recipe(self.agent.lower(), f"tests.support.agents:{self.agent}"))


def test_an_incomplete_study_has_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails leaves the other settings their runs, and nothing is written beside them."""
    settings = {Small(agent): (0,) for agent in ("RaisingAgent", "AddingAgent")}
    monkeypatch.setattr(deep_grokking, "settings", lambda scale: settings)
    assert reproduce("deep-grokking", scale="paper", runs=tmp_path / "runs", out=tmp_path / "report", device="cpu") is None
    assert not (tmp_path / "report").exists()
    records, _ = find_records([tmp_path / "runs"])
    assert [(record.agent.name, record.incomplete) for record in records if not record.incomplete] == [("addingagent", None)]


def test_the_papers_scale_is_not_described_as_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report has no paragraph about how the small scale differs, and names the command with its scale."""
    setting = Deep("mnist5k-n60", 2, 1.0, 0.05, width=4, steps=10)
    monkeypatch.setattr(deep_grokking, "settings", lambda scale: {setting: (1,)})
    reproduce("deep-grokking", scale="paper", runs=tmp_path / "runs", out=tmp_path / "report", device="cpu")
    report = (tmp_path / "report" / "README.md").read_text(encoding="utf-8")
    assert "`grokbench reproduce deep-grokking --scale paper`: " in report
    assert deep_grokking.SMALL_SCALE not in report
    assert {record.seed for record in find_records([tmp_path / "runs"])[0]} == {1}


BASELINE_RUN = make_curves(Baseline("add_mod47-0.7", "mlp"), LATE)  # for all baselines: each run is fitted once


def made_up(setting: Setting) -> Curves:
    """A run that generalizes at once at α = 1, else a late run."""
    if isinstance(setting, Baseline):
        return BASELINE_RUN
    return make_curves(setting, AT_ONCE if isinstance(setting, Deep) and setting.alpha == 1 else LATE)


@pytest.mark.parametrize("name", STUDIES)
def test_committed_reports_have_the_codes_words(name: str) -> None:
    """The reports' runs aren't kept, so all but the numbers is compared with a report on made-up runs."""
    study = find_study(name)
    curves = {setting: [made_up(setting)] for setting in study.settings("small")}
    report = (REPORTS / name / "README.md").read_text(encoding="utf-8")
    statements = study.statements(curves)
    committed = table_rows(report)[1 : len(statements) + 1]
    assert [row[:2] for row in committed] == [[statement.text, statement.source] for statement in statements]
    assert report.startswith(f"# {study.TITLE}\n")
    assert study.SMALL_SCALE in report
    assert all(f"]({file_name})" in report for file_name in study.figures(curves))
    for part in study.tables(curves):
        expected = [table_rows(part)[0]] if part.startswith("|") else [part]
        assert all(row in table_rows(report) or row in report.split("\n\n") for row in expected)
