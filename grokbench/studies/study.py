"""From a study's name to its report: make the runs, test the statements, write the page."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from grokbench.analysis.curves import Curves
from grokbench.errors import StudyError
from grokbench.runs.engine import run
from grokbench.runs.plan import Run
from grokbench.runs.progress import Progress
from grokbench.runs.records import read_record
from grokbench.runs.store import Store
from grokbench.studies.figures import save
from grokbench.studies.report import describe_runs, report
from grokbench.studies.settings import CurvesBySetting, Scale, SeedsBySetting
from grokbench.studies.statements import Statement, all_runs, count_conclusions
from grokbench.sweeps.joint import joint_plans

STUDIES = ("deep-grokking", "omnigrok", "pattern-learning", "model-wise")


class Study(Protocol):
    """The module of a paper."""

    TITLE: str
    SMALL_SCALE: str  # how the small scale differs from the paper

    def settings(self, scale: Scale) -> SeedsBySetting:
        """The settings to run, and the seeds of each."""

    def statements(self, curves: CurvesBySetting) -> list[Statement]:
        """Every statement of the paper, tested on these runs."""

    def tables(self, curves: CurvesBySetting) -> list[str]:
        """The numbers of every setting, as Markdown."""

    def figures(self, curves: CurvesBySetting) -> dict[str, Figure]:
        """The figures by file name."""


def find_study(name: str) -> Study:
    """The module of a study.

    Raises:
        StudyError: No study has this name.
    """
    if name not in STUDIES:
        raise StudyError(f"no study is called {name!r}: expected one of {', '.join(STUDIES)}")
    study: Study = import_module(f"grokbench.studies.{name.replace('-', '_')}")
    return study


def reproduce(
    name: str,
    *,
    scale: Scale,
    runs: Path,
    out: Path,
    **options: Any,
) -> list[Statement] | None:
    """Make the runs of a study that are missing, and write its report and figures.

    Args:
        name: The study, one of `STUDIES`.
        scale: "small" fits two CPU cores; "paper" has the paper's own settings.
        runs: The folder of runs, which all studies share. Finished runs in it aren't made again.
        out: The folder for README.md and the figures.
        **options: Those of `engine.run` that say where and how runs are computed.

    Returns:
        The tested statements, None if a run is incomplete.

    Raises:
        StudyError: No study has this name.
    """
    study, store = find_study(name), Store(runs)
    settings = study.settings(scale)
    plans = joint_plans({setting.experiment: seeds for setting, seeds in settings.items()})
    with Progress() as progress:
        complete = run(plans, store, callbacks=[progress], probes=True, **options)
    if not complete:
        return None
    curves = _read_curves(settings, store)
    statements, figures = study.statements(curves), study.figures(curves)
    for file_name, figure in figures.items():
        save(figure, out / file_name)
    text = report(
        title=study.TITLE,
        summary=f"`grokbench reproduce {name} --scale {scale}`: {count_conclusions(statements)}.",
        notes=[
            describe_runs([curve.record for curve in all_runs(curves)]),
            *([study.SMALL_SCALE] if scale == "small" else []),
        ],
        statements=statements,
        figures=figures,
        tables=study.tables(curves),
    )
    (out / "README.md").write_text(text, encoding="utf-8", newline="\n")
    return statements


def _read_curves(settings: SeedsBySetting, store: Store) -> CurvesBySetting:
    return {
        setting: [Curves(read_record(store.record_path(Run(setting.experiment, seed)))) for seed in seeds]
        for setting, seeds in settings.items()
    }
