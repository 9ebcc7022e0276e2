"""Exported files: readable with numpy alone, and checked before anything of them is taken in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.gallery import Gallery, GalleryError


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "all.npz"
    with Gallery(tmp_path / "faces.db", fingerprint="abc") as gallery:
        gallery.enroll_many(["Ada", "O'Brien 名前", "Ada"], np.eye(3), qualities=[0.5, None, 1])
        gallery.export(path)
    return path


def members(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def text(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def test_content(exported: Path) -> None:
    content = members(exported)
    assert json.loads(content["names"].tobytes()) == ["Ada", "O'Brien 名前"]
    assert content["people"].tolist() == [0, 1, 0]
    assert content["vectors"].dtype == np.float32 and content["vectors"].tolist() == np.eye(3).tolist()
    np.testing.assert_array_equal(content["quality"], np.array([0.5, np.nan, 1], np.float32))
    settings = json.loads(content["settings"].tobytes())
    assert settings["fingerprint"] == "abc" and settings["dimension"] == "3" and settings["format_version"] == 1


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"vectors": np.zeros((3, 4), np.float32)}, GalleryError, "columns do not fit"),
        ({"vectors": np.zeros((2, 3), np.float32)}, GalleryError, "columns do not fit"),
        ({"vectors": np.eye(3)}, GalleryError, "columns do not fit"),
        ({"vectors": np.full((3, 3), np.nan, np.float32)}, InputError, "finite"),
        ({"people": np.array([0, 1, 2], np.int32)}, GalleryError, "belongs to nobody"),
        ({"people": np.array([0, -1, 0], np.int32)}, GalleryError, "belongs to nobody"),
        ({"people": np.zeros((3, 1), np.int32)}, GalleryError, "columns do not fit"),
        ({"added": np.full(3, np.inf)}, InputError, "finite"),
        ({"names": text(["Ada", "two\nlines"])}, InputError, "one line"),
        ({"names": text(["Ada", 7])}, InputError, "must be a string"),
        ({"names": np.frombuffer(b"[nonsense", np.uint8)}, GalleryError, "is not an exported gallery"),
        ({"settings": text({})}, GalleryError, "no format version"),
        ({"settings": text([1])}, GalleryError, "no format version"),
        ({"settings": text({"format_version": 2})}, NewerFormatError, "format version 2; this edgecv reads up to 1"),
        ({"settings": text({"format_version": 1})}, GalleryError, "how long its vectors"),
        ({"settings": text({"format_version": 1, "dimension": 3})}, GalleryError, "'dimension' is not text"),
    ],
)
def test_altered_files_change_nothing(
    exported: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str, one_line: Any
) -> None:
    altered = tmp_path / "altered.npz"
    np.savez(altered, **(members(exported) | changes))
    with Gallery(tmp_path / "other.db") as gallery:
        with pytest.raises(kind, match=message) as caught:
            gallery.import_from(altered)
        one_line(caught)
        assert gallery.people() == {} and gallery.store.revision() == 0


def test_damaged_and_missing_files(exported: Path, tmp_path: Path, one_line: Any) -> None:
    whole = exported.read_bytes()
    with Gallery(tmp_path / "other.db") as gallery:
        for content in (b"", whole[:100], whole[: len(whole) // 2], b"text", whole[:60] + b"\xff" * 40 + whole[100:]):
            exported.write_bytes(content)
            with pytest.raises(GalleryError, match="is not an exported gallery, or is damaged") as caught:
                gallery.import_from(exported)
            one_line(caught)
        with pytest.raises(MissingFileError):
            gallery.import_from(tmp_path / "none.npz")
        with pytest.raises(InputError, match="must end in .npz"):
            gallery.export(tmp_path / "all.zip")
        with pytest.raises(OutputError, match="no folder"):
            gallery.export(tmp_path / "none" / "all.npz")


def test_objects_are_not_unpickled(exported: Path, tmp_path: Path) -> None:
    np.savez(exported, **(members(exported) | {"names": np.array(["Ada", None], object)}))
    with Gallery(tmp_path / "other.db") as gallery, pytest.raises(GalleryError, match="is not an exported gallery"):
        gallery.import_from(exported)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fingerprint": "xyz"}, "of embedder abc, the gallery .* of embedder xyz"),
        ({"dimension": 4}, "length 3, the gallery .* of length 4"),
        ({"distance": "euclidean"}, "distance cosine, the gallery .* of euclidean"),
    ],
)
def test_of_another_kind(exported: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with Gallery(tmp_path / "other.db", **options) as gallery:
        with pytest.raises(GalleryError, match=message):
            gallery.import_from(exported)
        assert gallery.people() == {}


def test_calibration_travels_to_an_empty_gallery(tmp_path: Path) -> None:
    people = np.repeat(np.arange(20), 3)
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((20, 32))[people] + 0.3 * generator.standard_normal((60, 32))
    with Gallery(tmp_path / "a.db") as gallery:
        gallery.enroll_many([f"p{number}" for number in people], rows, poisoning="off")
        found = gallery.calibrate(far=0.01)
        gallery.export(tmp_path / "a.npz")
    with Gallery(tmp_path / "b.db") as gallery:
        gallery.import_from(tmp_path / "a.npz")
        assert gallery.calibration == found
