"""One suite for `Gallery` on every store: what a user sees does not depend on where the samples are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.store import GalleryError

NORTH, EAST, UP = np.eye(3)


def test_enrol_identify_verify(open_gallery: Any) -> None:
    gallery = open_gallery(fingerprint="abc")
    assert len(gallery) == 0 and gallery.names() == []
    nobody = gallery.identify(NORTH)
    assert not nobody.recognised and nobody.name is None and len(nobody) == 0
    gallery.enroll("Ada", 5 * NORTH)
    gallery.enroll_many(["Bo", "Ada"], [EAST, NORTH + 0.1 * EAST], qualities=[0.5, None])
    assert len(gallery) == 2 and gallery.names() == ["Ada", "Bo"] and gallery.people() == {"Ada": 2, "Bo": 1}
    found = gallery.identify([0.6, 0.8, 0], k=5)
    assert [match.name for match in found] == ["Bo", "Ada"] and found.recognised and found.name == "Bo"
    assert found[0].score == pytest.approx(0.8, abs=1e-6) and found[0].distance == pytest.approx(0.2, abs=1e-6)
    # Ada's second sample is nearer: (1, 0.1) / √1.01 · (0.6, 0.8) = 0.68 / 1.00499.
    assert found[1].score == pytest.approx(0.676632, abs=1e-5)
    stranger = gallery.identify(UP + 0.3 * EAST)
    assert not stranger.recognised and stranger.name is None and stranger[0].name == "Bo"
    assert gallery.identify(UP + 0.3 * EAST, threshold=0.2).recognised
    assert gallery.verify("Bo", [0.6, 0.8, 0]).accepted
    refused = gallery.verify("Bo", NORTH)
    assert not refused.accepted and refused.score == pytest.approx(0, abs=1e-6)
    assert refused.distance == pytest.approx(1, abs=1e-6)


def test_it_is_all_there_when_opened_again(open_gallery: Any) -> None:
    with open_gallery(fingerprint="abc", distance="euclidean") as gallery:
        gallery.enroll_many(["Ada", "Bo"], [2 * NORTH, EAST])
    again = open_gallery(fingerprint="abc", read_only=True, threshold=-0.5)
    assert (again.distance, again.dimension, again.fingerprint) == ("euclidean", 3, "abc")
    assert again.identify(2.25 * NORTH)[0].distance == pytest.approx(0.25)
    assert again.identify(2.25 * NORTH).recognised and not again.identify(3 * NORTH).recognised


def test_changes_by_another_are_seen(open_gallery: Any) -> None:
    one, other = open_gallery(), open_gallery()
    one.enroll("Ada", NORTH)
    assert other.identify(NORTH).name == "Ada"
    one.rename("Ada", "Adelaide")
    assert other.identify(NORTH).name == "Adelaide" and other.names() == ["Adelaide"]
    other.enroll("Bo", EAST)
    one.merge("Bo", "Adelaide")
    assert other.identify(EAST).name == "Adelaide" and len(other) == 1
    assert other.remove("Adelaide") == 2
    assert not one.identify(NORTH).recognised and len(one) == 0


def test_remove_and_unknown_names(open_gallery: Any) -> None:
    gallery = open_gallery()
    first, second = gallery.enroll_many(["Ada", "Ada"], [NORTH, EAST])
    assert gallery.remove_samples([first]) == 1
    assert gallery.identify(EAST)[0].name == "Ada" and not gallery.identify(NORTH).recognised
    for question in (
        lambda: gallery.remove("Bo"),
        lambda: gallery.rename("Bo", "Cy"),
        lambda: gallery.merge("Bo", "Ada"),
        lambda: gallery.verify("Bo", NORTH),
    ):
        with pytest.raises(InputError, match="'Bo'"):
            question()
    assert gallery.remove_samples([second]) == 1 and gallery.names() == []


@pytest.mark.parametrize("template", ["mean", "robust-mean"])
def test_templates(open_gallery: Any, template: str) -> None:
    gallery = open_gallery(template=template)
    gallery.enroll_many(["Ada", "Ada", "Bo"], [NORTH, EAST, UP], qualities=[1, 1, 1])
    halfway = gallery.identify(NORTH + EAST)[0]
    assert halfway.name == "Ada" and halfway.score == pytest.approx(1, abs=1e-6) and halfway.sample is None
    assert gallery.identify(NORTH)[0].score == pytest.approx(np.sqrt(0.5), abs=1e-6)
    other = open_gallery()
    assert other.template == template
    gallery.remove_samples(gallery.store.samples_of("Ada").ids[:1].tolist())
    assert other.identify(EAST)[0].score == pytest.approx(1, abs=1e-6)


def test_another_embedder_is_refused(open_gallery: Any, one_line: Any) -> None:
    open_gallery(fingerprint="a" * 64).enroll("Ada", NORTH)
    for options, message in (
        ({"fingerprint": "b" * 64}, "made with embedder aaaaaaaaaaaa, this one is bbbbbbbbbbbb.*enrol everybody anew"),
        ({"dimension": 4}, "vectors of length 3; received 4"),
        ({"distance": "euclidean"}, "distance cosine; received euclidean"),
    ):
        with pytest.raises(GalleryError, match=message) as caught:
            open_gallery(**options)
        one_line(caught)
    assert open_gallery().fingerprint == "a" * 64


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1, 2], r"shape \(3,\); received \(2,\)"),
        ([], r"shape \(3,\)"),
        ([[1, 2, 3]], r"shape \((D|3),\); received \(1, 3\)"),
        ([1, np.nan, 0], "finite"),
        ([1, np.inf, 0], "finite"),
        ([0, 0, 0], "zero|direction"),
        ([1e39, 0, 0], "finite|float32"),
        (["a", "b", "c"], "numbers"),
        (None, "numbers"),
        ([1, [2], 3], "numbers"),
        ([1j, 0, 0], "numbers"),
    ],
)
def test_vectors_that_are_refused(open_gallery: Any, vector: Any, message: str, one_line: Any) -> None:
    gallery = open_gallery()
    gallery.enroll("Ada", NORTH)
    for question in (
        lambda: gallery.enroll("Bo", vector),
        lambda: gallery.enroll_many(["Cy", "Bo"], [EAST, vector]),
        lambda: gallery.identify(vector),
        lambda: gallery.verify("Ada", vector),
    ):
        with pytest.raises(InputError, match=f"{message}|rows of different lengths|inhomogeneous") as caught:
            question()
        one_line(caught)
    assert gallery.people() == {"Ada": 1}


@pytest.mark.parametrize(
    "name", ["O'Brien", 'the "first"', "x'); DROP TABLE samples; --", "👩‍🔬 Zoë", "名前", "n" * 256]
)
def test_awkward_names(open_gallery: Any, name: str) -> None:
    gallery = open_gallery()
    gallery.enroll_many([name, "Ada"], [NORTH, EAST])
    assert gallery.identify(NORTH).name == name and gallery.verify(name, NORTH).accepted
    assert open_gallery().names() == [name, "Ada"] and name in gallery and "nobody" not in gallery
    assert gallery.remove(name) == 1 and gallery.names() == ["Ada"]


@pytest.mark.parametrize("name", ["", "n" * 10_000, "two\nlines", "nul\0", " Ada", "\u202eadA", "half \ud83d", 7])
def test_names_that_are_refused(open_gallery: Any, name: Any, one_line: Any) -> None:
    gallery = open_gallery()
    gallery.enroll("Bo", NORTH)
    for question in (
        lambda: gallery.enroll(name, EAST),
        lambda: gallery.enroll_many(["Ada", name], [EAST, UP]),
        lambda: gallery.rename("Bo", name),
        lambda: gallery.remove(name),
        lambda: gallery.verify(name, EAST),
    ):
        with pytest.raises(InputError, match="a name must") as caught:
            question()
        one_line(caught)
    assert gallery.people() == {"Bo": 1}


def test_poison_is_refused(open_gallery: Any, one_line: Any) -> None:
    gallery = open_gallery()
    gallery.enroll_many(["Ada", "Ada", "Bo"], [NORTH, NORTH + 0.2 * UP, EAST])
    with pytest.raises(InputError, match="Ada: nearer to Bo .*poisoning='flag'") as caught:
        gallery.enroll("Ada", EAST + 0.1 * UP)
    one_line(caught)
    assert gallery.people() == {"Ada": 2, "Bo": 1}
    with pytest.warns(UserWarning, match="suspicious sample of Ada"):
        gallery.enroll("Ada", EAST + 0.1 * UP, poisoning="flag")
    worst = gallery.check()[0]
    assert (worst.name, worst.other) == ("Ada", "Bo")
    gallery.enroll("Bo", NORTH, poisoning="off")
    assert gallery.people() == {"Ada": 3, "Bo": 2}


def test_export_and_import(open_gallery: Any, tmp_path: Any) -> None:
    from edgecv_runtime.gallery.gallery import Gallery

    gallery = open_gallery(fingerprint="abc")
    gallery.enroll_many(["Ada", "Bo", "Ada"], [NORTH, EAST, UP], qualities=[0.25, None, 1])
    assert gallery.export(tmp_path / "all.npz", decrypted=True) == 3
    with Gallery(tmp_path / "elsewhere.db") as elsewhere:
        assert elsewhere.import_from(tmp_path / "all.npz") == 3
        assert elsewhere.import_from(tmp_path / "all.npz") == 0
        assert elsewhere.people() == {"Ada": 2, "Bo": 1} and elsewhere.fingerprint == "abc"
        ours, theirs = gallery.store.load(), elsewhere.store.load()
        assert theirs.vectors.tobytes() == ours.vectors.tobytes()
        assert theirs.added.tolist() == ours.added.tolist()
        assert theirs.quality.tolist()[::2] == [0.25, 1]
    gallery.remove("Ada")
    assert gallery.import_from(tmp_path / "all.npz") == 2
    assert gallery.identify(UP).name == "Ada"


def test_calibration_is_kept(open_gallery: Any) -> None:
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 4)
    vectors = generator.standard_normal((30, 64))[people] + 0.5 * generator.standard_normal((120, 64))
    gallery = open_gallery(threshold=None)
    gallery.enroll_many([f"person {number}" for number in people], vectors, poisoning="off")
    with pytest.warns(UserWarning, match="never calibrated"):
        gallery.identify(vectors[0])
    gallery.identify(vectors[0])  # told once
    found = gallery.calibrate(far=0.01)
    assert found.far.value <= 0.01 and found.tar.value > 0.99 and gallery.threshold == found.threshold
    again = open_gallery(threshold=None)
    assert again.calibration == found and again.threshold == found.threshold
    assert again.identify(vectors[0]).recognised and not again.identify(generator.standard_normal(64)).recognised
    assert again.stats().calibrated
    with pytest.raises(InputError, match="belong together"):
        gallery.calibrate(vectors)
