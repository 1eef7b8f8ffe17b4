"""Freed memory stays in the process, as its page faults show."""

import ctypes
import platform
import subprocess
import sys

import pytest

from grokbench.runs.memory import keep_freed_memory

COUNT_FAULTS = """
import resource, sys
from grokbench.runs.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
block = b"x" * (16 << 20)
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = b"x" * (16 << 20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    """The page faults of twenty blocks of 16 MiB, each freed before the next is asked for, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, mode], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_freed_block_is_used_again() -> None:
    """Without it, every block costs faults anew."""
    assert faults("keep") * 10 < faults("leave")


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library is opened, and the answer is no."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("a library was opened"))
    assert keep_freed_memory() is False


def test_a_libc_that_can_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A libc without `mallopt`, or one that refuses a value, isn't an error."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
    refusing = type("Refusing", (), {"mallopt": staticmethod(lambda parameter, value: 0)})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: refusing())
    assert keep_freed_memory() is False
