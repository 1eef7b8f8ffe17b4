"""The measured speeds as Markdown tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from benchmarks.timing import ROUNDS, Spread

Measured = dict[str, Any]
Format = Callable[[Any], str]


def count(value: int) -> str:
    """A whole number, thousands apart."""
    return f"{value:,}"


def rate(value: float) -> str:
    """A number with one digit after the point."""
    return f"{value:,.1f}"


def factor(value: float) -> str:
    """How many times as fast."""
    return f"×{value:,.2f}"


def share(value: float) -> str:
    """A percentage."""
    return f"{value:.1%}"


def spread_of(number: Format) -> Format:
    """A median with least and most in brackets, which drop the sign ×."""

    def shown(values: Sequence[float]) -> str:
        median, least, most = map(number, Spread(*values))
        return f"{median} [{least}–{most}]".replace("[×", "[").replace("–×", "–")

    return shown


def median_share(values: Sequence[float] | None) -> str:
    """The median as a percentage; nothing where it wasn't measured."""
    return f"{Spread(*values).median:.0%}" if values else ""


def seconds(value: float | None) -> str:
    """Whole seconds; nothing where they weren't measured."""
    return f"{value:.0f} s" if value else ""


def mebibytes(value: int) -> str:
    """Bytes as MiB."""
    return f"{value / 2**20:,.0f} MiB"


@dataclass(frozen=True)
class Column:
    """A column of a table: its header, the key of its values in the results, and how they are written."""

    header: str
    key: str
    write: Format = str


RECIPE = Column("recipe", "recipe")
MEMORY = Column("memory", "peak_memory", mebibytes)
TABLES: dict[str, tuple[Column, ...]] = {
    "variants": (
        RECIPE,
        Column("one seed", "variant"),
        Column("steps/s", "steps_per_second", spread_of(rate)),
        Column("over plain", "over_plain", spread_of(factor)),
        Column("of torch's products", "share_of_torch_products", median_share),
        Column("of ours", "share_of_products", median_share),
        Column("compiling", "compile_seconds", seconds),
        MEMORY,
    ),
    "seeds": (
        RECIPE,
        Column("seeds together", "seeds"),
        Column("seed-steps/s", "seed_steps_per_second", spread_of(rate)),
        Column("over one after another", "over_one_after_another", spread_of(factor)),
        Column("over plain", "over_plain", spread_of(factor)),
        MEMORY,
    ),
    "runs": (
        Column("whole run of", "recipe"),
        Column("steps", "steps", count),
        Column("exams", "exams"),
        Column("steps/s", "steps_per_second", rate),
        Column("over plain training", "over_plain", factor),
        Column("exams take", "exams_share", share),
        Column("outside learn and act", "harness_share", share),
    ),
    "sweeps": (
        Column("sweep of", "recipe"),
        Column("runs", "runs"),
        Column("steps of all runs", "steps", count),
        Column("runs a minute", "runs_per_minute", rate),
        Column("one plain process", "plain_per_minute", rate),
        Column("over plain", "over_plain", factor),
        Column("training takes", "training_share", share),
    ),
    "moduli": (
        Column("transformer at p", "p"),
        Column("training questions", "num_train", count),
        Column("steps/s", "steps_per_second", spread_of(rate)),
        MEMORY,
    ),
    "deep": (
        Column("deep MLPs together", "members"),
        Column("member-steps/s", "member_steps_per_second", spread_of(rate)),
        Column("over plain PyTorch one after another", "over_plain", spread_of(factor)),
        MEMORY,
    ),
}


def tables(results: dict[str, Any]) -> str:
    """The results, as `speed.json` holds them, in Markdown: a paragraph about the machine and a table for each part."""
    return "\n\n".join([_about(results), *(_table(columns, results.get(part, [])) for part, columns in TABLES.items())])


def _about(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['gpu'] or 'no GPU'}; "
        f"Python {machine['python']}, torch {machine['torch']}. "
        f"`{results['task']}`, float32. Medians of {ROUNDS} rounds, with least and most in brackets."
    )


def _table(columns: Sequence[Column], rows: Sequence[Measured]) -> str:
    cells = [[column.write(row[column.key]) for column in columns] for row in rows]
    return tabulate(cells, [column.header for column in columns], tablefmt="github", disable_numparse=True)
