"""Running for months under systemd: the unit, and the signs of life that it waits for."""

from __future__ import annotations

from edgecv_runtime.systemd.notify import Notifier, Watchdog
from edgecv_runtime.systemd.unit import Service

__all__ = ["Notifier", "Watchdog", "Service"]
