from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_text_and_json(edgecv: Any, any_bundle: Path, pictures: Path) -> None:
    outcome = edgecv("eval", any_bundle, "--data", pictures)
    assert outcome.status == 0 and outcome.err == ""
    assert outcome.out == "top-1 33.33 %   top-5 100.00 %   (3 images)\n"
    answer = json.loads(edgecv("eval", any_bundle, "--data", pictures, "--json").out)
    assert answer == {"top1": pytest.approx(1 / 3), "top5": 1.0, "n": 3, "skipped": 0}


@pytest.mark.filterwarnings("always")
def test_unreadable_images_are_warned_of_and_counted(edgecv: Any, bundle: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "ant").mkdir(parents=True)
    picture.rename(tmp_path / "data" / "ant" / "a.png")
    (tmp_path / "data" / "ant" / "b.jpg").write_text("no picture")
    outcome = edgecv("eval", bundle, "--data", tmp_path / "data")
    assert outcome.status == 0
    assert outcome.err.startswith("warning: skipped: ") and outcome.err.count("\n") == 1
    assert outcome.out.endswith("(1 images, 1 skipped)\n")


@pytest.mark.filterwarnings("always")
def test_bad_data(edgecv: Any, bundle: Path, tmp_path: Path) -> None:
    outcome = edgecv("eval", bundle, "--data", tmp_path / "none")
    assert outcome.status == 2 and outcome.error == f"edgecv eval: no folder at {tmp_path / 'none'}"
    outcome = edgecv("eval", bundle, "--data", tmp_path)
    assert outcome.status == 2 and "holds no labelled image" in outcome.error
    (tmp_path / "labels.csv").write_bytes(b"file,class_index\n\xff,1\n")
    outcome = edgecv("eval", bundle, "--data", tmp_path)
    assert outcome.status == 2 and "labels.csv must be UTF-8 text" in outcome.error


def test_test_time_augmentation_says_what_it_gains_and_costs(edgecv: Any, bundle: Path, pictures: Path) -> None:
    outcome = edgecv("eval", bundle, "--data", pictures, "--tta", "identity", "--merge", "max")
    plain, augmented, summary = outcome.out.splitlines()
    assert plain == "plain: top-1 33.33 %   top-5 100.00 %   (3 images)"
    assert augmented == "tta:   top-1 33.33 %   top-5 100.00 %   (3 images)"  # the same view twice
    assert summary.startswith("gain +0.00 points for 2.00 calls an image, ")
    answer = json.loads(edgecv("eval", bundle, "--data", pictures, "--tta", "hflip scale:1.2", "--json").out)
    assert answer["plain"]["top1"] == pytest.approx(1 / 3)
    assert answer["tta"]["transforms"] == ["identity", "hflip", "scale:1.2"]
    assert answer["tta"]["gain"] == pytest.approx(answer["top1"] - 1 / 3) and answer["tta"]["calls_per_image"] == 3
    outcome = edgecv("eval", bundle, "--data", pictures, "--tta", "wave")
    assert outcome.status == 2 and "there is no transform 'wave'" in outcome.error
