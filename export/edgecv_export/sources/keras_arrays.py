"""A Keras model of signals or volumes as the source of an export.

No pixel, no grid of 256 values: the artefact takes real values. The device normalises them, and where the artefact's
input is an integer (TFLite int8) quantizes them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.array_calibration import generated_arrays, load_arrays
from edgecv_export.calibration import CalibrationImages
from edgecv_export.formats.job import ARRAY_NAME, ArrayGrid
from edgecv_export.plan import Plan
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.sources.keras import IntegerBase, KerasSource, make_job
from edgecv_export.tasks.base import task_of
from edgecv_runtime.arrays import as_example, preprocessor_of
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import ARRAY_LAYOUTS, InputSpec, Layout, Normalization

_GENERATED = 16


@dataclass(frozen=True, eq=False)
class KerasArraySource(KerasSource):
    """A functional Keras model of one input (N, length, C) or (N, depth, height, width, C)."""

    @property
    def size(self) -> tuple[int, int]:
        return self.input_spec.size  # refuses: there is none

    @property
    def input_spec(self) -> InputSpec:
        """The float artefact's input: float32 values, batch 1, normalised by the device."""
        preprocessing = self.preprocessing
        return InputSpec(
            name=ARRAY_NAME,
            shape=(1, *self.model.inputs[0].shape[1:]),
            dtype="float32",
            layout=task_of(self.task).layout,
            normalization=None if preprocessing.in_model else Normalization(preprocessing.mean, preprocessing.std),
        )

    def read_calibration(self, given: Any) -> CalibrationImages:
        return load_arrays(given, self.input_spec)

    def generated(self) -> Sequence[npt.NDArray[Any]]:
        return generated_arrays(_GENERATED, self.input_spec)

    def pixels(self, images: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """(N, ...) float32: the arrays as they are, not normalised."""
        return np.stack([as_example(image, self.input_spec) for image in images])

    @property
    def trainable(self) -> bool:
        return False

    @cached_property
    def integer(self) -> IntegerBase:
        """What integer artefacts are made of; the grid of their input is that of the calibration arrays."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return IntegerBase(fold_batch_norms(self.logits[0]), ArrayGrid(1.0, 0, mean, std), mean, std)

    def convert(self, plan: Plan, pixels: npt.NDArray[Any], recipe: Recipe | None = None) -> Artefact:
        from edgecv_export.formats import exporter_of

        mean, std = self.preprocessing.mean, self.preprocessing.std
        base = replace(self.integer, grid=ArrayGrid.of(pixels, mean, std)) if plan.integer else None
        job = make_job(self, plan, pixels, recipe, base)
        return exporter_of(plan.format)(
            replace(job, normalize=lambda values: values, input_name=ARRAY_NAME, input_dtype="float32")
        )

    def tensors(self, artefact: Artefact, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        manifest = artefact.manifest()
        if manifest is None:
            raise BundleError("the artefact carries no manifest: embed it first")
        prepare = preprocessor_of(manifest.inputs[0])
        return np.concatenate([prepare(array)[0] for array in pixels])


def checked_preprocessing(shape: tuple[int | None, ...], preprocessing: Preprocessing, layout: Layout) -> Preprocessing:
    """The preprocessing with one mean and one std for each channel of an input of that shape.

    Raises
    ------
    InputError
        The input is not of the layout, or has another number of channels.
    """
    kind, values = ARRAY_LAYOUTS[layout], len(preprocessing.mean)
    if len(shape) != len(layout) or None in shape[1:] or values not in (1, shape[-1]):
        sizes = {"NWC": "length", "NDHWC": "depth, height, width"}[layout]
        channels = "channels" if values == 1 else values
        raise InputError(f"the input of a {kind} must be (N, {sizes}, {channels}); received {tuple(shape)}")
    times = int(shape[-1] or 1) // values
    return replace(preprocessing, mean=preprocessing.mean * times, std=preprocessing.std * times)
