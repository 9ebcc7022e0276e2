"""Arm Vela: an int8 TFLite file compiled for an Ethos-U, and what it says of placement, memory and cycles.

Vela is run as the program that it is: its command line is its public interface, and a fault in its native code cannot
take this process along. Where each operator went is read from the database that it writes, which names the operators
of the original file by their numbers.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import io
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecv_export.compilers.kit import Tool, run_tool
from edgecv_runtime.errors import InputError, MissingPackageError

CONFIGURATIONS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256",
    "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip

INSTALL = "edgecv-export[npu]"
CUSTOM_OPERATOR = "ethos-u"

_CONFIG = "Arm/vela.ini"  # ships with Vela
# What Vela takes where nothing is said, spelt out: a warning on each run would otherwise ask for it.
_DEFAULTS = {
    "u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "u65": ("Ethos_U65_Mid_End", "Dedicated_Sram_384KB"),
    "u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
_TABLE = re.compile(r'<table name="(\w+)">\s*<!\[CDATA\[(.*?)\]\]>', re.DOTALL)
_REASON = re.compile(r"^Warning \(supported operators\) operator: \w+, ofm: '(.*)'\nReason: (.+)$", re.MULTILINE)
_KIB = 1024


@dataclass(frozen=True)
class Options:
    """For which NPU, in which system.

    Attributes
    ----------
    configuration : str
        One of `CONFIGURATIONS`.
    system_config, memory_mode : str or None
        As in Vela's configuration file; None: its defaults for the configuration.
    optimise : {"Performance", "Size"}
        Speed, or little memory.
    arena_cache_size : int or None
        Bytes of SRAM that the schedule may use; None: as the memory mode says.

    Raises
    ------
    InputError
        Unknown configuration or strategy.
    """

    configuration: str
    system_config: str | None = None
    memory_mode: str | None = None
    optimise: str = "Performance"
    arena_cache_size: int | None = None

    def __post_init__(self) -> None:
        if self.configuration not in CONFIGURATIONS:
            raise InputError(
                f"the Ethos-U configuration must be one of {', '.join(CONFIGURATIONS)}; received {self.configuration!r}"
            )
        if self.optimise not in ("Performance", "Size"):
            raise InputError(f"Vela optimises for Performance or Size; received {self.optimise!r}")

    @property
    def family(self) -> str:
        """``"u55"``, ``"u65"`` or ``"u85"``."""
        return self.configuration.split("-")[1]

    @property
    def system(self) -> str:
        """The system configuration in use."""
        return self.system_config or _DEFAULTS[self.family][0]

    @property
    def memory(self) -> str:
        """The memory mode in use."""
        return self.memory_mode or _DEFAULTS[self.family][1]

    def words(self) -> list[str]:
        """The command line's options."""
        found = ["--accelerator-config", self.configuration, "--config", _CONFIG, "--optimise", self.optimise]
        found += ["--system-config", self.system, "--memory-mode", self.memory]
        if self.arena_cache_size is not None:
            found += ["--arena-cache-size", str(self.arena_cache_size)]
        return found


@dataclass(frozen=True)
class Compiled:
    """What Vela made, and what it says of it.

    Attributes
    ----------
    model : bytes
        A TFLite file with the custom operator ``ethos-u``: only the device runs it.
    on_npu, on_cpu : tuple of int
        The operators of the original file, by number.
    sram_bytes, dram_bytes, flash_bytes : int
        Memory used: on the chip; off the chip; and read-only, for weights and commands.
    cycles, npu_cycles : int
        Of one inference with and without waiting for memory.
    milliseconds : float
        Of one inference at the system configuration's clock, as Vela estimates it.
    macs : int
        As Vela counts them.
    reasons : Mapping of str to str
        Why operators stay on the CPU, in Vela's words, by the name of what they compute.
    version : str
    options : Options
    """

    model: bytes
    on_npu: tuple[int, ...]
    on_cpu: tuple[int, ...]
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    cycles: int
    npu_cycles: int
    milliseconds: float
    macs: int
    reasons: Mapping[str, str]
    version: str
    options: Options

    @property
    def npu_share(self) -> float:
        """Share of the original operators on the NPU, 0 to 1."""
        total = len(self.on_npu) + len(self.on_cpu)
        return len(self.on_npu) / total if total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the report: all but the model."""
        found = {key: value for key, value in asdict(self).items() if key != "model"}
        return {"tool": "vela", "size": len(self.model), "npu_share": self.npu_share, **found}


def is_installed() -> bool:
    """Whether Vela can be found, without importing it."""
    return importlib.util.find_spec("ethosu") is not None


def compile_model(content: bytes, options: Options, *, timeout: float = 600.0) -> Compiled:
    """Compile a TFLite file.

    Parameters
    ----------
    content : bytes
        In int8 (or int16x8); what is float stays on the CPU.
    options : Options
    timeout : float
        Seconds.

    Raises
    ------
    MissingPackageError
        Vela is not installed.
    BackendError
        Vela refuses the model or does not come to an end; the message is its last line.
    """
    if not is_installed():
        raise MissingPackageError(
            f"compiling for {options.configuration} needs the package ethos-u-vela, which is not installed: "
            f"pip install '{INSTALL}'"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        words = (sys.executable, "-m", "ethosu.vela", "model.tflite", "--output-dir", "out", "--enable-debug-db")
        tool = Tool("vela", (*words, *options.words()), "out/model_vela.tflite", timeout, "vela needs Python")
        said = run_tool(tool, folder)
        compiled = (folder / tool.output).read_bytes()
        (summary,) = folder.glob("out/model_summary_*.csv")
        database = (folder / "out" / "model_debug.xml").read_text(encoding="utf-8")
        return _compiled(compiled, summary.read_text(encoding="utf-8"), database, said, options)


def _compiled(model: bytes, summary: str, database: str, said: str, options: Options) -> Compiled:
    (row,) = csv.DictReader(io.StringIO(summary))
    on_npu, on_cpu = placement(database)
    memory = {name: round(_KIB * float(row[f"{name}_memory_used"])) for name in ("sram", "dram", "off_chip_flash")}
    on_chip = round(_KIB * float(row["on_chip_flash_memory_used"]))
    return Compiled(
        model=model,
        on_npu=on_npu,
        on_cpu=on_cpu,
        sram_bytes=memory["sram"],
        dram_bytes=memory["dram"],
        flash_bytes=memory["off_chip_flash"] + on_chip,
        cycles=round(float(row["cycles_total"])),
        npu_cycles=round(float(row["cycles_npu"])),
        milliseconds=1e3 * float(row["inference_time"]),
        macs=round(float(row["nn_macs"])),
        reasons=dict(_REASON.findall(said)),
        version=importlib.metadata.version("ethos-u-vela"),
        options=options,
    )


def placement(database: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which operators of the original file run on the NPU, and which on the CPU.

    Parameters
    ----------
    database : str
        The XML that Vela writes with ``--enable-debug-db``.
    """
    tables = {name: list(csv.DictReader(io.StringIO(rows.strip()))) for name, rows in _TABLE.findall(database)}
    passed = {row["source_id"] for row in tables.get("perf", []) if row["operator"] == "Passthrough"}
    on_cpu = {int(row["ext_key"]) for row in tables["source"] if row["id"] in passed}
    known = {int(row["ext_key"]) for row in tables["source"]}
    return tuple(sorted(known - on_cpu)), tuple(sorted(on_cpu))
