"""The ``edgecv`` command: one program on the device and on the workstation."""

from edgecv_runtime.cli.main import main

__all__ = ["main"]
