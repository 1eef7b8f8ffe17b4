"""Where a run is made: machine, versions, threads, and the code that computes it."""

import hashlib
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
)

from grokbench.runs.schema import Sparse

ROOT = Path(__file__).resolve().parents[2]  # the folder that grokbench and baselines stand in
COMPUTES = (
    "baselines",
    "grokbench/agents",
    "grokbench/evaluation",
    "grokbench/runs/cohort.py",
    "grokbench/tasks",
)


class Provenance(Sparse):
    """Where and with what the run was made; `code` hashes what of grokbench computes a run, left out by old records."""

    versions: dict[str, str]
    device: str
    dtype: str | None
    threads: int
    commit: str | None
    dirty: bool | None
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    def repeats(self, other: "Provenance") -> bool:
        """Whether the same batch has to come out there as here, to the bit: nothing differs but the commit."""
        return self.code is not None and self.reproducibility == other.reproducibility

    @property
    def reproducibility(self) -> dict[str, Any]:
        """Everything but the commit."""
        return self.model_dump(exclude={"commit", "dirty"})


def current_provenance(device: str, dtype: str | None) -> Provenance:
    """Where this process runs: versions, device, threads and the code's commit."""
    torch = sys.modules.get("torch")
    versions = {"python": platform.python_version()}
    for package in ("grokbench", "numpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    commit, dirty = _code_state()
    name = torch.cuda.get_device_name() if torch is not None and device == "cuda" else _cpu()
    threads = torch.get_num_threads() if torch is not None else 1
    return Provenance(
        versions=versions,
        device=f"{device} ({name})",
        dtype=dtype,
        threads=threads,
        commit=commit,
        dirty=dirty,
        code=code_hash(),
    )


def _cpu() -> str:
    """This CPU, to its stepping, and the instructions that torch uses on it: others round differently."""
    torch, about = sys.modules.get("torch"), _cpuinfo()
    keys = ("cpu family", "model", "stepping", "cache size")
    known = [f"{key} {about[key]}" for key in keys if key in about]
    return ", ".join([processor(), *known, *([] if torch is None else [torch.backends.cpu.get_cpu_capability()])])


def processor() -> str:
    """The name of this CPU."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpuinfo() -> dict[str, str]:
    """What Linux knows of the first CPU; nothing elsewhere."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


@cache
def code_hash() -> str:
    """A hash of the code that computes a run, baselines and all: what it doesn't cover can't change an exam."""
    files = [file for name in COMPUTES for file in (sorted((ROOT / name).rglob("*.py")) or [ROOT / name])]
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _code_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this code stands in, and whether tracked files differ from it."""
    if not (ROOT / ".git").exists():
        return None, None
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
