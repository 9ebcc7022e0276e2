"""How a float source's outputs are read: the runtime's decoder, chosen, checked, and run on the source itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Floats, task_names, task_of
from edgecv_runtime.arrays import preprocessor_of
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.decoders.base import decoder_class
from edgecv_runtime.decoders.parameters import Parameter
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import DecoderSpec, Manifest, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.sources.base import Source

Decoder: TypeAlias = DecoderSpec | tuple[str, Mapping[str, Any]]

# Decoders whose `activation` finishes one whole output, and that output's role (none: it is the only one). Others
# (YOLO's) finish parts of an output, or several: what such a model ends in stays in it.
_FINISHED_ROLE = {
    "classification": "scores",
    "signal-classification": "scores",
    "volume-classification": "scores",
    "segmentation": "",
    "heatmap-pose": "",
    "anomaly": "",
    "image": "",
    "ssd": "scores",
    "ultraface": "scores",
    "blazeface": "scores",
    "centernet-like": "heat",
    "localization": "classes",
}

_ANY_ACTIVATION = Parameter("none", "what the device still applies", choices=("none", "softmax", "sigmoid"))


def choose_decoder(
    task: str | None, decoder: Decoder | None, outputs: Sequence[TensorSpec], preprocessing: Preprocessing
) -> tuple[str, DecoderSpec]:
    """The task and the decoder, from what was given of the two.

    Parameters
    ----------
    task : str, optional
        Default: the decoder's, else classification.
    decoder : DecoderSpec or (name, parameters), optional
        Default: the task's usual one for such outputs.
    outputs : sequence of TensorSpec
    preprocessing : Preprocessing

    Raises
    ------
    InputError
        No such decoder, one of another task, or outputs that the task does not give.
    UnsupportedError
        The task is not exported.
    """
    if decoder is None:
        task = task or "classification"
        return task, task_of(task).usual_decoder(outputs, preprocessing)
    spec = decoder if isinstance(decoder, DecoderSpec) else DecoderSpec(decoder[0], dict(decoder[1]))
    try:
        found = decoder_class(spec.name).task
    except BundleError as error:
        raise InputError(str(error).replace("the manifest says", "received")) from None
    if task is not None and found != task and task in task_names():
        raise InputError(f"decoder {spec.name!r} reads {found} models; received task {task!r}")
    return task_of(task or found).name, spec


def split_outputs(decoder: DecoderSpec, outputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Whose last activation an integer artefact may leave to the device: output names, and the activations it knows.

    An output that the float model leaves to the device already has nothing to be split off.
    """
    role = _FINISHED_ROLE.get(decoder.name)
    if role is None:
        return {}
    known = getattr(decoder_class(decoder.name), "parameters_known", {}).get("activation", _ANY_ACTIVATION)
    if decoder.parameters.get("activation", known.default) != "none":
        return {}
    given = decoder.parameters.get("outputs")
    name = str(given.get(role, "")) if given else (outputs[0] if len(outputs) == 1 else "")
    return {name: tuple(choice for choice in known.choices if choice != "none")} if name in outputs else {}


def float_manifest(source: Source, labels: tuple[str, ...] | None = None) -> Manifest:
    """What a bundle of the float source itself would say; its format and precision mean nothing.

    Raises
    ------
    InputError
        The decoder cannot read these outputs, or the labels do not fit them.
    """
    manifest = Manifest(
        name="source",
        task=source.task,
        architecture=source.architecture,
        format="onnx",
        precision="fp32",
        inputs=(source.input_spec,),
        outputs=source.outputs,
        decoder=source.decoder,
        labels=labels,
    )
    try:
        make_decoder(manifest)
    except BundleError as error:
        raise InputError(str(error).replace("the manifest says", "received")) from None
    return manifest


class Reader:
    """Reads outputs of a picture as the device does.

    Parameters
    ----------
    manifest : Manifest
    parameters
        Of the decoder, in place of the manifest's.
    """

    def __init__(self, manifest: Manifest, **parameters: Any) -> None:
        spec = manifest.decoder
        changed = DecoderSpec(spec.name, {**spec.parameters, **parameters})
        self._decoder = make_decoder(replace(manifest, decoder=changed))
        self._preprocess = preprocessor_of(manifest.inputs[0])

    def pixels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """(1, H, W, C): the input tensor of a picture."""
        return self._preprocess(image)[0]

    def read(self, image: npt.NDArray[np.uint8], outputs: Sequence[Floats]) -> Any:
        """The result of a picture from a model's raw outputs for it, without the batch dimension."""
        tensor, geometry = self._preprocess(image)
        finished = self._decoder.activate([output[None] for output in outputs])
        return self._decoder.decode_seen([output[0] for output in finished], geometry, tensor[0])
