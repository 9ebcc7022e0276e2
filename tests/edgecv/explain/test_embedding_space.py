"""Neighbours by hand; maps of the plane keep what lies together."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest

from edgecv.explain.embedding_space import nearest_neighbours, plot_neighbours, tsne, umap
from edgecv_runtime.errors import InputError, MissingPackageError

VECTORS = np.array([[1, 0], [0, 2], [3, 3], [-1, 0]], np.float32)


def test_neighbours_by_angle() -> None:
    indices, cosines = nearest_neighbours(VECTORS, [[10, 1], [-1, 1]], 3)
    assert indices.tolist() == [[0, 2, 1], [1, 3, 2]]
    assert cosines[1] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0], abs=1e-6)
    pictures = [np.full((4, 4, 3), shade, np.uint8) for shade in (0, 60, 120, 180)]
    drawn = plot_neighbours(pictures, pictures[:2], indices)
    assert drawn.shape == (2 * 98 + 2, 4 * 98 + 2, 3)
    assert [drawn[50, 50 + 98 * column, 0] for column in range(4)] == [0, 0, 120, 60]


def test_tsne_keeps_groups_together() -> None:
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)
    vectors = np.concatenate([generator.normal(center, 0.1, (12, 8)) for center in (0, 5)])
    points = tsne(vectors, perplexity=5)
    assert points.shape == (24, 2) and (points == tsne(vectors, perplexity=5)).all()
    inside = np.linalg.norm(points[:12] - points[:12].mean(axis=0), axis=1).max()
    assert np.linalg.norm(points[:12].mean(axis=0) - points[12:].mean(axis=0)) > inside


def test_umap_is_asked_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Package:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2]

    module = type(sys)("umap")
    module.UMAP = Package  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    assert umap(VECTORS, neighbours=2, seed=7) == pytest.approx(VECTORS)
    assert asked == {"n_components": 2, "n_neighbors": 2, "min_dist": 0.1, "random_state": 7, "n_jobs": 1}


@pytest.mark.parametrize(("function", "package"), [(tsne, "scikit-learn"), (umap, "umap-learn")])
def test_a_missing_package_is_named(function: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingPackageError, match=f"pip install '{package}'"):
        function(np.eye(40), 5)


def test_refused() -> None:
    with pytest.raises(InputError, match="count must be 1 to 4; received 5"):
        nearest_neighbours(VECTORS, VECTORS, 5)
    with pytest.raises(InputError, match="vectors and queries must have one length; received 2 and 3"):
        nearest_neighbours(VECTORS, np.ones((1, 3)))
    with pytest.raises(InputError, match="queries must not hold a vector of length 0"):
        nearest_neighbours(VECTORS, [[0, 0]])
    with pytest.raises(InputError, match="perplexity must be below the number of vectors, 4; received 30"):
        tsne(VECTORS)
    with pytest.raises(InputError, match="neighbours must be 2 to 3; received 15"):
        umap(VECTORS)
