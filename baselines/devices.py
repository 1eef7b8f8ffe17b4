"""Copies from the host to the device, and what fits its memory."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

USABLE_SHARE = 0.8  # of the free memory: CUDA graphs keep some for themselves, and blocks leave gaps


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on the device. The host doesn't wait for a copy to a GPU, so a step may ask for one."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def members_that_fit(take_one_through: Callable[[], None]) -> int:
    """How many members the GPU's free memory takes, from what one needs; 0 for none.

    Args:
        take_one_through: computes all that a run needs, for a single member.
    """
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        take_one_through()
    except torch.OutOfMemoryError:
        return 0
    needed = torch.cuda.max_memory_allocated() - before
    return int(USABLE_SHARE * free / max(needed, 1))
