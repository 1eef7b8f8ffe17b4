"""Commands that vary settings: sweep, phase, tune."""

import sys
from pathlib import Path
from shlex import join
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from grokbench.cli.runs import DEFAULT_COMPUTING, Computing, Names, loggers, read_runs
from grokbench.errors import ResultError, SweepError, install
from grokbench.tasks import ExamGrid


def sweep(
    file: Positional[Path | None] = None,
    *,
    agents: Annotated[Names, arg(aliases=["--agent"])] = (),
    tasks: Annotated[Names, arg(aliases=["--task"])] = (),
    vary: Names = (),
    seeds: Names = (),
    out: Path = Path("sweeps"),
    salt: str = "",
    budget: int | None = None,
    exams: ExamGrid | None = None,
    wandb: str | None = None,
    computing: OmitArgPrefixes[Computing] = DEFAULT_COMPUTING,
) -> int:
    """Run agents on tasks with every combination of some values. The same command goes on where it was stopped.

    Example: grokbench sweep --agents mlp --tasks 'add_mod31-{ratio}' --vary ratio=0.3:0.9:7 weight_decay=0.1:10:5:log

    Args:
        file: a TOML file with agents, tasks, seeds, budget, exams, salt and a table [vary], instead of these options.
        agents: recipes by name, recipe files (….toml), or classes as module:Class.
        tasks: task ids, with names in braces for what varies.
        vary: name=values. A name in a task's braces, or a hyperparameter such as optimizer.weight_decay. Values are a list
            (0.1,1,10), or evenly spaced (0.2:0.9:15), or with equal ratios (0.01:10:7:log).
        seeds: seeds of instances, such as 0-4 or 0 3 5; default: 0-9.
        out: the folder of runs.
        salt: any text draws fresh instances; empty for the published ones.
        budget: the largest step that counts as steps-to-generalize; default: each task's own.
        exams: sparse takes fewer exams, without ranks. T is then up to a tenth later. Default: full.
        wandb: show the runs in this project of Weights & Biases.
        computing: where and how runs are computed.
    """
    from grokbench.runs.progress import SweepProgress
    from grokbench.runs.store import Store
    from grokbench.sweeps.grid import make_grid, read_grid
    from grokbench.sweeps.sweep import run_plans

    options: dict[str, Any] = {
        "agents": agents,
        "tasks": tasks,
        "vary": vary,
        "seeds": seeds,
        "salt": salt,
        "budget": budget,
        "exams": exams,
    }
    given = {name: value for name, value in options.items() if value not in ((), "", None)}
    if file is not None and given:
        raise SweepError(f"{file} describes the whole sweep: leave out --{', --'.join(given)}, or write them into it")
    grid = make_grid(**given | {"vary": _assignments(vary)}) if file is None else read_grid(file)
    plans = grid.plans()
    chosen = loggers(wandb)
    with SweepProgress() as progress:
        records = run_plans(plans, Store(out), callbacks=[progress, *chosen], **computing.options)
    complete = sum(record.incomplete is None for record in records)
    axes = [name for name, values in grid.axes.items() if len(values) > 1]
    if axes:
        shown = [word for option, name in zip("xy", axes, strict=False) for word in (f"--{option}", name)]
        print(join(["grokbench", "phase", str(out), *shown]))
    return 0 if complete == sum(len(plan.runs) for plan in plans) else 1


def phase(
    folders: Positional[tuple[Path, ...]] = (Path("sweeps"),),
    *,
    x: str,
    y: str | None = None,
    where: Names = (),
    fit: bool = False,
    out: Path | None = None,
) -> int:
    """Draw a phase diagram of a sweep, or curves over one thing that varies: PNG, SVG, CSV, Parquet, and a page.

    Example: grokbench phase sweeps --x ratio --y weight_decay

    Args:
        folders: folders of runs.
        x: what varies along the horizontal axis, such as ratio, p or weight_decay.
        y: what varies along the vertical axis.
        where: name=value, to choose among runs that differ in more.
        fit: over one thing that varies, fit T ∝ x^a and print a with its interval.
        out: the files' path without an ending, or a folder. Default: phase in the first folder of runs.
    """
    from grokbench.results.duplicates import without_duplicates
    from grokbench.results.frames import Runs

    records, _ = read_runs(folders)
    if not records:
        raise ResultError(f"no runs below {', '.join(map(str, folders))}: make some with `grokbench sweep`")
    runs, chosen = Runs(tuple(without_duplicates(records))), _assignments(where)
    files, law = runs.save_phase(out or folders[0] / "phase", x=x, y=y, where=chosen, fit=fit)
    print("\n".join(map(str, files)))
    if not any(file.suffix == ".parquet" for file in files):
        print(f"no Parquet file: {install('hub')} adds what writes it", file=sys.stderr)
    if law is not None:
        print(f"T = {law.factor:.4g} · {x}^{law.exponent:.3f}; 95 % interval of the exponent {law.low:.3f} to {law.high:.3f}")
    return 0


def tune(
    recipe: Positional[str],
    *,
    out: Path | None = None,
    family: Literal["adam", "sign", "orthogonalized", "sgd"] | None = None,
    ranges: Names = (),
    wandb: str | None = None,
    computing: OmitArgPrefixes[Computing] = DEFAULT_COMPUTING,
) -> int:
    """Tune a recipe as every method on the leaderboard is tuned. The same command goes on where it was stopped.

    It tries the recipe's own setting and 40 others on salted instances of the suite tuning. The best four run again. These 212
    runs take 30 to 70 minutes on two cores for a transformer. It writes the chosen recipe, NAME-tuned.toml.

    Example: grokbench tune lion.toml --out tuning/lion

    Args:
        recipe: a recipe by name, a recipe file (….toml), or a class as module:Class, with the published setting.
        out: the folder of the tuning. Default: the recipe's name in the folder tuning.
        family: the family of an optimizer that the protocol doesn't know. It sets the range of the learning rate.
        ranges: name=lowest:highest, for at most three hyperparameters of the method's own, each a decade wide or 0:1.
        wandb: show the runs in this project of Weights & Biases.
        computing: where and how runs are computed.
    """
    from grokbench.agents.recipes import find_recipe
    from grokbench.runs.progress import SweepProgress
    from grokbench.sweeps.space import Space
    from grokbench.sweeps.tuning import run_tuning
    from grokbench.sweeps.tuning_folder import FIGURE, open_folder, recipe_text, tuned_file
    from grokbench.sweeps.tuning_plots import tuning_figure

    published = find_recipe(recipe)
    space = Space.of(published, family=family, own=_ranges(ranges))
    folder = out or Path("tuning") / published.name
    store = open_folder(folder, space)
    chosen = loggers(wandb)
    with SweepProgress() as progress:
        tuning = run_tuning(space, store, callbacks=[progress, *chosen], **computing.options)
    tuned = tuned_file(folder, published.name)
    tuned.write_bytes(recipe_text(tuning.recipe(published.name)))
    tuning_figure(tuning).savefig(folder / FIGURE, dpi=150)
    print(tuning)
    print(f"{tuned}\n{folder / FIGURE}")
    return 0


def _ranges(words: Names) -> dict[str, tuple[float, float]]:
    """name=lowest:highest of every word. Raises SweepError for other words."""
    ranges = {}
    for name, text in _assignments(words).items():
        low, _, high = text.partition(":")
        try:
            ranges[name] = (float(low), float(high))
        except ValueError:
            raise SweepError(
                f"expected name=lowest:highest, such as gradient.amplification=0.2:20, got {name}={text}"
            ) from None
    return ranges


def _assignments(words: Names) -> dict[str, str]:
    """name=value of every word.

    Raises:
        SweepError: a word has no "=", or a name stands twice.
    """
    pairs = [word.partition("=") for word in words]
    for name, separator, value in pairs:
        if not (name and separator and value):
            raise SweepError(f"expected name=values, such as weight_decay=0.1,1,10, got {name + separator + value!r}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise SweepError(f"a name stands twice: {' '.join(words)}")
    return {name: value for name, _, value in pairs}
