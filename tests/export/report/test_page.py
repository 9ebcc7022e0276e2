"""The page: complete without the network, safe with any text, and without the parts that the report lacks."""

from __future__ import annotations

import base64
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_export.report.page import render_page, write_page
from edgecv_export.report.thumbnails import data_uri, load_thumbnails
from edgecv_runtime.errors import InputError, MissingFileError, OutputError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec

EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "img", "line", "rect", "circle", "br"}


class Reader(HTMLParser):
    """Collects tags, attributes and texts, and checks that every element is closed in turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        name="birds",
        task="classification",
        architecture={"name": "mobilenet_v2", "options": {}},
        format="onnx",
        precision="int8",
        inputs=(InputSpec("image", (1, 8, 8, 3), "uint8"),),
        outputs=(TensorSpec("logits", (1, 2), "float32"),),
        decoder=DecoderSpec("classification"),
        made_with={"edgecv": "1.2", "cpu": "x86_64 avx2"},
    )


@pytest.fixture
def report() -> dict[str, Any]:
    row = {"kind": "Conv2D", "layers": ["a", "a_relu"], "cosine": 0.999, "parameters": 0.25}
    return {
        "size": 1_000_000,
        "parameters": 1_000_000,
        "macs": 56_000_000,
        "max_drop": 0.5,
        "accuracy": {
            "float": {"top1": 0.872, "top5": 0.95, "n": 500},
            "artefact": {"top1": 0.868, "top5": 0.95, "n": 500, "agreement": 0.974, "gained": 3, "lost": 5},
        },
        "parity": {"images": 4, "origin": "calibration", "max_abs": 0.03125, "agreement": 0.75},
        "latency": {"p50_ms": 6.9, "n": 20, "backend": "onnxruntime", "cpu": "x86_64 avx2"},
        "search": [
            {"name": "plain", "top1": 0.85, "agreement": 0.94, "size": 990_000, "latency_ms": 6.5, "met": False,
             "chosen": False, "seconds": 12.0, "note": "min-max"},
            {"name": "equalized", "top1": 0.868, "agreement": 0.97, "size": 1_000_000, "latency_ms": 6.9, "met": True,
             "chosen": True, "seconds": 31.0, "note": ""},
        ],
        "layers": [
            {**row, "name": "a", "sqnr_db": 41.25, "sensitivity": 0.002, "in_float": False},
            {**row, "name": "b", "sqnr_db": 12.5, "sensitivity": None, "in_float": True},
            {**row, "name": "c", "sqnr_db": 30.0, "sensitivity": 0.0001, "in_float": False},
        ],
        "worst_images": [
            {"file": "a/1.png", "truth": "owl", "float_label": "owl", "artefact_label": "cat", "probability_drop": 0.61}
        ],
        "advice": [
            {"rule": "swish", "severity": "high", "title": "Swish", "layers": ["a"], "cost": "points",
             "remedy": "ReLU6", "source": "a blog"}
        ],
    }  # fmt: skip


def test_everything_is_told(report: dict[str, Any], manifest: Manifest) -> None:
    page = Reader(render_page(report, manifest=manifest))
    for told in (
        "birds", "mobilenet_v2", "onnx", "int8", "1,000 kB", "0.25× of their float32 size", "56 million MACs",
        "87.20 → ", "86.80 %", "−0.40 points on 500 images", "0.5 may be lost", "6.90 ms", "97.4 %",
        "max |Δ| 0.0312 on 4",
        "plain", "equalized", "min-max", "41.2", "12.5", "2.00e-03", "points of probability", "cat", "Swish", "a blog",
        "Proven on x86_64 avx2.", "edgecv 1.2",
    ):  # fmt: skip
        assert told in page.text, told
    # Agresti & Min on 3 gained and 5 lost of 500, by hand: (-2 ± 1.96 √(9 - 4/502)) / 502.
    assert "(95 % interval −1.57 to +0.77)" in page.text
    assert page.tags.count("svg") == 3
    assert page.tags.count("table") == 2


def test_nothing_is_fetched(report: dict[str, Any], manifest: Manifest) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    source = render_page(report, manifest=manifest, thumbnails={"a/1.png": picture})
    page = Reader(source)
    places = [value for name, value in page.attributes if name in ("src", "href", "action", "data", "srcset", "poster")]
    assert len(places) == 1
    assert str(places[0]).startswith("data:image/jpeg;base64,")
    assert set(re.findall(r"https?://[^\s\"'<]+", source)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "@import" not in source
    assert "url(" not in source
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in str(value)]
    assert str(policy).startswith("default-src 'none';")


def test_texts_cannot_break_out(report: dict[str, Any], manifest: Manifest) -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return value + EVIL if isinstance(value, str) else value

    source = render_page(poison(report), manifest=manifest)
    page = Reader(source)
    assert page.tags.count("script") == 1
    assert "alert(1)" in page.text  # shown, not run
    assert not any(name.startswith("on") for name, _ in page.attributes)


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("accuracy", "Top-1"),
        ("latency", "Latency"),
        ("parity", "contract images"),
        ("size", "1,000 kB"),
        ("search", "Search for the budget"),
        ("layers", "Error of each layer"),
        ("worst_images", "Worst images"),
        ("advice", "Advice"),
    ],
)
def test_missing_parts_are_left_out(report: dict[str, Any], missing: str, gone: str) -> None:
    assert gone in Reader(render_page(report)).text
    for value in ({}, {missing: None}):
        rest = {key: part for key, part in report.items() if key != missing} | value
        assert gone not in Reader(render_page(rest)).text


def test_an_empty_report_is_a_page() -> None:
    assert "Export report" in Reader(render_page({})).text


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("layers", [{"kind": "Conv2D"}]),
        ("layers", 3),
        ("search", [{}]),
        ("worst_images", [{"truth": "x"}]),
        ("advice", ["x"]),
        ("accuracy", {"float": 1}),
        ("latency", {"p50_ms": "fast"}),
    ],
)
def test_parts_of_another_shape_are_refused(report: dict[str, Any], part: str, value: Any) -> None:
    with pytest.raises(InputError, match="is not as an export writes it") as caught:
        render_page({**report, part: value})
    assert "\n" not in str(caught.value)


def test_the_budget_and_the_choice_are_marked(report: dict[str, Any]) -> None:
    source = render_page(report)
    assert source.count('class="point chosen met"') == 2  # in both plots
    assert source.count('class="point missed"') == 2
    assert source.count('class="level budget"') == 4  # a line and its label each
    assert '<tr class="chosen">' in source
    assert source.count('class="bar float"') == 1
    assert source.count('class="bar worst"') == 1  # of three layers one, and that one by its sensitivity
    missed = {**report, "max_drop": 0.1}
    assert '<span class="bad">86.80 %</span>' in render_page(missed)
    assert '<span class="good">86.80 %</span>' in source


def test_without_evaluation_the_contract_speaks(report: dict[str, Any]) -> None:
    del report["accuracy"]
    assert "3 of 4 same best class as the float source; max |Δ| 0.0312 on 4 contract images" in (
        Reader(render_page(report)).text
    )


def test_a_search_that_failed() -> None:
    """Then there is no artefact: only what was tried, and what each layer costs."""
    tried = [{"name": "plain", "top1": 0.5, "agreement": None, "size": 10, "latency_ms": 1.0, "met": False,
              "chosen": False, "seconds": 1.0, "note": None},
             {"name": "other", "top1": None, "size": None, "latency_ms": None, "note": "refused"}]  # fmt: skip
    layers = [{"name": "a", "sensitivity": 0.5}, {"name": "b", "sensitivity": 0.25}, {"name": "c", "sensitivity": 1.0}]
    source = render_page({"search": tried, "layers": layers})
    page = Reader(source)
    assert "nothing was written" in page.text
    assert "refused" in page.text
    assert "SQNR, dB" not in page.text  # a panel without a value is left out
    assert "5.00e-01" in page.text
    assert source.count('class="bar worst"') == 1
    assert 'class="bar worst" data-tip="3  c' in source


def test_the_table_sorts_by_full_precision(report: dict[str, Any]) -> None:
    report["layers"][0]["sqnr_db"] = 41.2468
    source = render_page(report)
    assert 'data-value="41.2468">41.2</td>' in source
    assert 'data-value="">–</td>' in source  # a sensitivity that is not known


def test_pictures_are_shrunk() -> None:
    image = np.zeros((400, 800, 3), np.uint8)
    image[..., 0] = 200  # red
    head, encoded = data_uri(image).split(",")
    assert head == "data:image/jpeg;base64"
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert bgr.shape == (160, 320, 3)
    np.testing.assert_allclose(bgr.mean(axis=(0, 1)), [0, 0, 200], atol=3)


def test_thumbnails_are_found_by_name(tmp_path: Path, report: dict[str, Any]) -> None:
    (tmp_path / "b").mkdir()
    cv2.imwrite(str(tmp_path / "b" / "1.png"), np.full((4, 4, 3), 7, np.uint8))
    found = load_thumbnails(report, tmp_path)
    assert list(found) == ["a/1.png"]
    assert found["a/1.png"].max() == 7


def test_thumbnails_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((4, 4, 3), np.uint8))
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.warns(RuntimeWarning, match="picture left out"):
            assert load_thumbnails({"worst_images": [{"file": name}]}, tmp_path / "pictures") == {}


def test_no_folder_of_pictures(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder of pictures"):
        load_thumbnails({}, tmp_path / "none")


def test_write_page(tmp_path: Path, report: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_page(tmp_path / "page.html", report)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render_page(report)
    with pytest.raises(InputError, match="must end in .html"):
        write_page(tmp_path / "page.pdf", report)
    with pytest.raises(OutputError, match="cannot write"):
        write_page(tmp_path / "none" / "page.html", report)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
