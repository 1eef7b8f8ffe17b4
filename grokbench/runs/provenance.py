"""Provenance: the machine, versions, threads and code that made a run."""

import contextlib
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
)

from grokbench.agents.texts import text_bytes
from grokbench.runs.schema import Sparse
from grokbench.runs.surroundings import unusual_settings

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds grokbench and baselines
HASHED_CODE = (  # code outside these paths can't change an exam
    "baselines",
    "grokbench/agents",
    "grokbench/evaluation",
    "grokbench/runs/loop.py",
    "grokbench/tasks",
)
UNHASHED_CODE = ("grokbench/tasks/suites.py",)  # a new suite leaves all other runs as they are

COMMON_PACKAGES = ("grokbench", "numpy", "torch")  # whose versions every record states


class Provenance(Sparse):
    """What made the run.

    `code` is the hash of the code that computes runs. Old records, and runs resumed elsewhere, lack it. `captured` says whether
    the steps were replays of a CUDA graph; it is None on a CPU. `settings` are those of torch and numpy that the agent changed.
    """

    versions: dict[str, str]
    device: str
    dtype: str | None
    captured: bool | None = None
    threads: int
    commit: str | None
    dirty: bool | None
    settings: dict[str, str] | None = None
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    def repeats(self, other: "Provenance") -> bool:
        """Whether the same cohort must give the same exams there, to the bit: nothing but the commit differs."""
        return self.code is not None and self.reproducibility == other.reproducibility

    @property
    def reproducibility(self) -> dict[str, Any]:
        """All that has to be equal for exams to repeat to the bit: everything but the commit."""
        return self.model_dump(exclude={"commit", "dirty"})


def current_provenance(
    device: str, dtype: str | None, *, captured: bool | None = None, packages: Sequence[str] = ()
) -> Provenance:
    """The provenance of runs of this process.

    Args:
        device: where they compute.
        dtype: the number format.
        captured: whether their steps are replays of a CUDA graph.
        packages: further packages that compute them, whose versions are stated where they are installed.
    """
    torch = sys.modules.get("torch")
    versions = {"python": platform.python_version()} | installed_versions((*COMMON_PACKAGES, *packages))
    commit, dirty = _code_state()
    name = torch.cuda.get_device_name() if torch is not None and device == "cuda" else _cpu()
    threads = torch.get_num_threads() if torch is not None else 1
    return Provenance(
        versions=versions,
        device=f"{device} ({name})",
        dtype=dtype,
        captured=captured,
        threads=threads,
        commit=commit,
        dirty=dirty,
        settings=unusual_settings() or None,
        code=code_hash(),
    )


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    versions = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _cpu() -> str:
    """This CPU to its stepping, and the instruction set that torch uses: others round differently."""
    torch, about = sys.modules.get("torch"), _cpuinfo()
    keys = ("cpu family", "model", "stepping", "cache size")
    known = [f"{key} {about[key]}" for key in keys if key in about]
    return ", ".join([processor(), *known, *([] if torch is None else [torch.backends.cpu.get_cpu_capability()])])


def processor() -> str:
    """The name of this CPU."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpuinfo() -> dict[str, str]:
    """The first CPU's entries in /proc/cpuinfo; empty on other systems than Linux."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


@cache
def code_hash() -> str:
    """SHA-256 of the code that computes runs, baselines included. Line ends don't count."""
    files = [file for name in HASHED_CODE for file in (sorted((ROOT / name).rglob("*.py")) or [ROOT / name])]
    digest = hashlib.sha256()
    for file in files:
        if file.relative_to(ROOT).as_posix() in UNHASHED_CODE:
            continue
        content = text_bytes(file)
        digest.update(f"{file.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _code_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout, and whether tracked files differ from it; None for both outside a checkout."""
    if not (ROOT / ".git").exists():
        return None, None
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
