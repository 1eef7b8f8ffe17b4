"""Timing side by side: every variant in a process of its own, each taking its turn in every round."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from grokbench.runs.provenance import processor

ROUNDS, SECONDS = 5, 1.0  # per variant
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

Trainer = Callable[[int], Any]  # takes so many steps
Spread = tuple[float, float, float]  # median, least, most


class Runner:
    """A trainer in a process of its own, as its user would run it: no variant's memory or threads touch another's."""

    def __init__(self, make: Callable[..., Trainer], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments), daemon=True)
        self._process.start()
        there.close()  # so that the end of a process that fails is heard here
        self.first_step = self.seconds(1)

    def seconds(self, steps: int) -> float:
        """The wall-clock seconds that so many steps take."""
        self._here.send(steps)
        return float(self._here.recv())

    def stop(self) -> int:
        """End the process; the most bytes that it needed beyond those at its start."""
        self._here.send(0)
        peak = int(self._here.recv())
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
    """The most memory that this process has held; 0 where the system doesn't tell (getrusage would give its parent's)."""
    lines = [line.split() for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    return 1024 * int(lines[0][1]) if lines else 0


def rates(runners: dict[Any, Runner]) -> dict[Any, list[float]]:
    """Steps per second of each, round by round, each taking its turn."""
    steps = {name: max(3, round(SECONDS * 5 / one.seconds(5))) for name, one in runners.items()}
    measured: dict[Any, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, one in runners.items():
            measured[name].append(steps[name] / one.seconds(steps[name]))
    return measured


def spread(values: list[float]) -> Spread:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


def ratio(values: list[float], over: list[float]) -> Spread:
    """The spread of the ratios, round by round."""
    return spread([a / b for a, b in zip(values, over, strict=True)])


def machine() -> dict[str, Any]:
    """What all of this ran on."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if CUDA else None,
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "system": platform.system(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
