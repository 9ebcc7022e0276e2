"""Searching a gallery beside plain numpy and faiss, in one run; opening and filling one.

    python benchmarks/gallery.py [--counts N ...] [--dimensions D ...] [--k K] [--runs R] [--graph-up-to N] [--keep N]

Made embeddings: four samples of each person around the person's own direction, with a spread of quality; pairs of one
person have a cosine of 0.63 ± 0.10, of two people 0.00 ± 0.10 (128-d) or ± 0.05 (512-d). A real embedder
(MobileFaceNet, 128-d, 320 photographs of 40 people) gives 0.64 ± 0.12 and 0.02 ± 0.10. A query is a new sample of one
of the people, as at a door that they pass; strangers are timed on their own.

`plain` is ``X @ q`` and ``argpartition``; ratios are to it: below 1 is quicker. In a turn each peer waits until the
threads of the one before have gone to sleep, runs three times or for two milliseconds, and the quickest counts; medians
over the turns, each with another query. `at rest` compares the tenth percentiles: other work on the machine, for which
a product that is shared out over the cores waits, disturbs them less. Recall@1 is the share of `--queries` queries
whose first answer is the nearest row of all, or one as near. Memory is what the index holds, as a multiple of the
vectors' own.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import numpy as np
import numpy.typing as npt

from edgecv_runtime.cli.output import table
from edgecv_runtime.gallery.search import SearchIndex, make_index

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS = (128, 512)
SAMPLES = 4  # of each person
_SHARE, _SPREAD = 0.64, 0.12  # how much of a sample is the person, and how that differs from photograph to photograph
_DECAY = 0.55  # of the dimension: how quickly the principal components fall, from the real embedder's impostor pairs
_REST = 0.03  # seconds: OpenBLAS's threads watch for work so long after a product, on other peers' time
_SUCCESSION, _WHILE = 3, 2e-3  # runs at least, and seconds: the first ones wait for memory and for the processor's pace
_LIMIT = 60.0  # seconds for one size
_PIECE = 1 << 15

Floats = npt.NDArray[np.float32]
Peer = Callable[[Floats], Any]


class People:
    """Made embeddings; the same seed gives the same ones."""

    def __init__(self, count: int, dimension: int, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)
        self._scales = np.exp(-np.arange(dimension) / (2 * _DECAY * dimension)).astype(np.float32)
        turn = np.linalg.qr(self._generator.standard_normal((dimension, dimension)))[0]
        self._turn: Floats = turn.astype(np.float32)
        self._centres = self._directions(max(1, count // SAMPLES))
        self.person = self._generator.integers(0, len(self._centres), count)
        self.vectors: Floats = np.empty((count, dimension), np.float32)
        for start in range(0, count, _PIECE):
            self.vectors[start : start + _PIECE] = self._photographs(self.person[start : start + _PIECE])

    def queries(self, count: int) -> Floats:
        """New samples of people of the gallery."""
        return self._photographs(self._generator.integers(0, len(self._centres), count))

    def strangers(self, count: int) -> Floats:
        return self._directions(count) @ self._turn

    def _directions(self, count: int) -> Floats:
        drawn = self._generator.standard_normal((count, len(self._scales)), dtype=np.float32) * self._scales
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def _photographs(self, people: Any) -> Floats:
        share = self._generator.normal(_SHARE, _SPREAD, (len(people), 1)).clip(0.1, 0.95).astype(np.float32)
        mixed = np.sqrt(share) * self._centres[people] + np.sqrt(1 - share) * self._directions(len(people))
        return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)) @ self._turn


def plain(vectors: Floats, k: int) -> Peer:
    def search(query: Floats) -> Any:
        scores = vectors @ query
        best = np.argpartition(scores, -k)[-k:]
        return best[np.argsort(-scores[best])]

    return search


def faiss_flat(vectors: Floats, k: int) -> Peer | str:
    try:
        library: Any = importlib.import_module("faiss")
    except ImportError as error:
        return f"not installed ({error})"
    index = library.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda query: index.search(query[None], k)[1][0]


def graph(vectors: Floats, up_to: int) -> SearchIndex | str:
    if len(vectors) > up_to:
        return f"not built above --graph-up-to {up_to:,}"
    try:
        return make_index(vectors, "graph")
    except ImportError as error:
        return f"not installed ({error})"


def time_in_turn(peers: dict[str, Peer], queries: Floats, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each peer in each turn; the peer that begins changes."""
    names = list(peers)
    times: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    for turn in range(-1, runs):  # the first warms up
        if turn > 1 and time.perf_counter() - started > _LIMIT:
            break
        query = queries[turn % len(queries)]
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            time.sleep(_REST)
            spent: list[float] = []
            while len(spent) < _SUCCESSION or sum(spent) < _WHILE:
                before = time.perf_counter()
                peers[name](query)
                spent.append(time.perf_counter() - before)
            if turn >= 0:
                times[name].append(1e3 * min(spent))
    return times


def nearest_scores(vectors: Floats, queries: Floats) -> Floats:
    """(Q,): the highest score of each query over all rows."""
    highest = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(vectors), _PIECE):
        np.maximum(highest, (queries @ vectors[start : start + _PIECE].T).max(axis=1), out=highest)
    return highest


def recall(index: SearchIndex, vectors: Floats, queries: Floats, highest: Floats) -> float:
    """Share of the queries whose first answer scores as the nearest row does, to rounding."""
    first = np.array([index.search(query)[0][0] for query in queries])
    return float(np.mean(np.einsum("nd,nd->n", vectors[first], queries) >= highest - 1e-5))


def measure(count: int, dimension: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every peer at one size."""
    people = People(count, dimension)
    vectors, k = people.vectors, options.k
    indexes: dict[str, SearchIndex] = {"exact": make_index(vectors, "exact")}
    seconds = {}
    before = time.perf_counter()
    indexes["pre-filter"] = make_index(vectors, "prefilter")
    seconds["pre-filter"] = time.perf_counter() - before
    before = time.perf_counter()
    made = graph(vectors, options.graph_up_to)
    if not isinstance(made, str):
        indexes["graph"], seconds["graph"] = made, time.perf_counter() - before
    peers: dict[str, Peer] = {"plain": plain(vectors, k)}
    peers |= {f"edgecv {name}": _asking(index, k) for name, index in indexes.items()}
    skipped = {"edgecv graph": made} if isinstance(made, str) else {}
    other = faiss_flat(vectors, k)
    if isinstance(other, str):
        skipped["faiss flat"] = other
    else:
        peers["faiss flat"] = other
    queries = people.queries(options.queries)
    times = time_in_turn(peers, queries, options.runs)
    quick = {name: peers[name] for name in ("plain", "edgecv exact", "edgecv pre-filter")}
    strangers = time_in_turn(quick, people.strangers(options.runs), options.runs)
    highest = nearest_scores(vectors, queries)
    base, stranger_base = statistics.median(times["plain"]), statistics.median(strangers["plain"])
    rows: list[dict[str, Any]] = []
    for name, collected in times.items():
        median = statistics.median(collected)
        row: dict[str, Any] = {"rows": count, "dimension": dimension, "peer": name, "ms": median}
        row["ratio"] = median / base
        row["at_rest"] = float(np.quantile(collected, 0.1) / np.quantile(times["plain"], 0.1))
        if name in strangers:
            row["strangers"] = statistics.median(strangers[name]) / stranger_base
        own = name.removeprefix("edgecv ")
        if own in indexes and own != name:
            index = indexes[own]
            row["memory"] = index.nbytes / vectors.nbytes
            row["recall"] = 1.0 if index.exact else recall(index, vectors, queries, highest)
            row["built_s"] = seconds.get(own, 0.0)
        rows.append(row)
    return rows + [{"rows": count, "dimension": dimension, "peer": n, "skipped": why} for n, why in skipped.items()]


def _asking(index: SearchIndex, k: int) -> Peer:
    return lambda query: index.search(query, k)


def keeping(count: int, dimension: int, folder: Path, one_by_one: int = 200) -> dict[str, Any]:
    """Filling a gallery file, its size, and opening it to the first answer."""
    from edgecv_runtime import Gallery

    people = People(count, dimension)
    names = [f"person {number}" for number in people.person.tolist()]
    path = folder / f"{count}-{dimension}.db"
    with Gallery(path, dimension=dimension) as gallery:
        before = time.perf_counter()
        gallery.enroll_many(names, people.vectors)
        together = time.perf_counter() - before
        before = time.perf_counter()
        for number, vector in enumerate(people.queries(one_by_one)):
            gallery.enroll(f"newcomer {number}", vector)
        singly = time.perf_counter() - before
    size = path.stat().st_size
    query = people.queries(1)[0]
    opened = []
    for _ in range(5):
        before = time.perf_counter()
        with Gallery(path) as gallery:
            gallery.identify(query, threshold=0.4)
            opened.append(time.perf_counter() - before)
    total = count + one_by_one
    return {
        "rows": count, "dimension": dimension, "together_per_s": count / together, "singly_per_s": one_by_one / singly,
        "bytes_per_vector": size / total, "times_vector": size / total / (4 * dimension),
        "open_s": statistics.median(opened),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=_common.positive, default=list(COUNTS), metavar="N")
    parser.add_argument("--dimensions", nargs="+", type=_common.positive, default=list(DIMENSIONS), metavar="D")
    parser.add_argument("--k", type=_common.positive, default=1, metavar="K", help="rows of an answer")
    parser.add_argument("--runs", type=_common.positive, default=30, metavar="R")
    parser.add_argument("--queries", type=_common.positive, default=1000, metavar="Q", help="for recall@1")
    parser.add_argument("--graph-up-to", type=int, default=10_000, metavar="N", help="its building takes long")
    parser.add_argument("--keep", type=int, default=100_000, metavar="N", help="vectors in the file; 0 leaves it out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for dimension in options.dimensions:
        for count in options.counts:
            rows += measure(count, dimension, options)
    print(_common.machine_line())
    head = ("rows", "length", "peer", "ms", "ratio", "at rest", "strangers", "recall@1", "memory", "built")
    print(table(head, [_row(row) for row in rows]))
    kept = []
    if options.keep:
        with tempfile.TemporaryDirectory() as folder:
            kept = [keeping(options.keep, dimension, Path(folder)) for dimension in options.dimensions]
        head = (
            "rows",
            "length",
            "enrolled/s in a batch",
            "one by one",
            "bytes each",
            "of the vector",
            "open, 1st answer",
        )
        print(table(head, [_kept_row(row) for row in kept]))
    _common.write_json(options.json, {"rows": rows, "kept": kept})
    return 0


def _row(row: dict[str, Any]) -> list[str]:
    head = [f"{row['rows']:,}", str(row["dimension"]), row["peer"]]
    if "skipped" in row:
        return [*head, row["skipped"], *[""] * 6]
    shown = {"strangers": "{:.3f}", "recall": "{:.4f}", "memory": "{:.2f} ×", "built_s": "{:.1f} s"}
    rest = [text.format(row[name]) if name in row else "" for name, text in shown.items()]
    return [*head, f"{row['ms']:.3f}", f"{row['ratio']:.3f}", f"{row['at_rest']:.3f}", *rest]


def _kept_row(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['rows']:,}", str(row["dimension"]), f"{row['together_per_s']:,.0f}", f"{row['singly_per_s']:,.0f}",
        f"{row['bytes_per_vector']:,.0f}", f"{row['times_vector']:.2f} ×", f"{row['open_s']:.3f} s",
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
