"""A cohort's surroundings: settings of the process that change what is computed. Every cohort starts from known ones."""

import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_ALONE = threading.RLock()
Generators = dict[str, Any]  # the state of each global generator by its name
_OUTSIDE: list[Generators] = []  # the generators as they are outside of the surroundings, the innermost last


class _Setting(NamedTuple):
    """A setting of the process.

    Attributes:
        known: its value at the start of every cohort.
        get: reads it.
        set: sets it.
    """

    known: Any
    get: Callable[[], Any]
    set: Callable[[Any], Any]


@contextmanager
def known_surroundings() -> Iterator[None]:
    """Within it every setting has its known value, and the global generators start from 0. All is put back afterwards.

    Threads, current folder, environment variables and filters of warnings are put back too. All of it belongs to the process:
    only one thread at a time is within it.
    """
    with _ALONE, _put_back():
        _apply(settings := _settings(), {name: setting.known for name, setting in settings.items()})
        seed_generators(0)
        with warnings.catch_warnings():
            yield


@contextmanager
def _put_back() -> Iterator[None]:
    """Whatever changes within it is as before afterwards."""
    import torch

    settings, folder, environment, threads = _settings(), os.getcwd(), dict(os.environ), torch.get_num_threads()
    before = {name: setting.get() for name, setting in settings.items()}
    _OUTSIDE.append(generators_state())
    try:
        yield
    finally:
        _apply(settings, before)
        restore_generators(_OUTSIDE.pop())
        torch.set_num_threads(threads)
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


@contextmanager
def outside() -> Iterator[None]:
    """Within it the global generators of the CPU are those of the caller again: for callbacks, which must not change a run."""
    if not _OUTSIDE:
        yield
        return
    inside, theirs = _cpu_generators_state(), _OUTSIDE.pop()
    restore_generators({name: theirs[name] for name in inside})
    try:
        yield
    finally:
        _OUTSIDE.append(theirs | _cpu_generators_state())
        restore_generators(inside)


def unusual_settings() -> dict[str, str]:
    """The settings that don't have their known value, because the agent has set them. Their values are text."""
    values = {name: (setting.get(), setting.known) for name, setting in _settings().items()}
    return {name: str(value) for name, (value, known) in values.items() if value != known}


def generators_state() -> Generators:
    """The states of the global generators of Python, numpy and torch, CUDA's too where it is used."""
    import torch

    states = _cpu_generators_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # else asking for the state would start CUDA
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _cpu_generators_state() -> Generators:
    import torch

    numpys = np.random.get_state()  # noqa: NPY002 - agents may draw from numpy's global generator
    return {"python": random.getstate(), "numpy": numpys, "torch": torch.get_rng_state()}


def restore_generators(states: Generators) -> None:
    """Bring the global generators to these states."""
    import torch

    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def _apply(settings: dict[str, _Setting], values: dict[str, Any]) -> None:
    """Set what differs. Setting a device anew would cost time at every call of torch."""
    for name, setting in settings.items():
        if setting.get() != values[name]:
            setting.set(values[name])


def _subnormal_numbers() -> str:
    """Whether this thread computes with subnormal numbers, or takes them for zero.

    Weight decay makes weights that no question needs ever smaller. With subnormal numbers, which are below 1e-38 in float32, an
    instruction can take a hundred times as long. They slowed down a quadratic MLP by a factor of twenty.
    """
    import torch

    return "kept" if bool(torch.full((1,), 1e-40, dtype=torch.float32, device="cpu") * 1) else "zero"


def _settings() -> dict[str, _Setting]:
    import torch
    from torch.backends import cudnn

    def set_device(device: str) -> None:
        torch.set_default_device(None if device == "cpu" else device)

    def attribute(of: Any, name: str, known: Any) -> _Setting:
        return _Setting(known, lambda: getattr(of, name), lambda value: setattr(of, name, value))

    return {
        "default dtype": _Setting(torch.float32, torch.get_default_dtype, torch.set_default_dtype),
        "default device": _Setting("cpu", lambda: str(torch.get_default_device()), set_device),
        "gradients": _Setting(True, torch.is_grad_enabled, torch.set_grad_enabled),
        "anomaly detection": _Setting(False, torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        "deterministic algorithms": _Setting(0, torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        "matmul precision": _Setting("highest", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        "autocast": _Setting(False, lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
        "cudnn benchmark": attribute(cudnn, "benchmark", False),
        "cudnn deterministic": attribute(cudnn, "deterministic", False),
        "mkldnn": attribute(torch.backends.mkldnn, "enabled", True),
        "subnormal numbers": _Setting("zero", _subnormal_numbers, lambda value: torch.set_flush_denormal(value == "zero")),
        "numpy errors": _Setting(NUMPY_ERRORS, np.geterr, lambda value: np.seterr(**value)),
    }
