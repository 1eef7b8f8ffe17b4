"""Cores: how many this process may use, and how many threads a run computes on."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits

CGROUPS = Path("/sys/fs/cgroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # for processes that are yet to start


def available_cores() -> int:
    """The cores that the affinity mask and the container's CPU quota leave to this process, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return whole_cores(allowed, [_quota(folder) for folder in cgroup_folders(_text(Path("/proc/self/cgroup")))])


def whole_cores(allowed: int, quotas: list[float]) -> int:
    """The whole cores within an affinity mask of `allowed` cores and within every quota, at least 1."""
    return max(1, math.floor(min([allowed, *quotas])))


def cgroup_folders(memberships: str, root: Path = CGROUPS) -> list[Path]:
    """The folders that can limit this process's CPU time, from the text of /proc/self/cgroup.

    A limit of any ancestor holds too. A container may see its own group as the root, so the roots are among the folders.
    """
    folders = [root]
    for line in memberships.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers  # version 2 has no controllers in its line, and its groups are below the root itself
        group_folder = top / group.lstrip("/")
        folders += [folder for folder in (group_folder, *group_folder.parents) if folder.is_relative_to(top)]
    return list(dict.fromkeys(folders))


def unified_quota(text: str) -> float:
    """The cores that `cpu.max` of cgroup version 2 allows: "150000 100000" allows 1.5, "max 100000" infinitely many."""
    quota, _, period = text.strip().partition(" ")
    return legacy_quota(quota, period)


def legacy_quota(quota: str, period: str) -> float:
    """The cores that `cpu.cfs_quota_us` and `cpu.cfs_period_us` of version 1 allow. -1, or no number, is no limit."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return cores if cores > 0 else math.inf


def _quota(folder: Path) -> float:
    legacy = legacy_quota(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
    return min(unified_quota(_text(folder / "cpu.max")), legacy)


def _text(path: Path) -> str:
    """The text of a system's file; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


@contextmanager
def computing_threads(threads: int) -> Iterator[None]:
    """Within it torch, and the BLAS libraries that are loaded, compute on so many threads. The former numbers come back."""
    import torch

    before = torch.get_num_threads()
    with threadpool_limits(threads, user_api="blas"):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
