"""Capture of a step as a CUDA graph."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

TRIAL_STEPS = 3  # before a capture, as PyTorch's documentation of CUDA graphs advises


def captured(step: Callable[[], None], changes: Sequence[Tensor]) -> Callable[[], None]:
    """A function that replays `step` from a CUDA graph. `changes`, which `step` writes, are as before the capture."""
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        rehearse(step, changes)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()  # recorded, not executed
    replay: Callable[[], None] = graph.replay
    return replay


def rehearse(step: Callable[[], None], changes: Iterable[Tensor]) -> None:
    """Take `TRIAL_STEPS` steps, in which libraries allocate memory, then restore the tensors `changes` in place."""
    saved = [(tensor, tensor.clone()) for tensor in changes]
    for _ in range(TRIAL_STEPS):
        step()
    with torch.no_grad():
        for tensor, before in saved:
            tensor.copy_(before)
