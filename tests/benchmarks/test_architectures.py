"""The complexity table: rounding as printed figures round, and every row agrees or says why not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "architectures"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("architectures")


@pytest.mark.parametrize(
    ("value", "quoted", "expected"),
    [
        (5.288, "5.3", True),
        (5.24, "5.3", False),
        (25.58, "26", True),
        (25.49, "26", False),
        (0.694, "0.70", False),
        (0.6951, "0.70", True),
        (145.8, "146", True),
    ],
)
def test_rounding_keeps_to_the_quoted_digits(benchmark_module: Any, value: float, quoted: str, expected: bool) -> None:
    assert benchmark_module.rounds_to(value, quoted) is expected


def test_the_paper_s_rows_are_all_there(benchmark_module: Any) -> None:
    titles = [entry.title for entry in benchmark_module.ENTRIES]
    assert len(titles) == len(set(titles)) == 24
    assert sum(title.startswith("EfficientNet-B") for title in titles) == 8


def test_two_rows(benchmark_module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    arguments = ["--models", "ResNet-50", "GPipe", "--json", str(path), "--markdown", str(tmp_path / "table.md")]
    assert benchmark_module.main(arguments) == 0
    resnet, gpipe = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert resnet["parameters_agree"]
    assert resnet["macs_agree"]
    assert (resnet["trainable"], resnet["parameters"]) == (25_583_592, 25_636_712)
    assert resnet["macs"] == pytest.approx(4.09e9, abs=5e6)
    assert gpipe["parameters"] is None
    assert "| ResNet-50 | 224 | 26 | 25.58 | 25.64 | 4.1 | 4.09 | yes |" in (tmp_path / "table.md").read_text("utf-8")
    assert "557" in capsys.readouterr().out


def test_a_difference_without_a_reason_fails(benchmark_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = benchmark_module.Entry("LeNet-5", "61", "0.4", "lenet5")  # 0.06 million parameters
    monkeypatch.setattr(benchmark_module, "ENTRIES", (wrong,))
    assert benchmark_module.main([]) == 1


@pytest.mark.slow
def test_every_row_agrees_or_says_why_not(benchmark_module: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    assert benchmark_module.main(["--json", str(path)]) == 0
    rows = {row["title"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    agreeing = {title for title, row in rows.items() if row["parameters_agree"] and row["macs_agree"]}
    assert agreeing == {
        "EfficientNet-B0",
        "ResNet-50",
        "ResNet-152",
        "Inception-v3",
        "Xception",
        "EfficientNet-B2",
        "Inception-ResNet-v2",
        "EfficientNet-B3",
        "ResNeXt-101",
        "NASNet-A",
        "AmoebaNet-A",
        "AmoebaNet-C",
        "EfficientNet-B6",
    }
    # Parameters agree everywhere but where the table quotes figures that no published network has.
    assert {title for title, row in rows.items() if row["parameters_agree"] is False} == {
        "Inception-v4",
        "PolyNet",
        "SENet",
    }
