"""Bring a bundle to a device over SSH: nothing changes there until it was seen to work."""

from edgecv_export.deploy.ssh import Host
from edgecv_export.deploy.steps import Deployed, deploy
from edgecv_export.deploy.wheel import runtime_wheel

__all__ = ["deploy", "Deployed", "Host", "runtime_wheel"]
