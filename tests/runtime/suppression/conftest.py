"""Plain references: the definitions, box by box, in Python's own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    area = lambda box: max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)  # noqa: E731
    union = area(a) + area(b) - width * height
    return width * height / union if union > 0 else 0.0


def distance_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    dx = (a[0] + a[2]) / 2 - (b[0] + b[2]) / 2
    dy = (a[1] + a[3]) / 2 - (b[1] + b[3]) / 2
    across, down = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    diagonal = across * across + down * down
    return overlap(a, b) - ((dx * dx + dy * dy) / diagonal if diagonal > 0 else 0.0)


def ranked(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    classes: Sequence[int] | None = None,
    measure: Callable[..., float] = overlap,
) -> list[int]:
    rows, kept = boxes.tolist(), []
    for index in ranked(scores.tolist()):
        rivals = [k for k in kept if classes is None or classes[k] == classes[index]]
        if all(not measure(rows[k], rows[index]) > threshold for k in rivals):
            kept.append(index)
    return kept


def soft(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    classes: Sequence[int] | None = None,
    sigma: float | None = None,
    least: float = 0.0,
) -> tuple[list[int], list[float]]:
    rows = boxes.tolist()
    left = {index: scores.tolist()[index] for index in ranked(scores.tolist()) if scores[index] >= least}
    taken, values = [], []
    while left:
        top = max(left.values())
        best = next(index for index in left if left[index] == top)
        taken.append(best)
        values.append(left.pop(best))
        for index in list(left):
            if classes is not None and classes[index] != classes[best]:
                continue
            found = overlap(rows[best], rows[index])
            if sigma is not None:
                left[index] *= float(np.exp(-(found * found) / sigma))
            elif found > threshold:
                left[index] *= 1.0 - found
            if left[index] < least:
                del left[index]
    return taken, values


def matrix(
    boxes: np.ndarray, scores: np.ndarray, classes: Sequence[int] | None = None, least: float = 0.0
) -> tuple[list[int], list[float]]:
    rows, order = boxes.tolist(), ranked(scores.tolist())
    order = [index for index in order if scores[index] >= least]

    def of(i: int, j: int) -> float:
        return overlap(rows[i], rows[j]) if classes is None or classes[i] == classes[j] else 0.0

    worst = {j: max([of(i, j) for i in order[:place]], default=0.0) for place, j in enumerate(order)}
    lowered = {}
    for place, j in enumerate(order):
        factors = [(1.0 - of(i, j)) / (1.0 - worst[i]) for i in order[:place] if worst[i] < 1]
        lowered[j] = scores.tolist()[j] * min([1.0, *factors])
    kept = sorted((j for j in order if lowered[j] >= least), key=lambda j: (-lowered[j], order.index(j)))
    return kept, [lowered[j] for j in kept]


def fuse(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, classes: Sequence[int] | None = None
) -> tuple[list[int], list[float], list[list[float]]]:
    rows, clusters, fused = boxes.tolist(), [], []
    for index in ranked(scores.tolist()):
        best, most = None, threshold
        for place, members in enumerate(clusters):
            if classes is not None and classes[members[0]] != classes[index]:
                continue
            found = overlap(rows[index], fused[place])
            if found > most:
                best, most = place, found
        if best is None:
            clusters.append([index])
            fused.append(rows[index])
            continue
        clusters[best].append(index)
        weights = [float(scores[member]) for member in clusters[best]]
        fused[best] = [
            math.fsum(weight * rows[member][axis] for weight, member in zip(weights, clusters[best], strict=True))
            / math.fsum(weights)
            for axis in range(4)
        ]
    means = [math.fsum(float(scores[member]) for member in members) / len(members) for members in clusters]
    order = sorted(range(len(clusters)), key=lambda place: (-means[place], place))
    return [clusters[k][0] for k in order], [means[k] for k in order], [fused[k] for k in order]


def random_case(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of one of several kinds, scores with or without ties, classes."""
    kind = generator.integers(8)
    corners = generator.uniform(0, 100, (count, 2))
    sides = generator.uniform(0, 60, (count, 2))
    if kind == 1:  # whole numbers: many exact ties with the threshold
        corners, sides = corners.astype(int) // 10, sides.astype(int) // 10
    elif kind == 2:  # without an area, in part
        sides[generator.random((count, 2)) < 0.4] = 0
    elif kind == 3:  # nested
        corners, sides = np.full((count, 2), 50.0) - sides / 2, sides
    elif kind == 4:  # all the same
        corners, sides = np.repeat(corners[:1], count, axis=0), np.repeat(sides[:1], count, axis=0)
    elif kind == 5:  # huge, far away, and small for their place
        corners = corners * 10.0 ** generator.integers(3, 8)
    elif kind == 6:  # turned inside out, in part
        sides[generator.random((count, 2)) < 0.2] *= -1
    elif kind == 7:  # as small or as large as single precision holds
        factor = 10.0 ** generator.choice([-30, -20, -12, 12, 20, 30])
        corners, sides = corners * factor, sides * factor
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    scores = generator.random(count).astype(np.float32)
    if generator.random() < 0.4:
        scores = np.round(scores * 4).astype(np.float32) / 4
    return boxes, scores, generator.integers(0, 1 + generator.integers(1, 6), count)


def cases(number: int, largest: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    generator = np.random.default_rng(seed)
    for _ in range(number):
        threshold = float(generator.choice([0.0, 0.1, 0.3, 0.45, 0.5, 0.7, 0.9, 1.0]))
        yield *random_case(generator, int(generator.integers(0, largest + 1))), threshold


@pytest.fixture(scope="session")
def plain() -> SimpleNamespace:
    return SimpleNamespace(
        overlap=overlap, distance_overlap=distance_overlap, greedy=greedy, soft=soft, matrix=matrix, fuse=fuse,
        cases=cases,
    )  # fmt: skip
