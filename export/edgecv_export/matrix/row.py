"""What is known of one model on one device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

COMPILED, READY, PREPARED, REFUSED, FAILED = "compiled", "ready", "prepared", "refused", "failed"


@dataclass(frozen=True)
class Row:
    """One model on one device.

    Attributes
    ----------
    model, target : str
    target_name, kind : str
        Of the device.
    status : {"compiled", "ready", "prepared", "refused", "failed"}
        Compiled: with the file of the device's compiler. Prepared: that compiler was not found here, or builds on the
        device. Refused: an error of ours says why. Failed: a tool went wrong.
    note : str
        The reason of a refusal or a failure, else what could not be done or checked.
    format, precision : str or None
    bundle : str or None
        Path below the matrix's folder.
    size : int or None
        Bytes of the file that runs on the device.
    on_accelerator, fallback_macs : float or None
        Shares, 0 to 1: of the operators on the accelerator, of the MACs off it. None where there is none, or where its
        maker publishes no operator table.
    milliseconds : float or None
        Of one inference, estimated.
    at_least : bool
        Whether it will take no less than that.
    basis : str
        What the estimate rests on.
    memory_bytes, memory_there : int or None
        Needed while it runs, and on the device.
    storage_bytes, storage_there : int or None
        Needed for the file, and on the device.
    fits : bool or None
        None where no figure of the device is published.
    metric : str
        What `accuracy` is, for people.
    accuracy, float_accuracy : float or None
        Of the portable artefact and of its float source, 0 to 1.
    images : int or None
        That they were measured on.
    """

    model: str
    target: str
    target_name: str
    kind: str
    status: str
    note: str = ""
    format: str | None = None
    precision: str | None = None
    bundle: str | None = None
    size: int | None = None
    on_accelerator: float | None = None
    fallback_macs: float | None = None
    milliseconds: float | None = None
    at_least: bool = False
    basis: str = ""
    memory_bytes: int | None = None
    memory_there: int | None = None
    storage_bytes: int | None = None
    storage_there: int | None = None
    fits: bool | None = None
    metric: str = ""
    accuracy: float | None = None
    float_accuracy: float | None = None
    images: int | None = None

    @property
    def made(self) -> bool:
        """Whether there is a bundle."""
        return self.bundle is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
