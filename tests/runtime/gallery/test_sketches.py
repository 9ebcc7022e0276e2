"""Sketches against arithmetic, against counts made one by one, and against what chance lets expect."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from edgecv_runtime.gallery.search import sketches as module
from edgecv_runtime.gallery.search.sharing import share_out
from edgecv_runtime.gallery.search.sketches import Sketches


def units(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def at_cosine(rows: np.ndarray, cosine: float, seed: int = 1) -> np.ndarray:
    """Unit vectors at exactly this cosine from each row."""
    drawn = np.random.default_rng(seed).standard_normal(rows.shape)
    across = drawn - np.einsum("nd,nd->n", drawn, rows)[:, None] * rows
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return (cosine * rows + math.sqrt(1 - cosine**2) * across).astype(np.float32)


def filled(rows: np.ndarray, words: int) -> Sketches:
    made = Sketches(rows.shape[1], words, len(rows))
    made.add(rows)
    return made


@pytest.mark.parametrize(("cosine", "words"), [(0.5, 4), (0.0, 4), (0.65, 3), (-0.3, 2)])
def test_sketches_differ_by_the_angle(cosine: float, words: int) -> None:
    """Charikar's mean; the deviation of whole rotations: θ = 60°, 256 bits, 256 (2/9 - (sin θ/π)²) = 6.12²."""
    rows = units(6000, 128)
    sketches = Sketches(128, words)
    differing = np.bitwise_count(sketches.of(rows) ^ sketches.of(at_cosine(rows, cosine))).sum(axis=0, dtype=np.int64)
    angle = math.acos(cosine)
    rotations = {4: 256, 3: 128 + 64 * 64 / 128, 2: 128}[words]
    share = angle / math.pi
    variance = 64 * words * share * (1 - share) - rotations * (math.sin(angle) / math.pi) ** 2
    if (cosine, words) == (0.5, 4):
        assert math.sqrt(variance) == pytest.approx(6.12, abs=0.01)
    assert differing.mean() == pytest.approx(64 * words * share, abs=4 * math.sqrt(variance / 6000))
    assert differing.std() == pytest.approx(math.sqrt(variance), rel=0.04)  # 4 / √12000


def test_the_bound() -> None:
    """60°: p = 1/3. 256 bits are two rotations of 128, 192 one and a half: 128 + 64²/128 = 160.

    256/3 + 3 · √(256 · 2/9 - 256 · 3/(4π²)) + 8/6 · 1/3 = 104.12, and 64 + 3 · √(192 · 2/9 - 160 · 3/(4π²)) + 0.44.
    """
    sketches = Sketches(128, 4)
    assert sketches.most_differing(0.5, 4, 3.0) == math.ceil(256 / 3 + 3 * 6.1159 + 0.4444) == 105
    assert sketches.most_differing(0.5, 3, 3.0) == math.ceil(64 + 3 * math.sqrt(42.6667 - 12.1585) + 0.4444) == 82
    assert sketches.most_differing(1.0000001, 4, 3.0) == 2  # nothing differs; what is left is the skewness
    assert sketches.most_differing(-1.0, 4, 3.0) == 255


@pytest.mark.parametrize("cosine", [0.95, 0.65, 0.4])
def test_the_bound_is_exceeded_as_seldom_as_it_says(cosine: float) -> None:
    rows = units(20_000, 64)
    sketches = Sketches(64, 3)
    most = sketches.most_differing(cosine, 3, NormalDist().inv_cdf(0.999))
    differing = np.bitwise_count(sketches.of(rows) ^ sketches.of(at_cosine(rows, cosine))).sum(axis=0)
    assert (differing > most).mean() < 0.002  # 20 of 20,000 expected, deviation 4.5


def test_bits_are_counted_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 1 << 63, 1000, np.uint64)
    expected = [bin(word).count("1") for word in words.tolist()]
    counted = np.zeros(1000, np.uint8)
    module._count_ones(words, counted)
    assert counted.tolist() == expected
    monkeypatch.delattr(np, "bitwise_count")
    counted[:] = 0
    module._count_ones(words, counted)
    assert counted.tolist() == expected


@pytest.mark.parametrize("alone", [False, True])
def test_differing_bits_are_added_up(alone: bool) -> None:
    rows = units(80_000, 32)
    sketches = Sketches(32, 8, len(rows), alone=alone)
    sketches.add(rows)
    query = sketches.of(rows[:1])[:, 0]
    ones = np.bitwise_count(sketches.of(rows) ^ query[:, None]).astype(np.int64)
    first = np.zeros(len(rows), np.uint8)
    sketches.differing(query, 3, first)
    assert (first == ones[:3].sum(axis=0)).all()
    whole = first.astype(np.uint16)
    sketches.differing(query, 8, whole, start=3)
    assert (whole == ones.sum(axis=0)).all()
    some = np.array([7, 70_000, 79_999, 0])
    assert sketches.rest(query, some, 3).tolist() == ones[3:, some].sum(axis=0).tolist()


def test_rows_come_and_go() -> None:
    rows = units(300, 16)
    sketches = filled(rows[:100], 2)
    sketches.add(rows[100:])
    sketches.remove(np.array([0, 150, 299]))
    kept = np.delete(rows, [0, 150, 299], axis=0)
    assert len(sketches) == 297 and sketches.words == 2
    counts = np.zeros(297, np.uint8)
    sketches.differing(sketches.of(kept[40:41])[:, 0], 2, counts)
    expected = np.bitwise_count(sketches.of(kept) ^ sketches.of(kept[40:41])).sum(axis=0)
    assert counts.tolist() == expected.tolist() and counts[40] == 0


# -- several threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_every_block_once(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    from edgecv_runtime import cpu

    monkeypatch.setattr(cpu, "available_cores", lambda: cores)
    seen: list[int] = []
    share_out(range(100), seen.append)
    assert sorted(seen) == list(range(100))


def test_alone_keeps_the_order_and_the_thread() -> None:
    import threading

    seen: list[tuple[int, int]] = []
    share_out(range(9), lambda block: seen.append((block, threading.get_ident())), alone=True)
    assert seen == [(block, threading.get_ident()) for block in range(9)]


@pytest.mark.parametrize("failing", [0, 7, 99])
def test_a_failure_is_raised_and_ends_the_work(failing: int) -> None:
    def work(block: int) -> None:
        if block == failing:
            raise ValueError(f"block {block}")

    with pytest.raises(ValueError, match=f"block {failing}"):
        share_out(range(100), work)
    seen: list[int] = []
    share_out(range(10), seen.append)  # the helpers are still there
    assert sorted(seen) == list(range(10))
