"""Stopping: Ctrl-C and SIGTERM let a cohort come to its next exam, where it is saved. A second Ctrl-C stops at once.

A cohort can't be saved between exams, because an agent may be in the middle of a step.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS_TO_SAVE = 10.0  # for the next exam to come; then the run stops where it is, and its last checkpoint counts
ASKED = f"stopping: runs are saved at their next exam, within {SECONDS_TO_SAVE:.0f} seconds; Ctrl-C again stops at once"

_asked = threading.Event()


def ask_to_stop() -> None:
    """Have the cohort of this process stop after its next exam."""
    _asked.set()


def is_asked_to_stop() -> bool:
    """Whether the cohort should stop now that it can be saved."""
    return _asked.is_set()


@contextmanager
def stopping_at_exams(tell: Callable[[str], None]) -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM only ask to stop, and `tell` says so. A second signal raises KeyboardInterrupt.

    So does the end of the time to save.

    Outside the main thread, where no signal can be handled, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    timer = threading.Timer(SECONDS_TO_SAVE, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    timer.daemon = True

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if _asked.is_set():
            raise KeyboardInterrupt
        _asked.set()
        timer.start()
        threading.Thread(target=tell, args=(ASKED,), daemon=True).start()  # a handler must not print

    try:
        with _handled(on_signal, signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        timer.cancel()
        _asked.clear()


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Within it SIGTERM is what Ctrl-C is. Outside the main thread it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Within it `handler` handles these signals. The former handlers come back."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
