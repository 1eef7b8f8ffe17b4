"""The figure of grokking: lines, panels and legend are read back from the axes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from grokbench.agents.recipes import find_recipe
from grokbench.errors import ResultError
from grokbench.results.plots import AGENT_COLORS, curves_figure, draw_curves
from grokbench.runs.records import RunRecord
from tests.support.entries import make_run
from tests.support.figures import x_of, y_of

ADD, MUL = "add_mod47-0.7-v1", "mul_mod47-0.7-v1"


def drawn_run(task: str = ADD, seed: int = 0, recipe: str = "transformer") -> RunRecord:
    """A run that generalizes at about step 600."""
    return make_run(task, seed=seed, steps_to_generalize=600, recipe=find_recipe(recipe))


def panels(records: list[RunRecord]) -> dict[str, tuple[Axes, Axes]]:
    """Task → its accuracy and its rank panel."""
    axes = curves_figure(records).axes
    return {accuracy.get_title(): (accuracy, rank) for rank, accuracy in zip(axes[::2], axes[1::2], strict=True)}


def test_the_lines_are_the_exams() -> None:
    """Train and held-out accuracy, exam by exam, and the last layer's effective rank at the exams that measure it."""
    run = drawn_run()
    task, exams = run.parsed_task(), run.exams
    ((accuracy, rank),) = panels([run]).values()
    train_line, held_out_line = accuracy.get_lines()
    (rank_line,) = rank.get_lines()
    for line in (train_line, held_out_line):
        np.testing.assert_array_equal(line.get_xdata(), [exam.step for exam in exams])
    np.testing.assert_array_equal(train_line.get_ydata(), [exam.train / task.num_train for exam in exams])
    np.testing.assert_array_equal(held_out_line.get_ydata(), [exam.held_out / task.num_held_out for exam in exams])
    ranks = {exam.step: exam.ranks["effective_rank"][-1] for exam in exams if exam.ranks}
    assert list(ranks) == [exam.step for exam in exams[::2]]
    np.testing.assert_array_equal(rank_line.get_xdata(), list(ranks))
    np.testing.assert_array_equal(rank_line.get_ydata(), list(ranks.values()))


def test_the_axes() -> None:
    """Steps are logarithmic and shared; an accuracy of 0 and of 1 is visible."""
    ((accuracy, rank),) = panels([drawn_run()]).values()
    assert accuracy.get_xscale() == rank.get_xscale() == "log"
    assert accuracy.get_xlim() == rank.get_xlim()
    low, high = accuracy.get_ylim()
    assert low < 0 < 1 < high
    assert rank.get_ylim()[0] == 0
    assert (accuracy.get_ylabel(), rank.get_ylabel()) == ("accuracy", "effective rank, last layer")


def test_a_color_for_every_agent_and_a_panel_for_every_task() -> None:
    """Seeds of an agent share its color in every panel, and the legend names agents and line styles."""
    records = [drawn_run(task, seed, recipe) for task in (ADD, MUL) for recipe in ("transformer", "mlp") for seed in (0, 1)]
    by_task = panels(records)
    assert list(by_task) == [ADD, MUL]
    for accuracy, rank in by_task.values():
        assert [to_hex(line.get_color()) for line in rank.get_lines()] == [AGENT_COLORS[i] for i in (0, 0, 1, 1)]
        assert len(accuracy.get_lines()) == 8
    (legend,) = curves_figure(records).legends
    assert [text.get_text() for text in legend.get_texts()] == ["transformer", "mlp", "train", "held out"]


def test_five_tasks_take_two_rows() -> None:
    """Four tasks lie side by side, and only the first panels of a row name the y-axis."""
    names = [f"{operation}_mod47-0.7-v1" for operation in ("add", "mul", "sub", "div", "x2_y2")]
    by_task = panels([drawn_run(name) for name in names])
    tops = [accuracy.get_position().y1 for accuracy, _ in by_task.values()]
    assert len(set(tops[:4])) == 1
    assert tops[4] < tops[0]
    assert [bool(accuracy.get_ylabel()) for accuracy, _ in by_task.values()] == [True, False, False, False, True]


def test_a_diverged_exam_has_no_rank() -> None:
    """The rank line ends before the divergence. The accuracy lines go on, and both panels show the same steps."""
    run = drawn_run()
    exams = [*run.exams[:6], run.exams[6].model_copy(update={"ranks": None, "diverged": True})]
    steps = [exam.step for exam in exams]
    ((accuracy, rank),) = panels([run.model_copy(update={"exams": exams})]).values()
    lines = (*accuracy.get_lines(), *rank.get_lines())
    assert [x_of(line).tolist() for line in lines] == [steps, steps, steps[:6:2]]
    assert accuracy.get_xlim() == rank.get_xlim()


def test_figures_are_saved_under_every_ending(tmp_path: Path) -> None:
    """The paths are returned, and each file has the format of its ending."""
    png, svg = draw_curves([drawn_run()], tmp_path / "new" / "figure")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()
    assert draw_curves([drawn_run()], tmp_path / "only", endings=("png",)) == [tmp_path / "only.png"]


def test_a_place_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    """It says which, and what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResultError, match=r"can't write .*grokking.png \(.*\): choose another place"):
        draw_curves([drawn_run()], tmp_path / "file" / "grokking")


def test_in_a_folder_the_figure_has_its_own_name(tmp_path: Path) -> None:
    """Such as the current one, `.`."""
    assert [path.name for path in draw_curves([drawn_run()], tmp_path)] == ["grokking.png", "grokking.svg"]


def test_nothing_to_draw_is_an_error() -> None:
    """No runs, or runs without exams."""
    for records in ([], [drawn_run().model_copy(update={"exams": []})]):
        with pytest.raises(ResultError, match="no runs to draw"):
            curves_figure(records)


def test_training_is_dotted_and_held_out_is_solid() -> None:
    """As the legend says."""
    run = drawn_run()
    ((accuracy, _),) = panels([run]).values()
    styles = [line.get_linestyle() for line in accuracy.get_lines()]
    (legend,) = curves_figure([run]).legends
    train, held_out = legend.get_lines()[-2:]
    assert styles == [train.get_linestyle(), held_out.get_linestyle()]
    assert styles[0] != styles[1] == "-"


def test_the_rank_is_that_of_the_last_layer() -> None:
    """Whatever the other layers do."""
    run = drawn_run()
    exams = [exam.model_copy(update={"ranks": {"effective_rank": [100.0, 50.0, float(exam.step)]}}) for exam in run.exams]
    ((_, rank),) = panels([run.model_copy(update={"exams": exams})]).values()
    np.testing.assert_array_equal(y_of(rank.get_lines()[0]), [exam.step for exam in exams])


def test_unfinished_runs_are_drawn_and_runs_without_exams_are_not() -> None:
    """They take no panel and no color."""
    stopped = drawn_run(seed=1).model_copy(update={"incomplete": "stopped"})
    failed = drawn_run(MUL, recipe="mlp").model_copy(update={"exams": [], "incomplete": "failed"})
    by_task = panels([failed, drawn_run(), stopped])
    assert list(by_task) == [ADD]
    _, rank = by_task[ADD]
    assert [to_hex(line.get_color()) for line in rank.get_lines()] == [AGENT_COLORS[0]] * 2


def test_colors_are_used_again_after_the_last() -> None:
    """A ninth agent is drawn."""
    run = drawn_run()
    agents = [run.agent.model_copy(update={"name": f"agent {i}", "hash": f"{i:064}"}) for i in range(len(AGENT_COLORS) + 1)]
    ((_, rank),) = panels([run.model_copy(update={"agent": agent}) for agent in agents]).values()
    assert [to_hex(line.get_color()) for line in rank.get_lines()] == [*AGENT_COLORS, AGENT_COLORS[0]]


@pytest.mark.parametrize(
    ("name", "files"), [("a.png", ["a.png"]), ("a.svg", ["a.svg"]), ("run-0.5", ["run-0.5.png", "run-0.5.svg"])]
)
def test_the_ending_that_a_path_has_is_kept(tmp_path: Path, name: str, files: list[str]) -> None:
    """Nobody wants `a.png.png`; a point in a name is no ending."""
    draw_curves([drawn_run()], tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == files
