"""The numbers of the leaderboard's entries: `python -m tests.results.golden` writes golden.json anew."""

import json
from pathlib import Path
from typing import Any

from grokbench.board.publishing.standings import Standing, standings
from tests.support.committed import committed

TARGET = Path(__file__).with_name("golden.json")


def numbers(standing: Standing) -> dict[str, Any]:
    """The score against the shipped reference, each task's restricted mean, and the final ranks of seed 0."""
    return {
        "score": standing.score,
        "rmst": [sum(sample) / len(sample) for sample in standing.samples],
        "ranks": [run.outcome.final_rank for run in standing.runs if run.seed == 0],
    }


def write(target: Path) -> None:
    """Write the numbers of every accepted entry whose suite has a reference."""
    content = {standing.entry.name: numbers(standing) for standing in standings(committed())}
    target.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(TARGET)
