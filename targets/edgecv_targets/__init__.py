"""Devices as data: one TOML file each, the operator tables of their accelerators, and their reader.

Every figure stands beside the place where it was published; what nobody has published is left out.

Examples
--------
>>> from edgecv_targets import load_target
>>> load_target("pi-4").cpu.cores
4
"""

from edgecv_targets.accelerator import Accelerator, Rule, list_accelerators, load_accelerator
from edgecv_targets.reader import TargetError, list_targets, load_target
from edgecv_targets.target import CPU, AcceleratorUse, BackendUse, CompileTool, Figure, PublishedLatency, Target

__all__ = [
    "list_targets",
    "load_target",
    "Target",
    "CPU",
    "Figure",
    "BackendUse",
    "AcceleratorUse",
    "CompileTool",
    "PublishedLatency",
    "list_accelerators",
    "load_accelerator",
    "Accelerator",
    "Rule",
    "TargetError",
]
