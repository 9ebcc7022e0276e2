"""Search indexes against numpy's sort of all inner products, and against arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingPackageError, UnsupportedError
from edgecv_runtime.gallery.search import SearchIndex, make_index
from edgecv_runtime.gallery.search import base as base_module
from edgecv_runtime.gallery.search import exact as exact_module
from edgecv_runtime.gallery.search import segments as segments_module
from edgecv_runtime.gallery.search.exact import ExactIndex, best
from edgecv_runtime.gallery.search.prefilter import PrefilterIndex
from edgecv_runtime.gallery.search.segments import Segments


def units(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def near(rows: np.ndarray, cosine: float, seed: int = 1) -> np.ndarray:
    """Unit vectors at exactly this cosine from each row."""
    drawn = np.random.default_rng(seed).standard_normal(rows.shape)
    across = drawn - np.einsum("nd,nd->n", drawn, rows)[:, None] * rows
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return (cosine * rows + math.sqrt(1 - cosine**2) * across).astype(np.float32)


def sorted_out(rows: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    scores = rows.astype(np.float64) @ query.astype(np.float64)
    return sorted(range(len(rows)), key=lambda row: (-scores[row], row))[:k]


@pytest.fixture(params=["exact", "one thread", "prefilter", "graph"])
def make(request: pytest.FixtureRequest) -> Any:
    """Every index behind the one interface."""
    if request.param == "graph":
        pytest.importorskip("usearch", reason="the graph index needs usearch")
    if request.param == "one thread":
        return lambda rows: ExactIndex(rows, threads=1)
    return lambda rows: make_index(rows, request.param)


# -- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 10])
def test_nearest_rows(make: Any, k: int) -> None:
    rows = units(3000, 32)
    index = make(rows.copy())
    assert isinstance(index, SearchIndex) and len(index) == 3000 and index.dimension == 32
    for query in near(rows[::300], 0.9):
        expected = sorted_out(rows, query, k)
        found, scores = index.search(query, k)
        assert found[0] == expected[0]
        if index.exact:
            assert found.tolist() == expected
        np.testing.assert_allclose(scores, rows[found] @ query, atol=1e-6)
        assert (np.diff(scores) <= 0).all() and found.dtype == np.int64 and scores.dtype == np.float32


def test_rows_are_numbered_as_in_an_array(make: Any) -> None:
    rows = units(900, 16)
    index, mirror = make(rows.copy()), rows.copy()
    generator = np.random.default_rng(5)
    for turn in range(6):
        gone = generator.choice(len(mirror), 70, replace=False)
        index.remove(gone)
        mirror = np.delete(mirror, gone, axis=0)
        new = units(50 + turn, 16, seed=100 + turn)
        index.add(new)
        mirror = np.concatenate([mirror, new])
        assert len(index) == len(mirror)
        np.testing.assert_array_equal(index.vectors(np.arange(len(mirror))), mirror)
        for row in (0, len(mirror) // 2, len(mirror) - 1):
            assert index.search(mirror[row])[0].tolist() == [row]


def test_more_is_asked_than_there_is(make: Any) -> None:
    rows = units(5, 8)
    found, scores = make(rows).search(rows[2], 9)
    assert sorted(found.tolist()) == [0, 1, 2, 3, 4] and found[0] == 2 and len(scores) == 5


def test_an_index_can_be_emptied_and_filled(make: Any) -> None:
    index = make(units(4, 8))
    index.remove([0, 1, 2, 3])
    assert len(index) == 0 and index.search(np.ones(8, np.float32), 2)[0].tolist() == []
    index.add(units(3, 8, seed=2))
    assert index.search(units(3, 8, seed=2)[1])[0].tolist() == [1]


@pytest.mark.parametrize(
    ("query", "k", "said"),
    [
        (np.ones(7), 1, r"\(8,\)"),
        (np.ones((1, 8)), 1, r"\(1, 8\)"),
        (np.full(8, np.nan), 1, "finite"),
        (np.full(8, np.inf), 1, "finite"),
        (np.ones(8), 0, "at least 1"),
    ],
)
def test_bad_queries(make: Any, query: np.ndarray, k: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(units(4, 8)).search(query, k)


def test_bad_rows(make: Any) -> None:
    index = make(units(4, 8))
    for rows in ([4], [-1], [0.5], [[0]]):
        with pytest.raises(InputError, match="0 to 3"):
            index.remove(rows)
    index.remove([])
    with pytest.raises(InputError, match="8"):
        index.add(units(2, 9))
    with pytest.raises(InputError, match="finite"):
        index.add(np.full((1, 8), np.nan, np.float32))
    assert len(index) == 4


def test_large_finite_values_are_no_infinity() -> None:
    rows = np.full((4, 8), 3e38, np.float32)
    with np.errstate(over="ignore"):
        assert base_module.as_rows(rows) is rows
        assert base_module.check_query(rows[0], 8, 1).tolist() == rows[0].tolist()
    with pytest.raises(InputError, match="N, D"):
        base_module.as_rows(np.ones(3))


# -- exact -------------------------------------------------------------------------------------------------


def test_equal_scores_lower_row_first() -> None:
    scores = np.array([1, 5, 2, 5, 5, 0, 2], np.float32)
    for k, expected in ((1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (4, [1, 3, 4, 2]), (5, [1, 3, 4, 2, 6]), (9, None)):
        rows, values = best(scores, k)
        assert rows.tolist() == (expected or [1, 3, 4, 2, 6, 0, 5])
        assert values.tolist() == scores[rows].tolist()


@pytest.mark.parametrize("k", [1, 2, 7, 31, 40, 9000, 20000])
def test_best_of_many(k: int) -> None:
    scores = np.random.default_rng(k).integers(0, 3000, 20000).astype(np.float32)  # with ties
    order = np.lexsort((np.arange(20000), -scores))[:k]
    rows, values = best(scores, k)
    assert rows.tolist() == order.tolist() and values.tolist() == scores[order].tolist()


def test_exact_over_several_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "_WHOLE", 1 << 14)
    monkeypatch.setattr(exact_module, "_SMALL", 0)
    rows = units(6000, 16)
    for threads in (None, 1):
        index = ExactIndex(rows[:1000].copy(), threads=threads)
        for start in range(1000, 6000, 500):
            index.add(rows[start : start + 500])
        assert len(index.rows.arrays()) > 5
        for query in near(rows[::1000], 0.5):
            assert index.search(query, 5)[0].tolist() == sorted_out(rows, query, 5)


def test_another_score() -> None:
    rows = np.array([[0, 0], [3, 4], [1, 1]], np.float32)
    index = make_index(rows, score=lambda query, block: -np.abs(block - query).sum(axis=1))
    found, scores = index.search(np.array([3, 3], np.float32), 3)
    assert found.tolist() == [1, 2, 0] and scores.tolist() == [-1, -4, -6]


def test_one_query_at_a_time_or_several(make: Any) -> None:
    """Searches of several threads do not disturb each other."""
    from concurrent.futures import ThreadPoolExecutor

    rows = units(70_000, 16)
    index = make(rows[:2000].copy()) if not isinstance(make(rows[:2].copy()), ExactIndex) else make(rows.copy())
    queries = [(row, rows[row]) for row in range(0, 2000, 50)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: int(index.search(pair[1])[0][0]), queries))
    assert found == [row for row, _ in queries]


# -- growth and memory -------------------------------------------------------------------------------------


def test_rows_are_taken_over_and_never_doubled() -> None:
    rows = units(50_000, 32)
    index = ExactIndex(rows)
    assert np.shares_memory(index.rows.arrays()[0][1], rows)
    for start in range(0, 4000, 40):
        index.add(units(40, 32, seed=start))
        assert index.nbytes <= 1.2 * 4 * 32 * len(index)
    assert len(index.rows.arrays()) < 10


def test_removal_gives_memory_back() -> None:
    segments = Segments(units(20_000, 64))
    for seed in range(20):
        segments.add(units(2000, 64, seed=seed))
    while len(segments) > 3000:
        segments.remove(np.arange(0, len(segments), 3))
        kept = sum(len(array) for _, array in segments.arrays())
        assert kept == len(segments)
    assert segments.nbytes <= 4 * 64 * 20_000  # what was made first, and no more


def test_a_removed_vector_is_not_left_in_memory() -> None:
    rows = units(100, 8)
    secret = rows[41].copy()
    for how in (Segments, ExactIndex):
        held = how(rows.copy())
        inner = held if isinstance(held, Segments) else held.rows
        base = inner._arrays[0]
        held.remove([41, 99])
        assert not (np.abs(base - secret) < 1e-7).all(axis=1).any()


def test_read_only_rows() -> None:
    rows = units(10, 4)
    expected = np.concatenate([np.delete(rows, 3, axis=0), units(2, 4, seed=9)])
    rows.flags.writeable = False
    index = ExactIndex(rows)
    index.add(units(2, 4, seed=9))
    index.remove([3])
    np.testing.assert_array_equal(index.vectors(np.arange(11)), expected)


# -- pre-filter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cosine", [0.9, 0.5, 0.2, 0.0])
def test_recall_does_not_depend_on_how_near_somebody_is(cosine: float) -> None:
    rows = units(20_000, 64)
    index = PrefilterIndex(rows.copy(), confidence=0.999)
    queries = near(rows[:200], cosine)
    expected = (queries @ rows.T).argmax(axis=1)
    found = np.array([index.search(query)[0][0] for query in queries])
    assert (found == expected).sum() >= 199


def test_prefilter_looks_at_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = units(20_000, 128)
    index = PrefilterIndex(rows.copy())
    taken: list[int] = []
    take = index._exact.rows.take
    monkeypatch.setattr(index._exact.rows, "take", lambda rows: taken.append(len(rows)) or take(rows))
    for query in near(rows[:50], 0.8):
        index.search(query)
    assert sum(taken) / 50 < 400  # 2 % of the rows
    taken.clear()
    monkeypatch.setattr(index._exact, "search", lambda query, k: "all rows")
    assert index.search(units(1, 128, seed=77)[0]) == "all rows"  # a stranger: nobody near


def test_prefilter_memory() -> None:
    assert PrefilterIndex(units(30_000, 128)).nbytes / (30_000 * 512) == pytest.approx(1 + 1 / 8, abs=0.01)
    with pytest.raises(InputError, match="multiple of 64"):
        PrefilterIndex(units(4, 8), bits=100)
    with pytest.raises(InputError, match="confidence"):
        PrefilterIndex(units(4, 8), confidence=1.0)


def test_a_query_without_direction() -> None:
    assert len(PrefilterIndex(units(5000, 8)).search(np.zeros(8, np.float32), 3)[0]) == 3


# -- others ------------------------------------------------------------------------------------------------


def test_exact_agrees_with_faiss() -> None:
    faiss = pytest.importorskip("faiss", reason="compared with faiss where it is installed")
    rows, queries = units(5000, 64), units(30, 64, seed=8)
    flat = faiss.IndexFlatIP(64)
    flat.add(rows)
    scores, expected = flat.search(queries, 6)
    index = ExactIndex(rows)
    for query, row, score in zip(queries, expected, scores, strict=True):
        found = index.search(query, 6)
        assert found[0].tolist() == row.tolist()
        np.testing.assert_allclose(found[1], score, atol=1e-6)


def test_graph_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("usearch", "usearch.index"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match="gallery"):
        make_index(units(4, 8), "graph")


def test_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.gallery.search import choice

    assert isinstance(make_index(units(100, 8)), ExactIndex)
    assert choice._PREFILTER_FROM == 524_288 * 128
    monkeypatch.setattr(choice, "_PREFILTER_FROM", 800)
    assert isinstance(make_index(units(100, 8)), PrefilterIndex)
    assert make_index(units(100, 8), "exact").exact
    with pytest.raises(InputError, match="auto, exact, prefilter, graph"):
        make_index(units(4, 8), "quick")
    score = lambda query, block: block @ query  # noqa: E731
    assert make_index(units(100, 8), score=score).exact
    with pytest.raises(UnsupportedError, match="cosine"):
        make_index(units(100, 8), "prefilter", score=score)
    with pytest.raises(InputError, match="threads"):
        ExactIndex(units(4, 8), threads=3)
