"""The measured speeds as Markdown tables."""

from collections.abc import Callable
from typing import Any

from benchmarks.timing import ROUNDS, Spread
from grokbench.studies.study import table

Row = dict[str, Any]
Cells = list[str]


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    where = results["machine"]
    device = where["gpu"] or "no GPU"
    about = (
        f"{where['processor']}, {where['threads']} threads, {device}; Python {where['python']}, torch {where['torch']}. "
        f"Medians of {ROUNDS} rounds, least to most in brackets; `{results['task']}`, float32. Of products: the "
        "step's GFLOP/s over those of a large matrix product in the same round, torch's own and the engine's. "
        "Memory: the most that the process needed beyond its libraries."
    )
    return "\n\n".join([about, *(table(headers, map(cells, results.get(part, []))) for part, headers, cells in TABLES)])


def _variant(row: Row) -> Cells:
    return [
        row["recipe"],
        row["variant"],
        _shown(row["steps_per_second"]),
        _shown(row["over_plain"], "×", 2),
        *(f"{row[name][0]:.0%}" if row[name] else "" for name in ("share_of_torch_products", "share_of_products")),
        f"{row['compile_seconds']:.0f} s" if row["compile_seconds"] else "",
        _memory(row),
    ]


def _seeds(row: Row) -> Cells:
    return [
        row["recipe"],
        str(row["seeds"]),
        _shown(row["seed_steps_per_second"]),
        _shown(row["over_one_after_another"], "×", 2),
        _shown(row["over_plain"], "×", 2),
        _memory(row),
    ]


def _run(row: Row) -> Cells:
    return [
        row["recipe"],
        f"{row['steps']:,}",
        str(row["exams"]),
        f"{row['steps_per_second']:.1f}",
        f"×{row['over_plain']:.2f}",
        f"{row['exams_share']:.1%}",
        f"{row['harness_share']:.1%}",
    ]


def _modulus(row: Row) -> Cells:
    return [str(row["p"]), f"{row['cells']:,}", _shown(row["steps_per_second"]), _memory(row)]


def _deep(row: Row) -> Cells:
    return [str(row["members"]), _shown(row["member_steps_per_second"]), _shown(row["over_plain"], "×", 2), _memory(row)]


def _memory(row: dict[str, Any]) -> str:
    return f"{row['peak_memory'] / 2**20:,.0f} MiB"


def _shown(values: Spread, sign: str = "", digits: int = 1) -> str:
    median, least, most = (f"{value:,.{digits}f}" for value in values)
    return f"{sign}{median} [{least}–{most}]"


TABLES: tuple[tuple[str, tuple[str, ...], Callable[[Row], Cells]], ...] = (
    (
        "variants",
        ("recipe", "one seed", "steps/s", "over plain", "of torch's products", "of ours", "compiling", "memory"),
        _variant,
    ),
    ("seeds", ("recipe", "seeds together", "seed-steps/s", "over one after another", "over plain", "memory"), _seeds),
    ("runs", ("whole run of", "steps", "exams", "steps/s", "over plain training", "exams take", "outside learn and act"), _run),
    ("moduli", ("transformer at p", "training cells", "steps/s", "memory"), _modulus),
    ("deep", ("deep MLPs together", "member-steps/s", "over plain PyTorch one after another", "memory"), _deep),
)
