"""Timing: trainers in processes of their own, and ratios within a round."""

import os
import time
from collections.abc import Callable

import pytest

from benchmarks.timing import Runner, Spread, measure_rates, ratio, spread

SECONDS_PER_STEP = 0.01
BYTES = 64 << 20


def sleeper(factor: float) -> Callable[[int], None]:
    """A trainer whose step takes a known time."""
    return lambda steps: time.sleep(factor * SECONDS_PER_STEP * steps)


def hoarder(size: int) -> Callable[[int], bytes]:
    """A trainer that fills memory while it is made."""
    block = os.urandom(size)
    return lambda steps: block


class Clock(Runner):
    """A runner without a process, each of whose steps takes as long as it is told."""

    def __init__(self, seconds_per_step: float, turns: list[str], name: str) -> None:
        self.seconds_per_step, self.turns, self.name = seconds_per_step, turns, name
        self.steps: list[int] = []

    def seconds(self, steps: int) -> float:
        """The time that so many steps take."""
        self.turns.append(self.name)
        self.steps.append(steps)
        return self.seconds_per_step * steps


def test_a_process_takes_the_steps_and_is_ended() -> None:
    """Ten steps take at least ten times as long as a step, and an ended process answers no more."""
    runner = Runner(sleeper, 1.0)
    assert 10 * SECONDS_PER_STEP <= runner.seconds(10) < 100 * SECONDS_PER_STEP
    runner.stop()
    with pytest.raises((EOFError, OSError)):
        runner.seconds(1)


def test_memory_is_counted_beyond_the_start() -> None:
    """A trainer that holds 64 MiB counts 64 MiB, without the hundreds of the libraries that its process has loaded."""
    peak = Runner(hoarder, BYTES).stop()
    assert BYTES <= peak < 2 * BYTES


def test_variants_take_turns() -> None:
    """After calibration no variant gets two turns before the other has had one, and each rate is steps per second."""
    turns: list[str] = []
    rates = measure_rates({"slow": Clock(0.5, turns, "slow"), "fast": Clock(0.01, turns, "fast")})
    assert turns == ["slow", "fast"] * (1 + len(rates["slow"]))
    assert rates["slow"] == pytest.approx([2.0] * len(rates["slow"]))
    assert rates["fast"] == pytest.approx([100.0] * len(rates["fast"]))


def test_a_turn_takes_about_a_second() -> None:
    """Five steps calibrate; then a turn has as many steps as fit into a second, and three at least."""
    clocks = {seconds: Clock(seconds, [], "clock") for seconds in (0.01, 0.26, 30.0)}
    measure_rates(clocks)
    assert {seconds: clock.steps[:2] for seconds, clock in clocks.items()} == {0.01: [5, 100], 0.26: [5, 4], 30.0: [5, 3]}


def failing() -> Callable[[int], None]:
    """A trainer that can't be made."""
    raise SystemExit(1)  # quietly, unlike other exceptions


def test_a_trainer_that_cannot_be_made_is_not_waited_for() -> None:
    """The pipe's end is noticed, instead of waiting for an answer forever."""
    with pytest.raises((EOFError, OSError)):
        Runner(failing)


def test_ratios_are_within_a_round() -> None:
    """When the machine slows both variants in a round, their ratio stays."""
    assert ratio([20.0, 2.0, 40.0], [10.0, 1.0, 20.0]) == Spread(median=2.0, least=2.0, most=2.0)
    assert spread([3.0, 1.0, 9.0, 2.0]) == Spread(median=2.5, least=1.0, most=9.0)
