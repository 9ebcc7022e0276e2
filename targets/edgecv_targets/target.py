"""What is known of a device. Plain data: nothing here reads a file or knows the other packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A number, and where it was published.

    Attributes
    ----------
    value : float
    source : str
        Key of the target's `sources`.
    """

    value: float
    source: str


@dataclass(frozen=True)
class CPU:
    """The processor that runs the program.

    Attributes
    ----------
    name : str
    architecture : {"aarch64", "armv7l", "armv7e-m", "armv8.1-m", "x86_64", "arm64"}
        As ``uname -m`` says it; microcontrollers by their instruction set.
    cores : int or None
        Those that inference may use; None: as many as the host has.
    clock_hz : Figure or None
    features : tuple of str
        As `edgecv_runtime.cpu.features` names them.
    source : str
        Where cores and features were published.
    macs_per_cycle : Mapping of str to Figure
        Multiply-accumulates of one core in a cycle, by precision, as it was seen to reach them on a whole network
        (`edgecv_export.latency` says how they are counted): no peak of a data sheet.
    """

    name: str
    architecture: str
    cores: int | None
    source: str
    clock_hz: Figure | None = None
    features: tuple[str, ...] = ()
    macs_per_cycle: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class BackendUse:
    """A back end of the runtime on this device.

    Attributes
    ----------
    name : str
        As `edgecv_runtime` knows it, or ``"tflite-micro"``.
    device : str
        What to pass as ``device``.
    delegate : str or None
        The library that takes the graph to an accelerator.
    options : Mapping
        What to set, for example execution providers.
    """

    name: str
    device: str = "CPU"
    delegate: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AcceleratorUse:
    """An accelerator as it sits in this device.

    Attributes
    ----------
    table : str or None
        Which operator table holds (`load_accelerator`); None where its maker publishes none that could be checked.
    name : str
    configuration : str or None
        What the compile tool calls it.
    memory_mode : str or None
        For Vela.
    system_config : str or None
        For Vela.
    peak_ops : Figure or None
        Operations a second at best, two for each multiply-accumulate, of the precision below.
    precision : str
        Of `peak_ops`.
    weight_bandwidth : Figure or None
        Bytes a second at which weights come from where they are stored.
    static_shapes : bool
        Whether every shape must be known beforehand.
    """

    name: str
    table: str | None
    source: str
    precision: str = "int8"
    configuration: str | None = None
    memory_mode: str | None = None
    system_config: str | None = None
    peak_ops: Figure | None = None
    weight_bandwidth: Figure | None = None
    static_shapes: bool = True


@dataclass(frozen=True)
class CompileTool:
    """What turns an artefact into the accelerator's own.

    Attributes
    ----------
    name : str
        The program's name on PATH.
    available : bool
        Whether a public package registry has it, so that edgecv runs it itself; otherwise the bundle is prepared
        for it and the command is run where it is found.
    install : str
    command : str
        With ``{model}`` and ``{output}`` to fill in.
    input_format : {"tflite", "onnx"}
    """

    name: str
    available: bool
    install: str
    command: str
    input_format: str
    source: str


@dataclass(frozen=True)
class PublishedLatency:
    """Somebody's measurement of one inference on this device.

    Attributes
    ----------
    model : str
        A registered model.
    precision : str
    milliseconds : float
    source : str
    where : {"cpu", "accelerator"}
    threads : int or None
    input_size : int
    note : str
    options : Mapping
        Of the model, for example ``alpha``.
    """

    model: str
    precision: str
    milliseconds: float
    source: str
    where: str = "cpu"
    threads: int | None = None
    input_size: int = 224
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A device.

    Attributes
    ----------
    id : str
        The file's name.
    name : str
    kind : {"board", "module", "accelerator", "pc", "phone", "microcontroller"}
    cpu : CPU
    memory_bytes : Figure or None
        Main memory; of several versions the smallest.
    memory_bandwidth : Figure or None
        Bytes a second.
    flash_bytes, sram_bytes : Figure or None
        Of a microcontroller.
    formats : tuple of str
        Formats worth exporting, the best first.
    precisions : tuple of str
        Precisions worth using, the best first.
    backends : tuple of BackendUse
        The best first.
    accelerator : AcceleratorUse or None
    tool : CompileTool or None
    install, start : str
        Commands for the device.
    sources : Mapping of str to str
        Title and address by key.
    not_published : tuple of str
        Fields for which no published figure was found.
    latencies : tuple of PublishedLatency
    notes : tuple of str
        What a user must know.
    """

    id: str
    name: str
    kind: str
    cpu: CPU
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    backends: tuple[BackendUse, ...]
    install: str
    start: str
    sources: Mapping[str, str]
    memory_bytes: Figure | None = None
    memory_bandwidth: Figure | None = None
    flash_bytes: Figure | None = None
    sram_bytes: Figure | None = None
    accelerator: AcceleratorUse | None = None
    tool: CompileTool | None = None
    not_published: tuple[str, ...] = ()
    latencies: tuple[PublishedLatency, ...] = ()
    notes: tuple[str, ...] = ()
