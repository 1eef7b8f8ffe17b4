"""The measured speeds as Markdown tables."""

from typing import Any

from benchmarks.timing import ROUNDS, Spread
from grokbench.reproduce.report import table


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    where = results["machine"]
    device = where["gpu"] or "no GPU"
    parts = [
        f"{where['processor']}, {where['threads']} threads, {device}; Python {where['python']}, torch {where['torch']}. "
        f"Medians of {ROUNDS} rounds, least to most in brackets; `{results['task']}`, float32. Of products: of the rate of "
        "this machine's best matrix product in the same round. Memory: the most that the process needed beyond its libraries.",
        table(
            ("recipe", "one seed", "steps/s", "over plain", "of products", "compiling", "memory"),
            (
                (
                    row["recipe"],
                    row["variant"],
                    _shown(row["steps_per_second"]),
                    _shown(row["over_plain"], "×", 2),
                    f"{row['share_of_products'][0]:.0%}" if row["share_of_products"] else "",
                    f"{row['compile_seconds']:.0f} s" if row["compile_seconds"] else "",
                    _memory(row),
                )
                for row in results["variants"]
            ),
        ),
        table(
            ("recipe", "seeds together", "seed-steps/s", "over one after another", "over plain", "memory"),
            (
                (
                    row["recipe"],
                    str(row["seeds"]),
                    _shown(row["seed_steps_per_second"]),
                    _shown(row["over_one_after_another"], "×", 2),
                    _shown(row["over_plain"], "×", 2),
                    _memory(row),
                )
                for row in results["seeds"]
            ),
        ),
        table(
            ("whole run of", "steps", "exams", "steps/s", "over plain training", "exams take", "outside learn and act"),
            (
                (
                    row["recipe"],
                    f"{row['steps']:,}",
                    str(row["exams"]),
                    f"{row['steps_per_second']:.1f}",
                    f"×{row['over_plain']:.2f}",
                    f"{row['exams_share']:.1%}",
                    f"{row['harness_share']:.1%}",
                )
                for row in results["runs"]
            ),
        ),
        table(
            ("transformer at p", "training cells", "steps/s", "memory"),
            ((str(row["p"]), f"{row['cells']:,}", _shown(row["steps_per_second"]), _memory(row)) for row in results["moduli"]),
        ),
        table(
            ("deep MLPs together", "member-steps/s", "over plain PyTorch one after another", "memory"),
            (
                (str(row["members"]), _shown(row["member_steps_per_second"]), _shown(row["over_plain"], "×", 2), _memory(row))
                for row in results.get("deep", [])
            ),
        ),
    ]
    return "\n\n".join(parts)


def _memory(row: dict[str, Any]) -> str:
    return f"{row['peak_memory'] / 2**20:,.0f} MiB"


def _shown(values: Spread, sign: str = "", digits: int = 1) -> str:
    median, least, most = (f"{value:,.{digits}f}" for value in values)
    return f"{sign}{median} [{least}–{most}]"
