"""``edgecv gallery``: every action, in this process and as a command of its own."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.gallery import Gallery
from edgecv_runtime.manifest import DecoderSpec

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def embedder(tiny: Any) -> Path:
    """Its vector is the tiny model's scores, at length 1: known for every picture."""
    path: Path = tiny.folder / "embedder.edgecv"
    tiny.write(path, task="embedding", decoder=DecoderSpec("embedding", {}), labels=None)
    return path


@pytest.fixture(scope="session")
def people(tiny: Any) -> Path:
    """Ada/0.png to 2.png, Bo and Cy alike; a person's pictures differ in a few pixels only."""
    folder: Path = tiny.folder / "people"
    for place, name in enumerate(("Ada", "Bo", "Cy")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            image = tiny.image(10 + place)
            image[number, number] ^= 1
            assert cv2.imwrite(str(folder / name / f"{number}.png"), image[..., ::-1])
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return tmp_path / "faces.db"


@pytest.fixture
def run(edgecv: Any, embedder: Path) -> Any:
    """``run("list", ...)`` with the embedder where the action looks at pictures."""

    def call(action: str, *arguments: object) -> Any:
        looks = ("enroll", "enroll-folder", "identify", "verify")
        more = ["--aligned", "--embedder", embedder, "--quality", "off"] if action in looks else []
        return edgecv("gallery", action, *arguments, *more)

    return call


@pytest.fixture
def filled(run: Any, faces: Path, people: Path) -> Path:
    assert run("enroll-folder", faces, people).status == 0
    return faces


def vectors(n: int = 6) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(4).standard_normal((n, 8))
    return made


def test_enroll_and_list(run: Any, faces: Path, people: Path) -> None:
    pictures = sorted((people / "Ada").iterdir())
    outcome = run("enroll", faces, "Ada", *pictures)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == f"enrolled Ada with 3 pictures; 1 people are in {faces}\n"
    answer = json.loads(run("enroll", faces, "名前 O'Brien", people / "Bo" / "0.png", "--json").out)
    assert answer["people"] == 2 and answer["samples"][0]["id"] == 4
    lines = run("list", faces).out.splitlines()
    assert lines[2].split() == ["Ada", "3"] and lines[3].startswith("名前 O'Brien")
    assert json.loads(run("list", faces, "--json").out)[0] == {"name": "Ada", "samples": 3}


def test_enroll_folder_skips_what_is_no_picture(run: Any, faces: Path, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    for name in ("Ada", "Bo"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes((people / name / "0.png").read_bytes())
    (folder / "Bo" / "1.png").write_bytes(b"not a picture")
    outcome = run("enroll-folder", faces, folder)
    assert outcome.status == 0 and "enrolled 2 people with 2 pictures, skipped 1" in outcome.out
    assert outcome.err.startswith("skipped: ") and "1.png" in outcome.err
    answer = json.loads(run("enroll-folder", faces, folder, "--json").out)
    assert list(answer["skipped"]) == [str(folder / "Bo" / "1.png")] and len(answer["samples"]) == 2


@pytest.mark.filterwarnings("default:.*never calibrated")
def test_identify(run: Any, filled: Path, people: Path, picture: Path) -> None:
    outcome = run("identify", filled, people / "Bo" / "1.png", "-k", 2, "--threshold", 0.99)
    assert (outcome.status, outcome.err) == (0, "")
    first, second = outcome.out.splitlines()
    assert first == f"{people / 'Bo' / '1.png'}: Bo (1.000, threshold 0.990)" and second.startswith("    ")
    (answer,) = json.loads(run("identify", filled, people / "Cy" / "0.png", "--threshold", 0.5, "--json").out)
    found = answer["faces"][0]["identification"]
    assert found["recognised"] and found["name"] == "Cy" and found["matches"][0]["score"] == pytest.approx(1, abs=1e-6)
    outcome = run("identify", filled, picture, "--threshold", 0.99)
    assert outcome.status == 0 and "not recognised; nearest " in outcome.out
    assert "never calibrated" in run("identify", filled, picture).err


def test_verify_answers_by_its_status(run: Any, filled: Path, people: Path) -> None:
    picture = people / "Bo" / "1.png"
    yes = run("verify", filled, "Bo", picture, "--threshold", 0.9999)
    assert yes.status == 0 and yes.out.startswith("accepted: Bo (1.000")
    no = run("verify", filled, "Ada", picture, "--threshold", 0.9999, "--json")
    assert no.status == 1 and json.loads(no.out)["accepted"] is False
    unknown = run("verify", filled, "Dee", picture)
    assert unknown.status == 2 and "'Dee'" in unknown.error


def test_rename_merge_remove(run: Any, filled: Path) -> None:
    assert run("rename", filled, "Ada", "Adelaide").out == "Ada is now Adelaide\n"
    assert json.loads(run("merge", filled, "Adelaide", "Bo", "--json").out) == {"moved_samples": 3}
    assert run("remove", filled, "Bo").out == "removed 6 samples, from the file itself\n"
    assert run("remove", filled, "--sample", 7).out == "removed 1 samples, from the file itself\n"
    assert json.loads(run("list", filled, "--json").out) == [{"name": "Cy", "samples": 2}]
    content = filled.read_bytes()
    assert b"Ada" not in content and b"Adelaide" not in content


def test_remove_is_all_or_nothing(run: Any, filled: Path) -> None:
    outcome = run("remove", filled, "Ada", "Dee")
    assert outcome.status == 2 and "'Dee'; nothing was removed" in outcome.error
    assert run("remove", filled).status == 2
    assert len(json.loads(run("list", filled, "--json").out)) == 3


def test_export_and_import(run: Any, filled: Path, tmp_path: Path) -> None:
    exported, other = tmp_path / "all.npz", tmp_path / "other.db"
    assert run("export", filled, exported).out == f"exported 9 samples to {exported}\n"
    assert json.loads(run("import", other, exported, "--json").out) == {"imported_samples": 9}
    assert run("import", other, exported).out.startswith("imported 0 new samples")
    assert run("list", other).out == run("list", filled).out
    bad = run("import", other, filled)
    assert bad.status == 2 and "is not an exported gallery" in bad.error


def test_stats(run: Any, filled: Path) -> None:
    answer = json.loads(run("stats", filled, "--json").out)
    assert (answer["people"], answer["samples"], answer["dimension"], answer["calibrated"]) == (3, 9, 4, False)
    text = run("stats", filled).out
    assert "people       3, 9 samples (3 to 3 each, 3.0 on average)" in text and "NOT calibrated" in text


@pytest.mark.filterwarnings("default:suspicious sample")
def test_check(run: Any, filled: Path, faces: Path, people: Path) -> None:
    assert run("check", filled).out == "no suspicious sample; 3 people, every checksum fits\n"
    refused = run("enroll", filled, "Ada", people / "Bo" / "0.png")
    assert refused.status == 2 and "Ada: nearer to Bo" in refused.error
    assert "suspicious sample" in run("enroll", filled, "Ada", people / "Bo" / "0.png", "--poisoning", "flag").err
    outcome = run("check", filled)
    assert outcome.status == 1 and "of Ada: nearer to Bo" in outcome.out
    assert json.loads(run("check", filled, "--json").out)["suspicious"][0]["name"] == "Ada"


def test_repair(run: Any, filled: Path, tmp_path: Path) -> None:
    content = bytearray(filled.read_bytes())
    with Gallery(filled, read_only=True) as gallery:
        vector = gallery.store.load().vectors[4].tobytes()
    content[content.index(vector) + 2] ^= 1
    filled.write_bytes(content)
    damaged = run("list", filled)  # the list does not read the vectors …
    assert damaged.status == 2 and "edgecv gallery repair faces.db -o NEW.db" in damaged.error  # … but opening does
    outcome = run("repair", filled, "-o", tmp_path / "new.db")
    assert outcome.status == 1
    assert outcome.out.splitlines() == [
        f"saved 8 samples of 3 people to {tmp_path / 'new.db'}",
        "lost: 1 samples",
        "  1 of Bo",
    ]
    assert json.loads(run("repair", tmp_path / "new.db", "-o", tmp_path / "two.db", "--json").out)["complete"] is True
    assert run("repair", tmp_path / "two.db", "-o", tmp_path / "three.db").out.endswith("nothing was lost\n")
    assert run("repair", filled, "-o", tmp_path / "new.db").status == 2


def test_compact(run: Any, filled: Path) -> None:
    answer = json.loads(run("compact", filled, "--json").out)
    assert 0 < answer["after"] <= answer["before"]


def test_keys(run: Any, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECV_GALLERY_KEY", raising=False)
    key, other, sealed = tmp_path / "key", tmp_path / "other", tmp_path / "sealed.db"
    assert "keep a copy" in run("new-key", key).out and run("new-key", other).status == 0
    assert run("new-key", key).status == 2
    assert run("enroll", sealed, "Ada", people / "Ada" / "0.png", "--key-file", key).status == 0
    assert json.loads(run("list", sealed, "--key-file", key, "--json").out) == [{"name": "Ada", "samples": 1}]
    wrong = run("list", sealed, "--key-file", other)
    assert wrong.status == 2 and "the key does not fit" in wrong.error
    assert "is encrypted; give its key" in run("list", sealed).error
    monkeypatch.setenv("EDGECV_GALLERY_KEY", key.read_text().strip())
    assert run("list", sealed).status == 0
    assert run("export", sealed, tmp_path / "all.npz").status == 2
    assert run("export", sealed, tmp_path / "all.npz", "--decrypted").status == 0


def test_calibrate(run: Any, edgecv: Any, filled: Path, people: Path, embedder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "det.svg"
    outcome = run("calibrate", filled, "--far", 0.2, "--picture", picture)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("threshold  ") and "rank 1     1.0000, among 3 people with 9 samples" in outcome.out
    assert xml.etree.ElementTree.parse(picture).getroot().tag.endswith("svg")
    looks = ("--aligned", "--embedder", embedder, "--quality", "off")
    answer = json.loads(edgecv("gallery", "calibrate", filled, "--data", people, "--far", 0.2, *looks, "--json").out)
    assert answer["samples"] == 9 and answer["far"]["value"] <= 0.2
    assert json.loads(run("stats", filled, "--json").out)["threshold"] == answer["threshold"]
    assert run("identify", filled, people / "Cy" / "0.png").err == ""  # nothing is told any more
    few = run("calibrate", filled, "--far", 1e-6)
    assert few.status == 2 and "impostor trials" in few.error
    assert edgecv("gallery", "calibrate", filled, "--data", people).status == 2


def test_another_embedder_is_refused(run: Any, edgecv: Any, filled: Path, people: Path, tiny: Any) -> None:
    other = tiny.folder / "other.edgecv"
    tiny.write(other, task="embedding", decoder=DecoderSpec("embedding", {"normalize": False}), labels=None)
    for action in (["enroll", filled, "Dee"], ["identify", filled], ["verify", filled, "Ada"]):
        picture = people / "Ada" / "0.png"
        outcome = edgecv("gallery", *action, picture, "--aligned", "--embedder", other, "--quality", "off")
        assert outcome.status == 2
        assert "cannot be compared; enrol everybody anew" in outcome.error


def test_bad_input_is_one_line(run: Any, edgecv: Any, filled: Path, people: Path, tmp_path: Path) -> None:
    picture = people / "Ada" / "0.png"
    for arguments, message in (
        (["list", tmp_path / "none.db"], "no gallery at"),
        (["remove", tmp_path / "none.db", "Ada"], "no gallery at"),
        (["stats", picture], "is not an edgecv gallery"),
        (["stats", tmp_path], "is a folder"),
        (["enroll", filled, "two\nlines", picture], "one line"),
        (["enroll", filled, "n" * 10_000, picture], "received 10,000"),
        (["enroll", filled, "Dee", tmp_path / "none.png"], "none.png"),
        (["enroll-folder", filled, tmp_path / "none"], "no folder"),
        (["enroll-folder", filled, tmp_path], "none is there"),
        (["identify", filled, picture, "-k", 0], "k must be"),
        (["rename", filled, "Ada", "Bo"], "in the gallery already"),
        (["export", filled, tmp_path / "all.zip"], "must end in .npz"),
        (["list", filled, "--cache", tmp_path / "copy.db"], "is a file already"),
    ):
        outcome = run(*arguments)
        assert outcome.status == 2 and message in outcome.error, outcome
    assert not (tmp_path / "none.db").exists()
    usage = edgecv("gallery", "enroll", filled, "Dee", picture, "--aligned")
    assert usage.status == 2 and "--embedder" in usage.error
    assert edgecv("gallery").status == 2 and edgecv("gallery", "dance", filled).status == 2


def test_as_a_process(edgecv_process: Any, faces: Path) -> None:
    with Gallery(faces) as gallery:
        gallery.enroll_many([f"p{number}" for number in range(6)], vectors())
    outcome = edgecv_process("gallery", "list", faces, "--json")
    assert outcome.status == 0 and outcome.err == "" and len(json.loads(outcome.out)) == 6
    wrong = edgecv_process("gallery", "remove", faces, "nobody")
    assert wrong.status == 2 and wrong.error.startswith("edgecv gallery: nobody in ")
    assert "Traceback" in edgecv_process("gallery", "remove", faces, "nobody", "--debug").err
