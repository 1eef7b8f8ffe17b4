"""Cores: affinity and quotas from the system's texts, and threads that come back."""

import math
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from grokbench.runs.cores import (
    available_cores,
    cgroup_folders,
    computing_threads,
    legacy_quota,
    unified_quota,
    whole_cores,
)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000\n", 1.5), ("max 100000\n", math.inf), ("50000 100000", 0.5), ("", math.inf), ("400000 0", math.inf)],
)
def test_the_quota_of_version_2(text: str, cores: float) -> None:
    """`cpu.max` holds quota and period in microseconds."""
    assert unified_quota(text) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("200000\n", "100000\n", 2.0), ("-1\n", "100000\n", math.inf), ("", "", math.inf), ("0", "100000", math.inf)],
)
def test_the_quota_of_version_1(quota: str, period: str, cores: float) -> None:
    """-1 is no limit, and so is a missing file."""
    assert legacy_quota(quota, period) == cores


@pytest.mark.parametrize(
    ("allowed", "quotas", "cores"), [(8, [], 8), (8, [math.inf, 2.5], 2), (1, [4.0], 1), (4, [0.5], 1), (64, [math.inf], 64)]
)
def test_whole_cores_within_every_limit(allowed: int, quotas: list[float], cores: int) -> None:
    """Half a core that is left over would slow all processes, so the number is rounded down, to 1 at the least."""
    assert whole_cores(allowed, quotas) == cores


def test_the_folders_of_a_group_of_version_2() -> None:
    """Its own and its ancestors', up to the root."""
    folders = cgroup_folders("0::/user.slice/job-7\n", Path("/c"))
    assert set(folders) == {Path("/c"), Path("/c/user.slice"), Path("/c/user.slice/job-7")}


def test_the_folders_of_a_group_of_version_1() -> None:
    """Those of the controller `cpu` alone; a container sees its own group as the controller's root."""
    text = "5:cpuset:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a\n"
    cpu = Path("/c/cpu,cpuacct")
    assert set(cgroup_folders(text, Path("/c"))) == {Path("/c"), cpu, cpu / "docker", cpu / "docker/a"}


def test_this_machine_has_a_core() -> None:
    """Whatever the system's files say."""
    assert available_cores() >= 1


def test_threads_come_back() -> None:
    """Torch's and those of numpy's BLAS, also after an error."""
    before = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    torch.set_num_threads(2)
    try:
        with computing_threads(1):
            assert torch.get_num_threads() == 1
            assert all(library["num_threads"] == 1 for library in threadpool_info() if library["user_api"] == "blas")
        assert torch.get_num_threads() == 2
        assert [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"] == before
    finally:
        torch.set_num_threads(1)
