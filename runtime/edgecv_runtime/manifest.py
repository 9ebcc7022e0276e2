"""The manifest: everything a device must know to feed a model and to read its answer.

It is stored as ``manifest.json`` in the bundle and, without the member digests, inside the artefact itself,
so that a bare ``model.onnx`` still runs with the right preprocessing. Nothing is ever guessed from a file
name or an input size.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from edgecv_runtime.errors import BundleError, InputError, NewerFormatError, UnsupportedError

FORMAT_VERSION = 1

Format = Literal["tflite", "onnx", "openvino"]
Precision = Literal["fp32", "fp16", "dynamic", "int8", "int16x8", "mixed"]
ColorOrder = Literal["RGB", "BGR", "GRAY"]
Layout = Literal["NHWC", "NCHW", "NWC", "NDHWC"]
ResizeMode = Literal["stretch", "letterbox", "crop"]
Interpolation = Literal["nearest", "linear", "cubic", "area"]

FORMATS: tuple[str, ...] = get_args(Format)
PRECISIONS: tuple[str, ...] = get_args(Precision)
IMAGE_LAYOUTS = ("NHWC", "NCHW")
# Inputs that are no pictures, and what one of them is called.
ARRAY_LAYOUTS = {"NWC": "signal", "NDHWC": "volume"}
INTEGER_PRECISIONS = ("int8", "int16x8", "mixed")  # those whose activations are integers

# What a tensor may hold: numpy's names, without the aliases that differ from one platform to the next.
DTYPES = frozenset({
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
})  # fmt: skip


_MOST_DIMENSIONS = 32  # as numpy's least


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


def check_release(release: int) -> None:
    """Raise InputError where this is no release number: 1 to 2**53, the whole numbers that every JSON reader keeps."""
    _require(
        isinstance(release, int) and not isinstance(release, bool) and 1 <= release <= 2**53,
        f"a release must be a whole number from 1 to 2**53; received {release!r:.60}",
    )


@dataclass(frozen=True)
class Resize:
    """How a source image becomes the model's input size.

    Attributes
    ----------
    mode : {"stretch", "letterbox", "crop"}
        ``stretch`` ignores the aspect ratio. ``letterbox`` keeps it and pads with `pad_value`.
        ``crop`` keeps it and takes the centre: the region is `crop_fraction` of the largest centred
        rectangle with the input's aspect ratio (0.875 is the classic "resize to 256, crop 224").
    crop_fraction : float in (0, 1]
        Only for ``crop``.
    align : {"center", "top-left"}
        Where ``letterbox`` puts the picture.
    pad_value : int in [0, 255]
        Grey level of the ``letterbox`` border.
    interpolation : {"nearest", "linear", "cubic", "area"}
        As OpenCV names them.
    """

    mode: ResizeMode = "stretch"
    crop_fraction: float = 1.0
    align: Literal["center", "top-left"] = "center"
    pad_value: int = 114
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        _require(
            self.mode in get_args(ResizeMode),
            f"resize mode must be stretch, letterbox or crop; received {self.mode!r}",
        )
        _require(
            self.interpolation in get_args(Interpolation),
            f"interpolation must be one of {', '.join(get_args(Interpolation))}; received {self.interpolation!r}",
        )
        _require(self.align in ("center", "top-left"), f"align must be center or top-left; received {self.align!r}")
        _require(0 < self.crop_fraction <= 1, f"crop_fraction must be in (0, 1]; received {self.crop_fraction}")
        _require(
            self.mode == "crop" or self.crop_fraction == 1,
            f"crop_fraction applies to mode 'crop' only; received {self.crop_fraction} with mode {self.mode!r}",
        )
        _require(
            isinstance(self.pad_value, int) and 0 <= self.pad_value <= 255,
            f"pad_value must be an integer in [0, 255]; received {self.pad_value!r}",
        )


@dataclass(frozen=True)
class Normalization:
    """``(pixel - mean) / std`` per channel, in pixel units 0..255, in the input's own colour order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(
            len(self.mean) == len(self.std) and len(self.mean) > 0,
            f"mean and std must have one value per channel; received {len(self.mean)} and {len(self.std)}",
        )
        _require(all(map(math.isfinite, self.mean)), f"mean must be finite; received {self.mean}")
        _require(all(0 < value < math.inf for value in self.std), f"std must be positive; received {self.std}")


@dataclass(frozen=True)
class Quantization:
    """Affine quantization of a whole tensor: ``real = scale * (q - zero_point)`` (Jacob et al. 2018, eq. 1)."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        _require(0 < self.scale < math.inf, f"quantization scale must be positive; received {self.scale}")
        _require(
            -(2**31) <= self.zero_point < 2**31,
            f"quantization zero_point must fit 32 bits; received {self.zero_point}",
        )


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as the artefact names it. A dimension of ``None`` is dynamic."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    quantization: Quantization | None = None


@dataclass(frozen=True)
class InputSpec(TensorSpec):
    """An input: a tensor, and the road from a picture (or a signal, or a volume) to it.

    Attributes
    ----------
    layout : {"NHWC", "NCHW", "NWC", "NDHWC"}
        The latter two take arrays instead of pictures: (batch, length, channels) signals, and (batch, depth, height,
        width, channels) volumes or clips, whose depth is time.
    color : {"RGB", "BGR", "GRAY"}
        Of pictures alone, as `resize`.
    resize : Resize
    normalization : Normalization or None
        ``None`` means "in graph": the artefact takes pixels 0..255 (or an array's values) as they are.
    """

    layout: Layout = "NHWC"
    color: ColorOrder = "RGB"
    resize: Resize = field(default_factory=Resize)
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        _require(
            self.layout in get_args(Layout),
            f"layout must be one of {', '.join(get_args(Layout))}; received {self.layout!r}",
        )
        if self.is_image:
            self._check_image()
        else:
            self._check_array()
        if self.normalization is not None:
            _require(
                len(self.normalization.mean) == self.channels,
                f"normalization must have {self.channels} value(s), one per channel; "
                f"received {len(self.normalization.mean)}",
            )

    def _check_image(self) -> None:
        _require(self.color in ("RGB", "BGR", "GRAY"), f"color must be RGB, BGR or GRAY; received {self.color!r}")
        _require(len(self.shape) == 4, f"an image input must have 4 dimensions; received shape {self.shape}")
        height, width = self.size
        _require(
            isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0,
            f"an image input must have a fixed height and width; received shape {self.shape}",
        )
        wanted = 1 if self.color == "GRAY" else 3
        _require(
            self.channels == wanted,
            f"a {self.color} input must have {wanted} channel(s) in layout {self.layout}; received shape {self.shape}",
        )

    def _check_array(self) -> None:
        _require(
            len(self.shape) == len(self.layout) and None not in self.shape[1:],
            f"an input of layout {self.layout} must have {len(self.layout)} dimensions, fixed but for the batch; "
            f"received shape {self.shape}",
        )
        _require(
            (self.color, self.resize) == ("RGB", Resize()),
            f"color and resize are of pictures; an input of layout {self.layout} takes neither",
        )

    @property
    def is_image(self) -> bool:
        """Whether it is fed with pictures, and not with signals or volumes."""
        return self.layout in IMAGE_LAYOUTS

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels.

        Raises
        ------
        UnsupportedError
            It is no picture.
        """
        if not self.is_image:
            kind, shape = ARRAY_LAYOUTS[self.layout], self.shape[1:]
            raise UnsupportedError(f"this model takes no pictures: its input is a {kind}, an array of shape {shape}")
        height, width = self.shape[1:3] if self.layout == "NHWC" else self.shape[2:4]
        return height, width  # type: ignore[return-value]  # fixed: checked when made

    @property
    def channels(self) -> int | None:
        return self.shape[1] if self.layout == "NCHW" else self.shape[-1]

    @property
    def batch(self) -> int | None:
        """The fixed batch size, or None where the artefact takes any."""
        return self.shape[0]


@dataclass(frozen=True)
class DecoderSpec:
    """Which decoder reads the outputs, and its parameters: plain JSON values."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``, format version 1.

    Attributes
    ----------
    name : str
        The bundle's own name, for people.
    task : str
        ``"classification"`` and so on.
    architecture : Mapping
        ``{"name": "mobilenet_v2", "options": {"alpha": 1.0}}``, or ``{"name": "foreign"}`` for a wrapped model.
    format, precision : str
        One of `FORMATS` and `PRECISIONS`.
    target : str or None
        The device this artefact was made for.
    compiled_for : str or None
        The accelerator that alone can run this artefact, as its compiler names it; None where every CPU can.
    inputs : tuple of InputSpec
    outputs : tuple of TensorSpec
    decoder : DecoderSpec
    labels : tuple of str, or None
        Class names by class index.
    made_with : Mapping of str to str
        Versions and CPU features on which the artefact was made and proven.
    members : Mapping of str to str
        sha256 of every other member of the bundle, save the signature; empty in the copy inside the artefact.
    release : int in [1, 2**53], or None
        Grows with each bundle that is handed out for one purpose: `edgecv update` takes no lower one. A runtime that
        does not know the field reads the bundle all the same. Not in the copy inside the artefact.
    float_layers : tuple of str
        Of an integer artefact: the layers (of a wrapped ONNX graph: the nodes with weights) that compute in float all
        the same, since 8 bits would ruin them. A field that older runtimes do not know either.
    """

    name: str
    task: str
    architecture: Mapping[str, Any]
    format: str
    precision: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoder: DecoderSpec
    labels: tuple[str, ...] | None = None
    target: str | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    compiled_for: str | None = None
    release: int | None = None
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.release is not None:
            check_release(self.release)
        _require(self.format in FORMATS, f"format must be one of {', '.join(FORMATS)}; received {self.format!r}")
        _require(
            self.precision in PRECISIONS,
            f"precision must be one of {', '.join(PRECISIONS)}; received {self.precision!r}",
        )
        _require(
            len(self.inputs) > 0 and len(self.outputs) > 0,
            "a manifest must name at least one input and one output",
        )

    def described_precision(self, named: int = 3) -> str:
        """The precision, and what of an integer artefact is in float.

        Parameters
        ----------
        named : int
            Layers that are called by their names.

        Returns
        -------
        str
            ``"int8"``, or ``"int8, 2 layers in float: proposals, region_boxes"``.
        """
        count = len(self.float_layers)
        if not count:
            return self.precision
        names = ", ".join(self.float_layers[:named])
        rest = ", …" if count > named else ""
        return f"{self.precision}, {count} layer{'s' if count > 1 else ''} in float: {names}{rest}"

    @property
    def proven_on(self) -> str | None:
        """The CPU on which the artefact was compared with its source, as `cpu.describe` gives it."""
        return self.made_with.get("cpu") or None

    # -- to and from JSON ------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order a person wants to read them."""
        return {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            **({} if self.release is None else {"release": self.release}),
            "task": self.task,
            "architecture": dict(self.architecture),
            "format": self.format,
            "precision": self.precision,
            **({"float_layers": list(self.float_layers)} if self.float_layers else {}),
            "target": self.target,
            **({} if self.compiled_for is None else {"compiled_for": self.compiled_for}),
            "inputs": [_input_to_dict(spec) for spec in self.inputs],
            "outputs": [_tensor_to_dict(spec) for spec in self.outputs],
            "decoder": {"name": self.decoder.name, "parameters": dict(self.decoder.parameters)},
            "labels": None if self.labels is None else list(self.labels),
            "made_with": dict(self.made_with),
            "members": dict(self.members),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def embedded(self) -> Manifest:
        """The copy that goes inside the artefact, which knows neither its own digest nor its release."""
        return replace(self, members={}, release=None)

    def fingerprint(self) -> str:
        """sha256 of the embedded copy in canonical form: equal for equal models and preprocessing."""
        canonical = json.dumps(self.embedded().to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def identity(self, digests: Mapping[str, str]) -> str:
        """sha256 of what decides a model's numbers: its files, how pictures are fed to it and how it is read.

        Two bundles with one identity give the same vector for the same picture; name, labels and versions do not
        count, although a name that is written into the model's own file does.

        Parameters
        ----------
        digests : Mapping of str to str
            sha256 of the model's files by member name, as `members` has them.
        """
        data = self.to_dict()
        numbers = {key: data[key] for key in ("task", "inputs", "outputs", "decoder")}
        canonical = json.dumps({**numbers, "files": dict(digests)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | bytes, *, origin: str) -> Manifest:
        """Read a manifest.

        Parameters
        ----------
        text : str or bytes
            UTF-8 JSON.
        origin : str
            Where it came from, for the message.

        Raises
        ------
        NewerFormatError
            Its format version is newer than this runtime knows.
        BundleError
            It is not a valid manifest; the message names the field.
        """
        try:
            data = json.loads(text)
            # JSON may spell half of a surrogate pair, which nothing can print or hash.
            json.dumps(data, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{origin}: the manifest is not valid JSON ({error})") from None
        if not isinstance(data, dict):
            raise BundleError(f"{origin}: the manifest must be a JSON object; received {type(data).__name__}")
        version = data.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise BundleError(f"{origin}: format_version must be a positive integer; received {version!r:.60}")
        if version > FORMAT_VERSION:
            raise NewerFormatError(
                f"{origin} has format version {version!s:.20}; this runtime reads up to {FORMAT_VERSION}: "
                "pip install --upgrade edgecv-runtime"
            )
        try:
            return cls._from_dict(data)
        except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise BundleError(f"{origin}: the manifest is not valid: {reason:.200}") from None

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        labels = _typed(data, "labels", list, optional=True)
        return cls(
            name=_typed(data, "name", str),
            task=_typed(data, "task", str),
            architecture=_architecture(data),
            format=_typed(data, "format", str),
            precision=_typed(data, "precision", str),
            target=_typed(data, "target", str, optional=True),
            compiled_for=_typed(data, "compiled_for", str, optional=True),
            inputs=tuple(_input_from_dict(item) for item in _typed(data, "inputs", list)),
            outputs=tuple(TensorSpec(**_tensor_fields(item)) for item in _typed(data, "outputs", list)),
            decoder=DecoderSpec(
                name=_typed(data["decoder"], "name", str),
                parameters=_typed(data["decoder"], "parameters", dict),
            ),
            labels=None if labels is None else _strings(labels, "labels"),
            made_with=_string_mapping(_typed(data, "made_with", dict), "made_with"),
            members=_string_mapping(_typed(data, "members", dict), "members"),
            release=_typed(data, "release", int, optional=True),
            float_layers=_strings(_typed(data, "float_layers", list, optional=True) or [], "float_layers"),
        )


# -- fields, checked by name ---------------------------------------------------------------------------


def _typed(data: Mapping[str, Any], key: str, kind: type, *, optional: bool = False) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"an object holding {key!r} was required; received {type(data).__name__}")
    value = data.get(key) if optional else data[key]
    if value is None and optional:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{key} must be of type {kind.__name__}; received {value!r:.60}")
    return value


def _architecture(data: Mapping[str, Any]) -> dict[str, Any]:
    architecture: dict[str, Any] = _typed(data, "architecture", dict)
    _typed(architecture, "name", str)
    _typed(architecture, "options", dict, optional=True)
    return architecture


def _strings(values: list[Any], key: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise InputError(f"{key} must be a list of strings")
    return tuple(values)


def _string_mapping(data: Mapping[str, Any], key: str) -> dict[str, str]:
    if not all(isinstance(value, str) for value in data.values()):
        raise InputError(f"{key} must map names to strings")
    return dict(data)


def _dimension(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31):
        return value
    raise InputError(f"shape must hold positive integers or null; received {value!r:.60}")


def _quantization(data: Any) -> Quantization | None:
    if data is None:
        return None
    return Quantization(scale=_number(data["scale"], "scale"), zero_point=_typed(data, "zero_point", int))


def _number(value: Any, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key} must be a number; received {value!r:.60}")
    return float(value)


def _dtype(data: Mapping[str, Any]) -> str:
    dtype: str = _typed(data, "dtype", str)
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(sorted(DTYPES))}; received {dtype!r:.60}")
    return dtype


def _shape(data: Mapping[str, Any]) -> tuple[int | None, ...]:
    values = _typed(data, "shape", list)
    if len(values) > _MOST_DIMENSIONS:
        raise InputError(f"shape must have at most {_MOST_DIMENSIONS} dimensions; received {len(values)}")
    return tuple(_dimension(value) for value in values)


def _tensor_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _typed(data, "name", str),
        "shape": _shape(data),
        "dtype": _dtype(data),
        "quantization": _quantization(data.get("quantization")),
    }


def _input_from_dict(data: Mapping[str, Any]) -> InputSpec:
    normalization = data["normalization"]
    layout = _typed(data, "layout", str)
    of_pictures: dict[str, Any] = {}
    if layout not in ARRAY_LAYOUTS:
        of_pictures = {"color": _typed(data, "color", str), "resize": Resize(**_typed(data, "resize", dict))}
    return InputSpec(
        **_tensor_fields(data),
        layout=layout,
        **of_pictures,
        normalization=None
        if normalization == "in-graph"
        else Normalization(
            mean=tuple(_number(value, "mean") for value in _typed(normalization, "mean", list)),
            std=tuple(_number(value, "std") for value in _typed(normalization, "std", list)),
        ),
    )


def _tensor_to_dict(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "quantization": None if spec.quantization is None else asdict(spec.quantization),
    }


def _input_to_dict(spec: InputSpec) -> dict[str, Any]:
    normalization = spec.normalization
    return {
        **_tensor_to_dict(spec),
        "layout": spec.layout,
        **({"color": spec.color, "resize": asdict(spec.resize)} if spec.is_image else {}),
        "normalization": "in-graph"
        if normalization is None
        else {"mean": list(normalization.mean), "std": list(normalization.std)},
    }
