"""What `Gallery` does beside its store: settings, the roster in memory, warnings, figures."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError, MissingFileError, OutputError, UnsupportedError
from edgecv_runtime.gallery import Gallery, GalleryError
from edgecv_runtime.gallery.store import StoreUnavailableError

NORTH, EAST, UP = np.eye(3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faces.db"


def random(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).standard_normal((count, dimension))
    return made


def test_it_is_the_packages_gallery() -> None:
    assert ert.Gallery is Gallery


def test_names_of_the_package() -> None:
    import edgecv_runtime.gallery as package

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("template", ["all", "mean"])
def test_best_matches_are_those_of_a_plain_search(path: Path, template: str) -> None:
    """After a few hundred changes, against numpy over what the store holds."""
    generator = np.random.default_rng(1)
    rows = random(400)
    with Gallery(path, template=template, threshold=0.0, refresh=None) as gallery:
        for start in range(0, 400, 40):
            people = [f"person {number}" for number in generator.integers(0, 60, 40)]
            gallery.enroll_many(people, rows[start : start + 40], poisoning="off")
            gallery.remove(gallery.names()[int(generator.integers(len(gallery)))])
            names = gallery.names()
            gallery.merge(names[0], names[-1])
            gallery.rename(names[1], f"renamed {start}")
            gallery.remove_samples(gallery.store.load().ids[3:5].tolist())
        samples = gallery.store.load()
        truth: dict[str, np.ndarray] = {}
        for owner, name in enumerate(samples.names):
            own = samples.vectors[samples.people == owner].astype(np.float64)
            mean = own.mean(axis=0, keepdims=True)
            truth[name] = own if template == "all" else mean / np.linalg.norm(mean)
        assert set(gallery.names()) == set(truth) and len(gallery) == len(truth)
        for query in random(20, seed=9):
            unit = query / np.linalg.norm(query)
            scores = {name: float((own @ unit).max()) for name, own in truth.items()}
            expected = sorted(scores, key=lambda name: -scores[name])[:7]
            found = gallery.identify(query, k=7)
            assert [match.name for match in found] == expected
            np.testing.assert_allclose([match.score for match in found], [scores[name] for name in expected], atol=1e-6)
            assert gallery.verify(expected[0], query).score == pytest.approx(scores[expected[0]], abs=1e-6)
        assert len(gallery.identify(random(1)[0], k=10_000)) == len(truth)


def test_one_person_with_many_samples_does_not_hide_the_others(path: Path) -> None:
    with Gallery(path, threshold=0.0) as gallery:
        gallery.enroll_many(["many"] * 200, NORTH + 0.01 * random(200, 3), poisoning="off")
        gallery.enroll_many(["Bo", "Cy"], [EAST, UP])
        assert [match.name for match in gallery.identify(NORTH + 0.2 * EAST, k=3)] == ["many", "Bo", "Cy"]


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "weighted-l1", "chi-squared"])
def test_distances(path: Path, distance: str) -> None:
    """By the definitions, on non-negative vectors."""
    rows = np.abs(random(30))
    weights = np.linspace(0.1, 2, 32) if distance in ("weighted-l1", "chi-squared") else None
    with Gallery(path, distance=distance, weights=weights, threshold=-100.0) as gallery:
        gallery.enroll_many([f"p{number}" for number in range(30)], rows)
    query = np.abs(random(1, seed=5)[0])
    with Gallery(path, threshold=-100.0) as gallery:
        found = gallery.identify(query, k=30)
        assert gallery.distance == distance
    scale = np.ones(32) if weights is None else weights
    apart = rows - query
    expected = {
        "cosine": 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query),
        "euclidean": np.linalg.norm(apart, axis=1),
        "weighted-l1": np.abs(apart) @ scale,
        "chi-squared": (apart**2 / (rows + query)) @ scale,
    }[distance]
    order = np.argsort(expected)
    assert [match.name for match in found] == [f"p{number}" for number in order]
    np.testing.assert_allclose([match.distance for match in found], expected[order], rtol=1e-5, atol=1e-6)
    if weights is not None:
        with pytest.raises(GalleryError, match="weights"):
            Gallery(path, distance=distance, weights=2 * weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "manhattan"}, "manhattan"),
        ({"template": "median"}, "median"),
        ({"dimension": 0}, "dimension must be at least 1"),
        ({"threshold": float("nan")}, "threshold must be a finite number"),
        ({"refresh": -1}, "refresh must be at least 0"),
        ({"weights": [1, 2]}, "weights"),
    ],
)
def test_settings_that_are_refused(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Gallery(path, **options)


def test_arguments_that_are_refused(path: Path) -> None:
    with Gallery(path, threshold=0.5) as gallery:
        gallery.enroll("Ada", NORTH)
        for message, question in (
            ("k must be", lambda: gallery.identify(NORTH, k=0)),
            ("k must be", lambda: gallery.identify(NORTH, k=True)),
            ("k must be", lambda: gallery.identify(NORTH, k=1.5)),  # type: ignore[arg-type]
            ("threshold must be", lambda: gallery.identify(NORTH, threshold=float("inf"))),
            ("quality must be", lambda: gallery.enroll("Bo", EAST, quality=1.5)),
            ("quality must be", lambda: gallery.enroll("Bo", EAST, quality=float("nan"))),
            ("poisoning must be", lambda: gallery.enroll("Bo", EAST, poisoning="maybe")),
            ("as many; received 1, 2 and 1", lambda: gallery.enroll_many(["Bo"], [EAST, UP])),
            ("as many; received 1, 1 and 2", lambda: gallery.enroll_many(["Bo"], [EAST], qualities=[1, 1])),
            ("list of names", lambda: gallery.enroll_many("Bo", [EAST, UP])),
        ):
            with pytest.raises(InputError, match=message):
                question()
        assert gallery.enroll_many([], []) == []
        assert gallery.people() == {"Ada": 1}


def test_fingerprint_is_learned_once(path: Path) -> None:
    with Gallery(path) as gallery:
        assert gallery.fingerprint is None
    with Gallery(path, fingerprint="abc") as gallery:  # still empty
        assert gallery.fingerprint == "abc"
        gallery.enroll("Ada", NORTH)
    other = path.with_name("unknown.db")
    with Gallery(other) as gallery:
        gallery.enroll("Ada", NORTH)
    with pytest.raises(GalleryError, match="made with an embedder that is not known, this one is abc"):
        Gallery(other, fingerprint="abc")


def test_changes_are_asked_for_only_now_and_then(path: Path) -> None:
    with Gallery(path, refresh=None, threshold=0.5) as one, Gallery(path, refresh=1000, threshold=0.5) as other:
        one.enroll("Ada", NORTH)
        assert len(other) == 0 and not other.identify(NORTH).recognised
        other.refresh()
        assert other.identify(NORTH).name == "Ada"


def test_a_store_that_is_away_leaves_what_is_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery(path, refresh=0, threshold=0.5) as gallery:
        gallery.enroll("Ada", NORTH)

        def away() -> int:
            raise StoreUnavailableError("the server is away")

        monkeypatch.setattr(gallery.store, "revision", away)
        with pytest.warns(UserWarning, match="the server is away; going on with what is in memory"):
            assert gallery.identify(NORTH).name == "Ada"
        assert gallery.verify("Ada", NORTH).accepted  # told once
        with pytest.raises(StoreUnavailableError):
            gallery.refresh()


def test_a_store_that_goes_away_after_a_change_has_kept_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery(path, refresh=None, threshold=0.5) as gallery:
        with monkeypatch.context() as patch:

            def away() -> int:
                raise StoreUnavailableError("the server is away")

            patch.setattr(gallery.store, "revision", away)
            with pytest.warns(UserWarning, match="what was just changed is stored"):
                assert gallery.enroll("Ada", NORTH) == 1
        gallery.refresh()
        assert gallery.identify(NORTH).name == "Ada"


def test_a_full_disk_changes_nothing_in_memory_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery(path, threshold=0.5) as gallery:
        gallery.enroll("Ada", NORTH)

        def full(samples: Any) -> Any:
            raise OutputError("the disk is full")

        monkeypatch.setattr(gallery.store, "add", full)
        with pytest.raises(OutputError):
            gallery.enroll("Bo", EAST)
        assert gallery.names() == ["Ada"] and not gallery.identify(EAST).recognised


def test_from_several_threads(path: Path) -> None:
    with Gallery(path, threshold=0.5) as gallery:
        failed: list[BaseException] = []

        def work(which: int) -> None:
            try:
                for number in range(10):
                    gallery.enroll(f"{which} {number}", random(1, seed=100 * which + number)[0])
                    gallery.identify(random(1)[0])
            except BaseException as error:  # noqa: BLE001  # reported below
                failed.append(error)

        threads = [threading.Thread(target=work, args=(which,)) for which in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [] and len(gallery) == 30


def test_memory_beside_the_vectors(path: Path) -> None:
    """Of 128-d vectors, one a person: at most a fifth of their own 512 bytes."""
    with Gallery(path) as gallery:
        gallery.enroll_many([f"person number {number}" for number in range(5000)], random(5000, 128))
    with Gallery(path, read_only=True) as gallery:
        stats = gallery.stats()
        assert stats.samples == 5000 and 1 < stats.memory / (5000 * 512) < 1.2


def test_stats(path: Path) -> None:
    with Gallery(path, fingerprint="abc", threshold=0.25) as gallery:
        gallery.enroll_many(["Ada", "Ada", "Bo"], [NORTH, UP, EAST])
        stats = gallery.stats()
    assert (stats.people, stats.samples, stats.samples_per_person) == (2, 3, (1, 1.5, 2))
    assert (stats.dimension, stats.distance, stats.template, stats.fingerprint) == (3, "cosine", "all", "abc")
    assert (stats.threshold, stats.calibrated, stats.encrypted, stats.revision) == (0.25, False, False, 3)
    assert stats.file is not None and stats.file > 3 * 40 and str(stats.created).endswith("+00:00")
    assert stats.to_dict()["people"] == 2


def test_encrypted_gallery(path: Path) -> None:
    key = bytes(range(32))
    with Gallery(path, key=key) as gallery:
        gallery.enroll("Ada", NORTH)
        assert gallery.stats().encrypted
        with pytest.raises(UnsupportedError, match="is encrypted"):
            gallery.export(path.with_name("all.npz"))
        assert not path.with_name("all.npz").exists()
    with pytest.raises(GalleryError, match="is encrypted; give its key"):
        Gallery(path)
    with Gallery(path, key=key, threshold=0.5) as gallery:
        assert gallery.identify(NORTH).name == "Ada"


def test_refused_places(path: Path) -> None:
    with pytest.raises(MissingFileError):
        Gallery(path, read_only=True)
    with pytest.raises(UnsupportedError, match="a server encrypts by its own means"):
        Gallery("postgresql://localhost/faces", key=bytes(32))
    with pytest.raises(UnsupportedError, match="is a file already"):
        Gallery(path, cache=path.with_name("copy.db"))
    assert not path.exists()


def test_closed_twice(path: Path) -> None:
    gallery = Gallery(path)
    assert repr(gallery) == f"<Gallery {path}: cosine, all>" and gallery.location == str(path)
    gallery.close()
    gallery.close()
    with pytest.raises(GalleryError, match="was closed"):
        gallery.people()


def test_compact(path: Path) -> None:
    with Gallery(path) as gallery:
        gallery.enroll_many([f"p{number}" for number in range(500)], random(500, 64))
        before = gallery.stats().file
        gallery.remove_samples(gallery.store.load().ids[:400].tolist())
        gallery.compact()
        assert (gallery.stats().file or 0) < (before or 0) / 2
