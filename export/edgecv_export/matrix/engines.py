"""Where the work of a matrix is done: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from edgecv_runtime._require import require
from edgecv_runtime.errors import BackendError, InputError

_Job = TypeVar("_Job")
_Done = TypeVar("_Done")

# Runs a function of one picklable argument over many, and gives the results in their order.
Engine = Callable[[Callable[[_Job], _Done], Sequence[_Job]], Iterator[_Done]]


def on_processes(count: int = 1) -> Engine[Any, Any]:
    """An engine of so many processes; with one, everything is done in this process.

    Raises
    ------
    InputError
        Fewer than one.
    """
    if count < 1:
        raise InputError(f"there must be at least one process (--jobs); received {count}")

    def run(function: Callable[[_Job], _Done], jobs: Sequence[_Job]) -> Iterator[_Done]:
        workers = min(count, len(jobs))
        if workers <= 1:
            yield from map(function, jobs)
            return
        # TensorFlow's threads do not survive a fork.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                yield from pool.map(function, jobs)
            except BrokenProcessPool:
                raise BackendError(
                    f"one of {workers} processes ended without a word, most often for want of memory: use fewer "
                    "(--jobs 1)"
                ) from None

    return run


def on_ray() -> Engine[Any, Any]:
    """An engine on the Ray cluster that is running, or on one that Ray starts on this machine.

    Pictures, weights and the output folder must be reachable under the same paths from every node.

    Raises
    ------
    MissingPackageError
        Ray is not installed.
    """
    ray = require("ray", install="edgecv-export[cluster]", purpose="a matrix on a cluster")

    def run(function: Callable[[_Job], _Done], jobs: Sequence[_Job]) -> Iterator[_Done]:
        ray.init(ignore_reinit_error=True)
        remote = ray.remote(function)
        yield from ray.get([remote.remote(job) for job in jobs])

    return run
