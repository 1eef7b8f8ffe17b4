"""Keeps the memory that a training step frees in the process, for the next step. Linux with glibc only.

glibc gives large blocks back to the system and asks for them again a moment later, and every page of them costs a fault:
a tenth of a transformer's training time on CPU, a third of a wide MLP's (docs/performance.md).
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; mallopt refuses more


def keep_freed_memory() -> bool:
    """Tell malloc to keep what is freed; whether it could be told (not outside glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
