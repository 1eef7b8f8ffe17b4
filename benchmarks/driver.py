"""How many runs a second the driver of a Ray cluster can take: `python -m benchmarks.driver`.

Small runs of the MLP, each a Ray task of its own, on a cluster that Ray starts on this machine. What counts is the CPU time of
the driver's process for each run: receiving its exams, writing its checkpoints and its record, and starting the next task.
"""

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from grokbench.agents.recipes import find_recipe
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.ray_engine import Cluster
from grokbench.runs.store import Store, find_records

TASK, BUDGET, SEEDS = "add_mod11-0.5", 500, 40


@dataclass(frozen=True)
class Load:
    """The driver's work for some runs.

    Attributes:
        runs: the number of runs.
        exams: the exams of a run, on average.
        driver_seconds: CPU time of the driver's process for a run.
        record_bytes: the size of a record, on average.
    """

    runs: int
    exams: float
    driver_seconds: float
    record_bytes: float

    def __str__(self) -> str:
        return (
            f"{self.runs} runs of {self.exams:.0f} exams, {self.record_bytes / 1024:.0f} KiB each: the driver needs "
            f"{1_000 * self.driver_seconds:.0f} ms of CPU time a run, so it takes {1 / self.driver_seconds:.0f} runs a second"
        )


def measure(seeds: int = SEEDS) -> Load:
    """Run the plans on a new cluster. The first run, which starts the workers, isn't counted."""
    plans = [each for seed in range(seeds) for each in plan([TASK], [find_recipe("mlp")], seeds=[seed], budget=BUDGET)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            engine.run(plans[:1], store, cluster=Cluster())
            started = time.process_time()
            engine.run(plans[1:], store, cluster=Cluster())
            seconds = time.process_time() - started
        finally:
            ray.shutdown()
        records, _ = find_records([store.out])
        sizes = [path.stat().st_size for path in store.out.rglob("seed-*.json")]
    exams = sum(len(record.exams) for record in records) / len(records)
    return Load(len(records) - 1, exams, seconds / (len(records) - 1), sum(sizes) / len(sizes))


if __name__ == "__main__":
    print(measure())
