"""One search over several cores: whoever is free takes the next block.

numpy lets go of the interpreter while it computes, so threads do. A helper that the system lets wait (because a model
keeps the cores busy) delays nobody: the caller works on, and waits in the end for no more than the blocks begun.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from edgecv_runtime import cpu

_MOST = 8  # threads: memory is exhausted before so many are

Block = TypeVar("Block")


def share_out(blocks: Iterable[Block], work: Callable[[Block], None], *, alone: bool = False) -> None:
    """Call ``work(block)`` for every block, in the calling thread and, unless `alone`, in helpers of it.

    Parameters
    ----------
    blocks : iterable
    work : callable
        Touches nothing that it would share with another block.
    alone : bool
        Keep all of it in the calling thread.
    """
    waiting = deque(blocks)

    def take() -> None:
        while waiting:
            try:
                block = waiting.popleft()
            except IndexError:  # another was quicker
                return
            work(block)

    started: list[Future[None]] = []
    if not alone and len(waiting) > 1 and (helpers := min(_MOST, cpu.available_cores()) - 1):
        try:
            started = [_pool(os.getpid()).submit(take) for _ in range(min(helpers, len(waiting) - 1))]
        except RuntimeError:  # the interpreter is about to end: no new work in other threads
            started = []
    try:
        take()
    finally:
        waiting.clear()
        for helper in started:
            if not helper.cancel():
                helper.result()


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:  # a process that was forked has no threads of its parent's
    return ThreadPoolExecutor(_MOST, thread_name_prefix="edgecv-search")
