"""``edgecv report``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.bundle import REPORT_MEMBER, Bundle, write_bundle


@pytest.fixture
def bundle(made: Callable[..., Any], tmp_path: Path) -> Path:
    return Path(shutil.copy(made("lenet", "tflite", "int8").path, tmp_path / "lenet.edgecv"))


def rewritten(bundle: Path, report: dict[str, Any] | None) -> Path:
    """The bundle with another report, or with none."""
    opened = Bundle(bundle)
    members = opened.artefact().members()
    if report is not None:
        members[REPORT_MEMBER] = json.dumps(report).encode()
    write_bundle(bundle, opened.manifest, members)
    return bundle


def test_beside_the_bundle(edgecv_command: Callable[..., Any], bundle: Path) -> None:
    ran = edgecv_command("report", bundle)
    page = bundle.with_suffix(".html")
    assert (ran.status, ran.out, ran.err) == (0, f"wrote {page}\n", "")
    content = page.read_text(encoding="utf-8")
    assert content.startswith("<!DOCTYPE html>")
    size = Bundle(bundle).report()["size"]
    for told in ("<title>lenet: tflite int8</title>", f"{size / 1e3:,.0f} kB", "61,706 parameters"):
        assert told in content, told


@pytest.mark.filterwarnings("default:picture left out:RuntimeWarning")
def test_pictures(edgecv_command: Callable[..., Any], bundle: Path, tmp_path: Path) -> None:
    entries = [{"file": name, "truth": "3", "float_label": "3", "artefact_label": "8"} for name in ("3.png", "4.png")]
    rewritten(bundle, {"worst_images": entries})
    (tmp_path / "eval").mkdir()
    cv2.imwrite(str(tmp_path / "eval" / "3.png"), np.zeros((9, 9, 3), np.uint8))
    page = tmp_path / "page.html"
    ran = edgecv_command("report", bundle, "-o", page, "--images", tmp_path / "eval")
    assert ran.status == 0
    assert ran.err.startswith("warning: picture left out of the report: no image at ")
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.edgecv",), "no bundle at none.edgecv"),
        (("BUNDLE", "-o", "page.pdf"), "must end in .html; received 'page.pdf'"),
        (("BUNDLE", "-o", "none/page.html"), "cannot write none/page.html"),
        (("BUNDLE", "--images", "none"), "no folder of pictures at none"),
    ],
)
def test_bad_input(
    edgecv_command: Callable[..., Any],
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(bundle.parent)
    ran = edgecv_command("report", *(bundle.name if word == "BUNDLE" else word for word in words))
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_no_report(edgecv_command: Callable[..., Any], bundle: Path) -> None:
    ran = edgecv_command("report", rewritten(bundle, None))
    assert (ran.status, ran.out) == (2, "")
    assert "holds no report" in ran.err


def test_a_report_of_another_shape(edgecv_command: Callable[..., Any], bundle: Path) -> None:
    ran = edgecv_command("report", rewritten(bundle, {"layers": [1]}))
    assert (ran.status, ran.out) == (2, "")
    assert "'layers' in the report is not as an export writes it" in ran.err
