"""The command line as a person meets it: help, lists, mistakes, exit statuses."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch

from grokbench.agents.recipes import find_recipe
from grokbench.cli import COMMANDS, main, sweeps
from grokbench.errors import StoreError, TaskError
from grokbench.results import frames
from grokbench.runs.records import to_json
from grokbench.runs.store import find_records
from grokbench.tasks import get_suite, list_suites
from tests.support.entries import make_run
from tests.support.optimizers import LION

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Result:
    """What a command printed to its two streams, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """Runs `grokbench` in this process, in the checkout."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.chdir(ROOT)

    def __call__(self, *arguments: str) -> Result:
        """The result of the command. An error that it doesn't turn into a status is raised."""
        self.monkeypatch.setattr(sys, "argv", ["grokbench", *arguments])
        with pytest.raises(SystemExit) as status:
            main()
        assert isinstance(status.value.code, int)
        return Result(status.value.code, *self.capsys.readouterr())


@pytest.fixture
def grokbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command."""
    return Command(monkeypatch, capsys)


def test_list_shows_formula_size_budget_and_source(grokbench: Command) -> None:
    """The standard tasks, and a suite's alone."""
    shown = grokbench("list").stdout
    for words in ("add_mod97-0.3-v1", "a + b mod 97", "2,822 of 9409", "Power et al. 2022, A.1.1", "mini", "control"):
        assert words in shown or words.replace(",", "") in shown
    assert all(f"\n{suite.name} " in shown for suite in list_suites())


def test_list_of_a_suite_shows_its_tasks_alone(grokbench: Command) -> None:
    """With its control, in the suite's order, and no table of suites."""
    _, _, *rows = grokbench("list", "--suite", "mini").stdout.splitlines()
    suite = get_suite("mini")
    assert [row.split()[0] for row in rows] == [f"{name}-v1" for name in (*suite.tasks, suite.control)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("run", "--agents", "mpl", "--suite", "mini"), "did you mean 'mlp'"),
        (("reproduce", "grokking"), "expected one of deep-grokking"),
        (("run", "--agents", "nowhere:Agent", "--suite", "mini"), "can't load"),
        (("run", "--agents", "none.toml", "--suite", "mini"), "can't read the recipe"),
        (("run", "--agents", "mlp", "--suite", "miny"), "expected one of mini"),
        (("run", "--agents", "mlp", "--tasks", "add_mod24-0.5"), "nearest prime is 23"),
        (("run", "--agents", "mlp"), "nothing to run"),
        (("score", "/nowhere/at/all"), "there is no folder"),
        (("plot", "tests"), "no runs to draw"),
        (("run", "--agents", "mlp", "--suite", "mini", "--seeds", "9-0"), "whole numbers or ranges, such as 0-9"),
        (("check", "adanw"), "did you mean"),
    ],
)
def test_mistakes_are_one_clear_line(grokbench: Command, arguments: tuple[str, ...], why: str) -> None:
    """Status 2, what was wrong and what was expected, on a single line however long it is."""
    result = grokbench(*arguments)
    assert result.returncode == 2, result.stderr
    assert why in result.stderr
    assert result.stderr.startswith("grokbench: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def raising(error: BaseException) -> Callable[[], int]:
    """A command without options that raises."""

    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize("error", [TaskError("[b]no[/b] task"), StoreError("[b]no[/b] task"), OSError("[b]no[/b] task")])
def test_an_error_is_shown_as_it_is(grokbench: Command, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Square brackets in it are no colors. Errors of the operating system are shown in the same way."""
    monkeypatch.setitem(COMMANDS, "list", raising(error))
    assert grokbench("list") == Result(2, "", "grokbench: [b]no[/b] task\n")


def test_a_fault_of_the_program_is_no_mistake_of_the_users(grokbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its traceback, without which nobody could report it."""
    monkeypatch.setitem(COMMANDS, "list", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        grokbench("list")


@pytest.mark.parametrize("status", [0, 1, 7])
def test_a_command_s_status_is_the_program_s(grokbench: Command, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Scripts and CI rely on it."""
    monkeypatch.setitem(COMMANDS, "list", lambda: status)
    assert grokbench("list").returncode == status


def test_ctrl_c_says_that_runs_are_safe(tmp_path: Path) -> None:
    """The status is 130, as in shells. The message says that the same command continues."""
    arguments = ("--agents", "mlp", "--tasks", "add_mod97-0.3", "--seeds", "0", "--device", "cpu", "--out", str(tmp_path))
    command = [sys.executable, "-m", "grokbench", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("*.lock")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "finished runs are safe" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("option", "unbuffered"), [("list", ""), ("--version", "1")])
def test_a_reader_that_has_gone_is_no_error(option: str, unbuffered: str) -> None:
    """As in `grokbench list | head -1`: no traceback, whether the output breaks at once or at the end."""
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "grokbench", option]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


NARROW = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp437, strict": {"PYTHONIOENCODING": "cp437:strict"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("environment", NARROW.values(), ids=NARROW)
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        pytest.param(("list",), b"random_mod23-0.5", id="list"),
        pytest.param(("check", "mlp"), b"mlp: accepted", id="check"),
        pytest.param(("run", "--help"), b"--max-steps", id="help"),
    ],
)
def test_any_encoding_of_the_output_will_do(arguments: tuple[str, ...], shown: bytes, environment: dict[str, str]) -> None:
    """A character that it lacks is a question mark at worst."""
    command = [sys.executable, "-m", "grokbench", *arguments]
    result = subprocess.run(command, capture_output=True, env=os.environ | environment, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert shown in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_a_full_disk_refuses_is_an_error() -> None:
    """A file that is cut short must not look complete."""
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "grokbench", "list"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("grokbench: [Errno 28]")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two runs of the same agent, without any training."""
    folder = tmp_path / "some runs"
    for seed in (0, 1):
        run = make_run("add_mod47-0.7", seed=seed, steps_to_generalize=1_000, recipe=find_recipe("mlp"))
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / f"{seed}.json").write_text(to_json(run), encoding="utf-8")
    return folder


def test_score_prints_what_it_finds(grokbench: Command, runs: Path) -> None:
    """Runs below any of the folders, once each however often they are named."""
    result = grokbench("score", str(runs), str(runs / "deep"))
    assert result.returncode == 0
    assert result.stderr == ""
    assert "add_mod47-0.7-v1" in result.stdout
    assert "2/2" in result.stdout


def test_score_without_runs_says_how_to_make_some(grokbench: Command, tmp_path: Path) -> None:
    """Status 1, and nothing on standard output, which could be piped into a file."""
    result = grokbench("score", str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"no runs below {tmp_path}: make some with `grokbench run`" in result.stderr


def test_score_leaves_damaged_runs_out_and_says_so(grokbench: Command, runs: Path) -> None:
    """The others are still scored, but the status is that of a failure."""
    whole = (runs / "deep" / "0.json").read_text(encoding="utf-8")
    (runs / "deep" / "0.json").write_text(whole.replace('"seed": 0', '"seed": "0"'), encoding="utf-8")
    result = grokbench("score", str(runs))
    assert result.returncode == 1
    assert result.stderr.startswith(f"left out: {runs / 'deep' / '0.json'}: ")
    assert "1/1" in result.stdout


def test_plot_draws_into_the_first_folder(grokbench: Command, runs: Path, tmp_path: Path) -> None:
    """Or where it was told. It prints the paths that it has written, which exist."""
    for options, stem in (((), runs / "grokking"), (("--out", str(tmp_path / "new" / "figure")), tmp_path / "new" / "figure")):
        result = grokbench("plot", str(runs), *options)
        assert result.returncode == 0, result.stderr
        written = [Path(line) for line in result.stdout.splitlines()]
        assert {path.suffix for path in written} == {".png", ".svg"}
        assert all(path.is_file() and path.with_suffix("") == stem for path in written)


def test_sweep_and_phase(grokbench: Command, tmp_path: Path) -> None:
    """Every combination runs, and `sweep` prints the command that draws it. The files have the command's path."""
    choice = ("--agent", "mlp", "--tasks", "{operation}_mod5-0.5", "--vary", "operation=add,mul", "weight_decay=1:9:3")
    swept = grokbench("sweep", *choice, "--seeds", "3:5", "--budget", "10", "--device", "cpu", "--out", str(tmp_path / "runs"))
    assert swept.returncode == 0, swept.stderr
    assert "12 of 12 runs done" in swept.stderr
    assert swept.stdout == f"grokbench phase {tmp_path / 'runs'} --x operation --y weight_decay\n"
    drawing = ("--x", "weight_decay", "--where", "operation=mul", "--out", str(tmp_path / "new" / "map"))
    drawn = grokbench("phase", str(tmp_path / "runs"), *drawing)
    assert drawn.returncode == 0, drawn.stderr
    paths = [Path(line) for line in drawn.stdout.splitlines()]
    assert [path.name for path in paths] == ["map.png", "map.svg", "map.csv", "map.parquet", "map.html"]
    assert pd.read_parquet(tmp_path / "new" / "map.parquet")["runs"].tolist() == [2, 2, 2]
    assert all(path.parent == tmp_path / "new" and path.stat().st_size for path in paths)


def test_phase_without_pyarrow_leaves_out_the_parquet_file(
    grokbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain installation has none. All other files are written, the page too, and a line says how to get it."""
    choice = ("--agents", "mlp", "--tasks", "add_mod5-0.5", "--vary", "weight_decay=1,9", "--seeds", "3", "--budget", "10")
    assert grokbench("sweep", *choice, "--device", "cpu", "--out", str(tmp_path)).returncode == 0
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    assert sweeps.phase((tmp_path,), x="weight_decay") == 0
    printed = capsys.readouterr()
    assert "pip install -e '.[hub]'" in printed.err
    assert [Path(line).suffix for line in printed.out.splitlines()] == [".png", ".svg", ".csv", ".html"]
    assert all(Path(line).stat().st_size for line in printed.out.splitlines())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--agents", "mlp"), "at least one agent, one task"),
        (("--agents", "mlp", "--tasks", "add_mod5-{ratio}"), "the tasks have {ratio}: vary it"),
        (("--agents", "mlp", "--tasks", "add_mod5-0.5", "--vary", "decay"), "expected name=values"),
        (("--agents", "mlp", "--tasks", "add_mod5-0.5", "--vary", "lr=1", "lr=2"), "a name stands twice"),
        (("--agents", "mlp", "--tasks", "add_mod5-0.5", "--exams", "few"), "few"),
        (("sweep.toml",), "can't read the sweep sweep.toml"),
        (("sweep.toml", "--seeds", "0-9", "--budget", "50"), "leave out --seeds, --budget"),
        (("sweep.toml", "--agents", "mlp", "--salt", "a", "--exams", "full"), "leave out --agents, --salt, --exams"),
    ],
)
def test_a_wrong_sweep_makes_no_run(grokbench: Command, tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    """One line says why."""
    result = grokbench("sweep", *words, "--out", str(tmp_path / "runs"))
    assert result.returncode == 2
    assert why in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nothing",), "no recipe is called 'nothing'"),
        (("mlp", "--family", "sgd"), "adamw belongs to the family adam"),
        (("mlp", "--ranges", "init_scale=fast"), "expected name=lowest:highest"),
        (("mlp", "--ranges", "init_scale=0.4:0.6"), "at least a decade wide"),
    ],
)
def test_a_wrong_tuning_makes_no_run(grokbench: Command, tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    """One line says why."""
    result = grokbench("tune", *words, "--out", str(tmp_path / "tuning"))
    assert result.returncode == 2
    assert why in result.stderr
    assert not (tmp_path / "tuning").exists()


@pytest.mark.parametrize(
    ("line", "other", "why"),
    [
        ("lr = 1e-2", 'lr = "fast"', "lr must be a number above 0, got 'fast'"),
        ("lr = 1e-2", "lr = -1.0", "lr must be a number above 0"),
        ("batch_size = 0", "batch_size = 0.5", "batch_size must be a whole number"),
        ("[training]", "[trainings]", "it takes network, training, optimizer, schedule"),
        ("[training]", "[gradient]\nkind = 1\n[training]", "[gradient] needs filter"),
    ],
)
def test_what_a_recipe_gets_wrong_is_told_before_anything_runs(
    grokbench: Command, tmp_path: Path, line: str, other: str, why: str
) -> None:
    """What was expected, once; square brackets are shown."""
    text = (ROOT / "baselines" / "recipes" / "transformer.toml").read_text(encoding="utf-8")
    assert line in text
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text.replace(line, other), encoding="utf-8")
    result = grokbench("run", "--agents", str(recipe), "--suite", "mini", "--max-steps", "5", "--out", str(tmp_path / "runs"))
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(why) == 1
    assert not (tmp_path / "runs").exists()


def test_an_agent_that_python_cannot_read(tmp_path: Path) -> None:
    """The error has the file and the line, and no traceback."""
    (tmp_path / "broken.py").write_text("class Agent(:\n", encoding="utf-8")
    command = [sys.executable, "-m", "grokbench", "run", "--agents", "broken:Agent", "--suite", "mini"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert "(broken.py, line 1)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_named(grokbench: Command, tmp_path: Path) -> None:
    """The error is a single line."""
    result = grokbench("run", "--agents", "mlp", "--suite", "mini", "--device", "cuda", "--out", str(tmp_path))
    assert result.returncode == 2
    assert "no CUDA device" in result.stderr
    assert result.stderr.count("\n") == 1


def test_import_is_light() -> None:
    """Importing grokbench imports no heavy package."""
    code = (
        "import sys, grokbench; print([m for m in ('torch', 'scipy', 'matplotlib', 'pydantic', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"


def test_a_run_that_pauses_where_it_was_told_succeeds(grokbench: Command, tmp_path: Path) -> None:
    """A pause by `--max-steps` isn't a failure: the status is 0, and there are two paused records."""
    arguments = ("--agents", "mlp", "--tasks", "add_mod5-0.5", "--seeds", "0-1", "--max-steps", "50", "--out", str(tmp_path))
    result = grokbench("run", *arguments)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.rglob("seed-*.json"))) == 2


def test_version(grokbench: Command) -> None:
    """It is the version of the installed package."""
    assert grokbench("--version") == Result(0, f"grokbench {version('grokbench')}\n", "")


def test_a_budget_and_losses(grokbench: Command, tmp_path: Path) -> None:
    """`--budget` limits the named tasks' runs, and `--logits` is passed on."""
    arguments = (
        "--agents",
        "tests.runs.test_losses:LinearAgent",
        "--tasks",
        "add_mod5-0.5",
        "--seeds",
        "0",
        "--out",
        str(tmp_path),
    )
    result = grokbench("run", *arguments, "--budget", "20", "--logits")
    assert result.returncode == 0, result.stderr
    (record,), _ = find_records([tmp_path])
    assert (record.budget, record.outcome.end, record.exams[-1].step) == (20, "censored", 20)
    assert all(exam.train_loss and exam.held_out_loss for exam in record.exams)
    assert grokbench("run", *arguments, "--budget", "0").returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_has_an_example(command: str) -> None:
    """The example calls the command itself."""
    assert f"Example: grokbench {command}" in (COMMANDS[command].__doc__ or "")


def test_an_optimizer_of_ones_own_runs(tmp_path: Path) -> None:
    """A recipe of six lines and a class in the current folder: run, and its record has the file's hash."""
    (tmp_path / "my_lion.py").write_text(LION, encoding="utf-8")
    text = 'extends = "mlp"\n\n[optimizer]\ntarget = "my_lion:Lion"\nlr = 1e-3\nweight_decay = 1.0\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    arguments = ["run", "--agents", "mine.toml", "--tasks", "add_mod11-0.6", "--seeds", "0-1", "--max-steps", "40"]
    command = [sys.executable, "-m", "grokbench", *arguments, "--out", "runs"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    records, errors = find_records([tmp_path / "runs"])
    assert not errors
    assert {record.agent.source for record in records} == {hashlib.sha256(LION.encode()).hexdigest()}
    assert {record.cost.steps for record in records} == {40}
    assert "pytorch-optimizer" in records[0].provenance.versions
