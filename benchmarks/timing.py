"""Timing side by side: every variant runs in its own process, and all of them take turns in every round."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from grokbench.runs.provenance import processor

ROUNDS = 5
SECONDS_PER_TURN = 1.0
STEPS_TO_CALIBRATE = 5
FEWEST_STEPS_PER_TURN = 3
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

Trainer = Callable[[int], Any]  # takes the given number of steps
Key = TypeVar("Key", bound=Hashable)


class Spread(NamedTuple):
    """Median, least and most of some measurements."""

    median: float
    least: float
    most: float


class Runner:
    """A trainer in its own process, as a user would run it. No variant touches another's memory or threads.

    Attributes:
        first_step: seconds of the first step, with everything that is compiled then.
    """

    def __init__(self, make: Callable[..., Trainer], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, make, arguments), daemon=True)
        self._process.start()
        far_end.close()  # or a process that fails would leave us waiting for its answer
        self.first_step = self.seconds(1)

    def seconds(self, steps: int) -> float:
        """Wall-clock seconds that `steps` steps take."""
        self._pipe.send(steps)
        return float(self._pipe.recv())

    def stop(self) -> int:
        """End the process. Returns the most bytes that it held beyond those at its start."""
        self._pipe.send(0)
        peak = int(self._pipe.recv())
        self._process.join()
        return peak


def _serve(pipe: Connection, make: Callable[..., Trainer], arguments: tuple[Any, ...]) -> None:
    before = _peak_bytes()
    learn = make(*arguments)
    while steps := pipe.recv():
        started = time.perf_counter()
        learn(steps)
        if CUDA:
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - started)
    pipe.send(torch.cuda.max_memory_allocated() if CUDA else _peak_bytes() - before)


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system doesn't tell.

    `getrusage` is no help: a new process starts with its parent's peak.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0]) if peaks else 0


def measure_rates(runners: Mapping[Key, Runner]) -> dict[Key, list[float]]:
    """Steps per second of each runner, a number for each round. Within a round the runners take turns."""
    steps = {key: _steps_per_turn(runner) for key, runner in runners.items()}
    rates: dict[Key, list[float]] = {key: [] for key in runners}
    for _ in range(ROUNDS):
        for key, runner in runners.items():
            rates[key].append(steps[key] / runner.seconds(steps[key]))
    return rates


def _steps_per_turn(runner: Runner) -> int:
    seconds_per_step = runner.seconds(STEPS_TO_CALIBRATE) / STEPS_TO_CALIBRATE
    return max(FEWEST_STEPS_PER_TURN, round(SECONDS_PER_TURN / seconds_per_step))


def measure_and_stop(runners: Mapping[Key, Runner]) -> tuple[dict[Key, list[float]], dict[Key, int]]:
    """Steps per second of each runner round by round, and its peak memory in bytes. Ends their processes."""
    rates = measure_rates(runners)
    return rates, {key: runner.stop() for key, runner in runners.items()}


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], over: Sequence[float]) -> Spread:
    """The spread of the ratios, each taken within its round."""
    return spread([value / base for value, base in zip(values, over, strict=True)])


def machine() -> dict[str, Any]:
    """The machine and the versions that measure, as the results name them."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if CUDA else None,
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "system": platform.system(),
    }
