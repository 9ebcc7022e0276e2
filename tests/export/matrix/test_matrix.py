"""Models × devices: conversions are shared, refusals are rows, and the page shows all of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecv_export.compatibility import check
from edgecv_export.compilers import vela
from edgecv_export.fit import Fit, fit
from edgecv_export.matrix import Matrix, Network, Row, on_processes, on_ray, run_matrix
from edgecv_export.matrix.page import render_matrix
from edgecv_export.matrix.work import _too_large
from edgecv_export.metadata import embed
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import InputError, MissingPackageError
from edgecv_runtime.parity import verify
from edgecv_targets import load_target

LENET = Network("lenet5", "lenet5", weights="digits")
TARGETS = ("pi-4", "coral-usb", "ethos-u55-128", "x86-64", "stm32h7")


@pytest.fixture(scope="module")
def notes() -> list[str]:
    return []


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, calibration: list[Any], notes: list[str]) -> Matrix:
    if not vela.is_installed():
        pytest.skip("needs Vela (edgecv-export[npu])")
    folder = tmp_path_factory.mktemp("matrix")
    recipe = Recipe(adaround=False)
    return run_matrix([LENET], folder, targets=TARGETS, calibration=calibration, recipe=recipe, notify=notes.append)


def test_devices_that_take_the_same_share_a_conversion(matrix: Matrix, notes: list[str]) -> None:
    assert [(row.target, row.format, row.precision, row.status) for row in matrix.rows] == [
        ("pi-4", "tflite", "int8", "ready"),
        ("coral-usb", "tflite", "int8", "prepared"),
        ("ethos-u55-128", "tflite", "int8", "compiled"),
        ("x86-64", "openvino", "int8", "ready"),
        ("stm32h7", "tflite", "int8", "ready"),
    ]
    assert matrix.conversions == 2  # of five bundles
    assert notes[:2] == ["lenet5: tflite int8 ready", "lenet5: openvino int8 ready"]
    first, *others = (Bundle(matrix.folder / (row.bundle or "")) for row in matrix.rows if row.format == "tflite")
    # The same but for the device's name in their metadata.
    assert {embed(other.artefact(), first.manifest).model for other in others} == {first.artefact().model}


def test_every_bundle_is_the_devices_own_and_verifies(matrix: Matrix) -> None:
    for row in matrix.rows:
        path = matrix.folder / row.model / f"{row.target}.edgecv"
        assert row.bundle == f"{row.model}/{row.target}.edgecv"
        bundle = Bundle(path)
        assert bundle.manifest.target == row.target
        assert bundle.report()["target"]["id"] == row.target
        assert ("compiled.tflite" in bundle.manifest.members) == (row.status == "compiled")
        assert any(name.endswith((".cc", ".c")) for name in bundle.manifest.members) == (
            row.target in ("stm32h7", "ethos-u55-128")
        )
        assert verify(path).passed
    assert sorted(path.name for path in matrix.folder.iterdir()) == ["index.html", "lenet5", "matrix.json"]


def test_a_rows_figures_are_those_of_the_parts(matrix: Matrix) -> None:
    rows = {row.target: row for row in matrix.rows}
    bundle = Bundle(matrix.folder / "lenet5" / "pi-4.edgecv")
    graph, pi = read_graph(bundle.artefact().model), load_target("pi-4")
    time = check(graph, pi).time
    assert time is not None
    assert rows["pi-4"].milliseconds == pytest.approx(1e3 * time.seconds)
    assert rows["pi-4"].size == len(bundle.artefact().model)
    micro = fit(graph, load_target("stm32h7"))
    assert (rows["stm32h7"].memory_bytes, rows["stm32h7"].fits) == (micro.memory_bytes, True)
    said = Bundle(matrix.folder / "lenet5" / "ethos-u55-128.edgecv").report()["device"]["compiler"]
    assert rows["ethos-u55-128"].milliseconds == said["milliseconds"]
    assert rows["ethos-u55-128"].size == said["size"]
    assert rows["ethos-u55-128"].on_accelerator == said["npu_share"]
    assert rows["coral-usb"].at_least
    assert rows["x86-64"].milliseconds is None  # nothing is published for "any x86-64"
    assert json.loads((matrix.folder / "matrix.json").read_text())["rows"] == [row.to_dict() for row in matrix.rows]


def test_refusals_are_rows_with_their_reason(tmp_path: Path) -> None:
    engine = _Recorder()
    refused = run_matrix([LENET], tmp_path, targets=["coral-usb", "ethos-u85-512"], engine=engine).rows
    assert [row.status for row in refused] == ["refused", "refused"]
    assert "needs calibration pictures: pass --calibrate DIR" in refused[0].note
    assert refused[0].bundle is refused[0].size is None
    assert engine.jobs == []
    assert "pass --calibrate DIR" in (tmp_path / "index.html").read_text()


def test_what_goes_wrong_in_a_conversion_is_a_row(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    (row,) = run_matrix([Network("broken", str(broken))], tmp_path / "out", targets=["x86-64"]).rows
    assert row.status in ("refused", "failed")
    assert row.note
    assert not row.made


def test_what_does_not_fit_says_by_how_much() -> None:
    assert _too_large(Fit(3_000_000, 1_438_000, 2_000_000, 1_000_000)) == (
        "does not fit: 1,438 kB of memory needed, 1,000 kB there; 3,000 kB of flash needed, 2,000 kB there"
    )
    assert _too_large(Fit(3_000_000, 1_438_000, None, 1_000_000)) == (
        "does not fit: 1,438 kB of memory needed, 1,000 kB there"
    )


class _Recorder:
    """An engine that remembers its jobs."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def __call__(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        self.jobs += jobs
        return map(function, jobs)


def test_arguments_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one model"):
        run_matrix([], tmp_path)
    with pytest.raises(InputError, match="a name of its own; received lenet5 twice"):
        run_matrix([LENET, LENET], tmp_path)
    with pytest.raises(InputError, match="pi-5000"):
        run_matrix([LENET], tmp_path, targets=["pi-5000"])
    with pytest.raises(InputError, match="at least one device"):
        run_matrix([LENET], tmp_path, targets=[])
    with pytest.raises(InputError, match="that of its folder; received '../x'"):
        run_matrix([Network("../x", "lenet5")], tmp_path)
    with pytest.raises(InputError, match="at least one process"):
        on_processes(0)


def test_processes_give_results_in_order() -> None:
    assert list(on_processes(2)(str.upper, ["a", "b", "c"])) == ["A", "B", "C"]
    assert list(on_processes(2)(str.upper, [])) == []


def test_ray_is_optional_and_gets_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"edgecv-export\[cluster\]"):
        on_ray()
    # A stand-in with the three calls of Ray's interface that are used.
    ray = ModuleType("ray")
    started: list[dict[str, Any]] = []
    ray.init = lambda **options: started.append(options)  # type: ignore[attr-defined]
    ray.remote = lambda function: type("Remote", (), {"remote": staticmethod(lambda job: (function, job))})  # type: ignore[attr-defined]
    ray.get = lambda waiting: [function(job) for function, job in waiting]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert list(on_ray()(str.upper, ["a", "b"])) == ["A", "B"]
    assert started == [{"ignore_reinit_error": True}]


class _Page(HTMLParser):
    """Cells of the table, marks of the drawings, and whatever would be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.marks: list[str] = []
        self.fetched: list[str] = []
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._in = tag
        if tag == "tr":
            self.cells.append([])
        if tag == "td":
            self.cells[-1].append("")
        if "data-tip" in found:
            self.marks.append(found["data-tip"] or "")
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._in == "td":
            self.cells[-1][-1] += data


def rows_of(model: str, accuracy: float) -> list[Row]:
    made = Row(
        model, "pi-4", "Pi 4", "board", "ready", "", "tflite", "int8", f"{model}/pi-4.edgecv", 71_000, None, None,
        12.345, False, "published", 2_000_000, None, 71_000, None, None, "top-1", accuracy, accuracy + 0.01, 200,
    )  # fmt: skip
    small = Row(
        model, "m7", "<M7>", "microcontroller", "ready", "", "tflite", "int8", f"{model}/m7.edgecv", 71_000, None, None,
        900.0, True, "published", 2_000_000, 1_000_000, 71_000, 2_000_000, False, "top-1", accuracy, accuracy, 200,
    )  # fmt: skip
    return [made, small, Row(model, "npu", "NPU", "module", "refused", "needs <pictures>")]


def test_the_page_shows_every_row_and_a_panel_for_each_device() -> None:
    page = render_matrix([*rows_of("a", 0.7), *rows_of("b", 0.8)], 2)
    read = _Page(page)
    table = [cells for cells in read.cells if cells]
    assert len(table) == 6
    assert table[0][:11] == ["a", "Pi 4", "ready", "tflite", "int8", "70.00", "−1.00", "12.3", "–", "71", "2,000"]
    assert table[1][1] == "<M7>"
    assert table[1][7] == "≥ 900"
    assert table[1][11] == "no"
    assert table[2][12] == "needs <pictures>"
    # Four marks of devices with a time: once in the lanes, once in a panel of accuracy.
    assert len(read.marks) == 8
    assert sum("does not fit" in mark for mark in read.marks) == 4
    assert page.count("<h3") == 2
    assert read.fetched == []
    assert "default-src 'none'" in page
    assert "<M7>" not in page  # escaped


def test_without_accuracy_or_times_there_is_still_a_table() -> None:
    page = render_matrix([Row("a", "npu", "NPU", "module", "refused", "needs pictures")], 0)
    assert "<svg" not in page
    assert next(cells for cells in _Page(page).cells if cells)[2] == "refused"
    with pytest.raises(InputError, match="at least one row"):
        render_matrix([], 0)
