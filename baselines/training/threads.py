"""Independent work on CPU: in turn on one thread, which is the default, or side by side on several (`--threads`)."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of `work` on every item. As many items run at once as torch has threads, which they share evenly."""
    threads, results = torch.get_num_threads(), list[Result]()
    if threads == 1:
        return [work(item) for item in items]
    for start in range(0, len(items), threads):
        group = items[start : start + threads]
        if len(group) == 1:
            results.append(work(group[0]))
            continue
        share = threads // len(group)
        try:
            with ThreadPoolExecutor(len(group), initializer=torch.set_num_threads, initargs=(share,)) as pool:
                results += pool.map(work, group)
        finally:
            torch.set_num_threads(threads)
    return results
