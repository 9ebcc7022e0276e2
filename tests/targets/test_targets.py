"""Every device file against the schema, and what the reader refuses."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomllib

import edgecv_targets
from edgecv_targets import TargetError, list_accelerators, list_targets, load_accelerator, load_target
from edgecv_targets.reader import parse_target

FOLDER = Path(edgecv_targets.__file__).parent

REQUIRED = {
    "pi-zero-2w", "pi-3", "pi-4", "pi-5", "pi-5-hailo-8l", "coral-usb", "coral-m2", "jetson-nano", "jetson-orin-nano",
    "jetson-agx-orin", "intel-n100", "intel-core", "intel-gpu", "intel-npu", "x86-64", "ethos-u55-128", "ethos-u65-256",
    "ethos-u85-256", "imx93", "alif-e7", "imx8mp", "rk3566", "rk3588", "stm32h7", "android-cpu", "android-gpu",
    "apple-silicon",
}  # fmt: skip


def content(identifier: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{identifier}.toml").read_text(encoding="utf-8"))


def test_every_promised_device_is_there() -> None:
    assert set(list_targets()) >= REQUIRED


@pytest.mark.parametrize("identifier", list_targets())
def test_every_file_fits_the_schema(identifier: str) -> None:
    target = load_target(identifier)
    assert target.id == identifier
    assert re.fullmatch(r"[a-z0-9-]+", identifier)
    assert all("https://" in where for where in target.sources.values())


def numbers(data: Any, path: str = "", source: str | None = None) -> list[tuple[str, str | None]]:
    """Every number of a file, wherever it is, with the source that the nearest table around it names."""
    if isinstance(data, dict):
        named = data.get("source", source)
        return [found for key, value in data.items() for found in numbers(value, f"{path}.{key}", named)]
    if isinstance(data, list):
        return [found for place, value in enumerate(data) for found in numbers(value, f"{path}[{place}]", source)]
    return [(path, source)] if isinstance(data, int | float) and not isinstance(data, bool) else []


@pytest.mark.parametrize("identifier", list_targets())
def test_every_figure_has_a_source(identifier: str) -> None:
    """Read from the file itself, whatever the reader makes of it: no number stands without a source of the file."""
    data = content(identifier)
    found = [entry for entry in numbers(data) if not entry[0].startswith(".backends")]
    assert {path for path, source in found if source not in data["sources"]} == set()
    used = {source for _, source in found} | {data["cpu"]["source"]}
    used |= {data[key]["source"] for key in ("accelerator", "tool") if key in data}
    assert used == set(data["sources"])


@pytest.mark.parametrize("identifier", list_targets())
def test_no_figure_hides_in_a_note(identifier: str) -> None:
    """A note has no source: a number with a unit belongs into a field."""
    unit = re.compile(r"\d\s*(?:[GM]Hz|[KMG]i?B|TOPS|ms|fps|%)")
    assert [note for note in load_target(identifier).notes if unit.search(note)] == []


def test_a_figure_without_a_source_would_be_found() -> None:
    data = content("pi-5")
    data["accelerator"] = {"name": "N", "peak_ops": {"value": 1e12}}
    assert (".accelerator.peak_ops.value", None) in numbers(data)
    data["memory_bytes"] = 4e9
    assert (".memory_bytes", None) in numbers(data)


@pytest.mark.parametrize("identifier", list_targets())
def test_what_is_left_out_is_owned_up_to(identifier: str) -> None:
    target = load_target(identifier)
    there = {
        "cpu.cores": target.cpu.cores,
        "cpu.clock_hz": target.cpu.clock_hz,
        "cpu.macs_per_cycle": target.cpu.macs_per_cycle,
        "latencies": target.latencies,
    }
    if target.kind == "microcontroller":
        there |= {"sram_bytes": target.sram_bytes, "flash_bytes": target.flash_bytes}
    else:
        there |= {"memory_bytes": target.memory_bytes, "memory_bandwidth": target.memory_bandwidth}
    if target.accelerator is not None:
        there["accelerator.peak_ops"] = target.accelerator.peak_ops
    assert set(target.not_published) == {name for name, value in there.items() if not value}


@pytest.mark.parametrize("identifier", list_targets())
def test_a_back_end_can_open_what_is_exported(identifier: str) -> None:
    from edgecv_runtime.backends.registry import backend_class

    target = load_target(identifier)
    opened: set[str] = set()
    for backend in target.backends:
        opened |= {"tflite"} if backend.name == "tflite-micro" else set(backend_class(backend.name).formats)
    assert set(target.formats) <= opened


@pytest.mark.parametrize("identifier", list_targets())
def test_features_are_those_the_runtime_knows(identifier: str) -> None:
    from edgecv_runtime.cpu import _RELEVANT

    assert set(load_target(identifier).cpu.features) <= set(_RELEVANT.values())


def test_published_times_of_the_raspberry_pi_4() -> None:
    """XNNPACK's README, 64-bit column of the Raspberry Pi 4."""
    times = {(entry.model, entry.precision): entry.milliseconds for entry in load_target("pi-4").latencies}
    assert times == {
        ("mobilenet_v1", "fp32"): 77,
        ("mobilenet_v2", "fp32"): 46,
        ("mobilenet_v1", "int8"): 24,
        ("mobilenet_v2", "int8"): 17,
    }


def test_vela_is_told_what_it_knows() -> None:
    from edgecv_export.compilers.vela import CONFIGURATIONS

    for identifier in list_targets():
        target = load_target(identifier)
        if target.tool is not None and target.tool.name == "vela":
            assert target.accelerator is not None
            assert target.accelerator.configuration in CONFIGURATIONS
            assert str(target.accelerator.configuration) in target.tool.command


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data["memory_bytes"].pop("source"), "memory_bytes must name one of the file's sources"),
        (lambda data: data["memory_bytes"].update(source="rumour"), "received 'rumour'"),
        (lambda data: data["memory_bytes"].update(value=-1), "memory_bytes must be positive"),
        (lambda data: data["memory_bytes"].update(unit="GB"), "'unit' is not a field"),
        (lambda data: data["sources"].update(spare="nowhere"), "source 'spare' is not used"),
        (lambda data: data["sources"].update(pi=""), "source 'pi' must say where"),
        (lambda data: data.pop("name"), "'name' is missing"),
        (lambda data: data.update(nmae="Pi"), "'nmae' is not a field"),
        (lambda data: data.update(kind="toaster"), "kind must be one of board"),
        (lambda data: data.update(precisions=["int4"]), "precisions must be among"),
        (lambda data: data.update(formats=[]), "formats must be among"),
        (lambda data: data["cpu"].update(cores="four"), "'cores' must be of type int"),
        (lambda data: data["cpu"].update(colour="green"), "'colour' is not a field"),
        (lambda data: data["backends"][0].pop("name"), "'name' is missing"),
        (lambda data: data.update(accelerator={"name": "N", "source": "pi", "table": "nobody"}), "received 'nobody'"),
    ],
)
def test_mistakes_are_refused_by_name(change: Any, said: str) -> None:
    data = copy.deepcopy(content("pi-5"))
    change(data)
    with pytest.raises(TargetError, match=re.escape(said)):
        parse_target("pi-5", data)


def test_unknown_names() -> None:
    with pytest.raises(TargetError, match="target must be one of .*pi-5.*; received 'pi-9'"):
        load_target("pi-9")
    with pytest.raises(TargetError, match="operator table must be one of"):
        load_accelerator("abacus")


@pytest.mark.parametrize("identifier", list_accelerators())
def test_operator_tables(identifier: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    table = load_accelerator(identifier)
    assert all(hasattr(schema.BuiltinOperator, kind) for kind in table.operators)
    assert table.sources
    assert "CONV_2D" in table.operators


def test_vela_s_own_report_names_the_same_operators(tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    ran = subprocess.run([sys.executable, "-m", "ethosu.vela", "--supported-ops-report"], cwd=tmp_path, check=False)
    assert ran.returncode == 0
    report = (tmp_path / "SUPPORTED_OPS.md").read_text(encoding="utf-8")
    for identifier, title in (("ethos-u55", "Ethos-U55 and Ethos-U65"), ("ethos-u85", "Ethos-U85")):
        section = report.split(f"## {title} TFLite Summary Table")[1].split("\n## ")[0]
        documented = set(re.findall(r"^\| ([A-Z0-9_]+) \|", section, re.MULTILINE))
        # Recurrent layers and variables are no part of a vision model, and SCATTER_ND's conditions are not checked.
        left = {"UNIDIRECTIONAL_SEQUENCE_LSTM", "ASSIGN_VARIABLE", "READ_VARIABLE", "SCATTER_ND"}
        assert set(load_accelerator(identifier).operators) == documented - left


def test_reading_targets_imports_nothing_else() -> None:
    code = (
        "import sys, edgecv_targets as t; [t.load_target(i) for i in t.list_targets()]; "
        "print([m for m in ('numpy', 'edgecv', 'edgecv_export', 'edgecv_runtime') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
