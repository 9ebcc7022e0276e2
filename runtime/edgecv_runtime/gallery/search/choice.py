"""Which index for how many vectors."""

from __future__ import annotations

import numpy.typing as npt

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.gallery.search.base import SearchIndex, as_rows
from edgecv_runtime.gallery.search.exact import ExactIndex, Score

MODES = ("auto", "exact", "prefilter", "graph")

# Values (rows × length) from which the pre-filter is worth its sketches and the word "approximate": the exact search
# then takes longer than a frame of a video does on a small board. `benchmarks/gallery.py` shows the times.
_PREFILTER_FROM = 1 << 26


def make_index(vectors: npt.ArrayLike, mode: str = "auto", *, score: Score | None = None) -> SearchIndex:
    """An index over these rows.

    Parameters
    ----------
    vectors : (N, D) float32
        Taken over without a copy; unit vectors unless `score` is given.
    mode : {"auto", "exact", "prefilter", "graph"}
        "auto" is exact, and pre-filtered from half a million 128-d vectors on (N × D of 2²⁶). The graph is never
        chosen by itself: it needs a package, memory and minutes.
    score : callable, optional
        Another similarity than the inner product; only the exact search knows others.

    Raises
    ------
    InputError
        No such mode, or vectors that are none.
    UnsupportedError
        An approximate mode with another similarity.
    MissingPackageError
        ``"graph"`` without usearch.
    """
    if mode not in MODES:
        raise InputError(f"a search mode must be one of {', '.join(MODES)}; received {mode!r}")
    rows = as_rows(vectors)
    if score is not None and mode in ("prefilter", "graph"):
        raise UnsupportedError(f"the search mode {mode!r} needs the cosine distance; use 'exact'")
    if mode == "graph":
        from edgecv_runtime.gallery.search.index import ApproximateIndex

        return ApproximateIndex(rows)
    if mode == "prefilter" or (mode == "auto" and score is None and rows.size >= _PREFILTER_FROM):
        from edgecv_runtime.gallery.search.prefilter import PrefilterIndex

        return PrefilterIndex(rows)
    return ExactIndex(rows, score=score)
