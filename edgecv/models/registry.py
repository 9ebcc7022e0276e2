"""The list of models: one record each, readable without importing Keras.

A family file (``mobilenet_v1.py``, ``efficientnet.py``, ...) decorates its builder with `register` and imports
Keras inside the builder, so that asking *which* models there are costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Resize

# Every family file of this folder; it is imported when the first record is asked for.
FAMILIES = (
    "alexnet",
    "amoebanet",
    "anchor_free",
    "autoencoder",
    "cifar_resnet",
    "deeplab",
    "densenet",
    "efficientnet",
    "efficientnet_lite",
    "fast_rcnn",
    "faster_rcnn",
    "fcn",
    "googlenet",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lenet",
    "mask_rcnn",
    "mobilefacenet",
    "mobilenet_embedder",
    "mobilenet_v1",
    "mobilenet_v2",
    "nasnet",
    "nin",
    "overfeat",
    "pnasnet",
    "polynet",
    "pose_heatmap",
    "pose_regression",
    "rcnn",
    "resnet",
    "resnext",
    "segnet",
    "senet",
    "signal_fcn",
    "ssd",
    "ssdlite",
    "style_transfer",
    "unet",
    "vgg",
    "voxnet",
    "xception",
    "yolo_anchor",
    "yolo_v1",
)

OptionValue = int | float | str
Builder = Callable[..., Any]
# (input shape, classes, options) -> the runtime decoder's name and its parameters, as they stand in a manifest.
DecoderRecipe = Callable[[tuple[int, ...], int, Mapping[str, Any]], tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Option:
    """One number (or word) that shapes a model; the command line is generated from it.

    Attributes
    ----------
    name : str
        The builder's keyword; ``--name`` on the command line.
    type : type
        ``int``, ``float`` or ``str``.
    default : int, float or str
    minimum, maximum : float or None
        Inclusive bounds; ``None`` means unbounded on that side.
    help : str
        One line, as a phrase.
    """

    name: str
    type: type
    default: OptionValue
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""

    @property
    def bounds(self) -> str:
        """The allowed range in words, ``"in [0.1, 2]"``; empty where there is none."""
        if self.minimum is not None and self.maximum is not None:
            return f"in [{self.minimum:g}, {self.maximum:g}]"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return f"at most {self.maximum:g}" if self.maximum is not None else ""

    def check(self, value: Any, model: str) -> OptionValue:
        """Return `value` in the option's type, or refuse it.

        Raises
        ------
        InputError
            Another type, not finite, or out of bounds.
        """
        if self.type is str:
            if not isinstance(value, str):
                raise InputError(f"{model}: {self.name} must be a string; received {value!r}")
            return value
        kinds = (int, float) if self.type is float else (int,)
        inside = (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )
        if not inside:
            kind = "a number" if self.type is float else "a whole number"
            wanted = " ".join(filter(None, (kind, self.bounds)))
            raise InputError(f"{model}: {self.name} must be {wanted}; received {value!r}")
        return float(value) if self.type is float else int(value)


@dataclass(frozen=True)
class Preprocessing:
    """What the model expects of a picture: ``(pixel - mean) / std`` after the resize rule.

    Attributes
    ----------
    mean, std : tuple of float, one per channel
        In pixel units 0..255. Mean 0 and std 1 mean that the normalisation is inside the model.
    color : {"RGB", "BGR", "GRAY"}
    resize : Resize
        The rule at the model's default input size.
    crop_padding : int or None
        For mode ``crop`` with a fraction that depends on the input size: size / (size + crop_padding).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: Literal["RGB", "BGR", "GRAY"] = "RGB"
    resize: Resize = field(default_factory=Resize)
    crop_padding: int | None = None

    @property
    def in_model(self) -> bool:
        """True where the model itself takes pixels 0..255."""
        return all(value == 0 for value in self.mean) and all(value == 1 for value in self.std)

    def resize_for(self, size: tuple[int, int]) -> Resize:
        """The resize rule at an input of (height, width) pixels."""
        if self.crop_padding is None:
            return self.resize
        shorter = min(size)
        return replace(self.resize, crop_fraction=shorter / (shorter + self.crop_padding))


@dataclass(frozen=True)
class Paper:
    """The publication that defines the model."""

    authors: str
    year: int
    title: str
    arxiv: str | None = None

    @property
    def citation(self) -> str:
        """One line: authors, year, title, arXiv number."""
        return f"{self.authors} ({self.year}), {self.title}" + (f", arXiv:{self.arxiv}" if self.arxiv else "")


@dataclass(frozen=True)
class OfficialWeights:
    """One published weight file.

    Attributes
    ----------
    address : str
        Where the publisher keeps it (https).
    file : str
        Its name, also in the cache folder.
    licence : str
    input_size : int
        Side of the training images, pixels.
    options : Mapping
        Option values the file was trained with; options not named do not change the weights' shapes.
    include_top : bool
        Whether the classifier is in the file.
    sha256, md5 : str or None
        As the publisher states them; None where he states none. Nothing is invented here.
    """

    address: str
    file: str
    licence: str
    input_size: int
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    include_top: bool = True
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Auxiliary:
    """Heads that a classifier has beside its own for training alone.

    Attributes
    ----------
    build : callable
        ``build(model)`` gives the outputs by name, tensors of the model's own graph: its answer as ``main``, and those
        of the heads.
    weight : float
        Of each head's loss.
    minimum_size : int
        Least height and width of an input that leaves the heads something, pixels; smaller ones learn without them.
    """

    build: Callable[[Any], Mapping[str, Any]]
    weight: float
    minimum_size: int


@dataclass(frozen=True)
class ModelRecord:
    """Everything that is known of a model without building it.

    Attributes
    ----------
    name : str
    task : str
        ``"classification"`` and so on: the bundle's task.
    summary : str
        One line for the list.
    paper : Paper
    input_shape : (height, width, channels)
        The default, with default options; (length, channels) of a signal, (depth, height, width, channels) of a volume.
    classes : int
        The default number of classes; 0 for a model that has none, such as an embedder.
    parameters : int
        Number of parameters, trainable or not, at all defaults.
    preprocessing : Preprocessing
    licence : str
        Of the official weights; of this code where there are none.
    options : tuple of Option
        Beside input shape and classes.
    weights : tuple of OfficialWeights
    weights_note : str
        Why ``weights="imagenet"`` is refused, where `weights` is empty.
    shipped_weights : Mapping
        Name for ``weights=`` to the file in ``edgecv/models/weights/`` that comes with the package.
    minimum_size : int
        Smallest height and width that the model's strides leave something of, pixels.
    macs : int or None
        Multiply-accumulates for one input, at all defaults; None where nobody has counted them yet.
    after_loading : callable or None
        ``after_loading(model)`` puts right what the official files are known to hold wrong.
    after_official : callable or None
        ``after_official(model)`` fits the files of ``weights="imagenet"`` to this network's input; other files are
        left as they are, since this network may have written them.
    decoder : callable or None
        ``decoder(input_shape, classes, options)`` gives the runtime decoder's name and its parameters for the model
        built so, as they stand in a bundle's manifest: plain JSON values, outputs named as the Keras layers that make
        them, for example ``("ssd", {"anchors": [...], "variances": [...], "outputs": {"boxes": "boxes", "scores":
        "scores"}})``. `options` are those of `check_options`. None where the task's own default decoder serves, as
        for classification and segmentation.
    auxiliary : Auxiliary or None
        Heads that `edgecv train` adds, and that are dropped afterwards.
    builder : callable
        ``builder(input_shape=None, classes=..., **options) -> keras.Model``, without ``classes`` where there are none;
        filled in by `register`.
    """

    name: str
    task: str
    summary: str
    paper: Paper
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    preprocessing: Preprocessing
    licence: str = "Apache-2.0"
    options: tuple[Option, ...] = ()
    weights: tuple[OfficialWeights, ...] = ()
    weights_note: str = ""
    shipped_weights: Mapping[str, str] = field(default_factory=dict)
    minimum_size: int = 32
    macs: int | None = None
    after_loading: Callable[[Any], None] | None = None
    after_official: Callable[[Any], None] | None = None
    decoder: DecoderRecipe | None = None
    auxiliary: Auxiliary | None = None
    builder: Builder | None = None

    @property
    def color(self) -> Literal["RGB", "BGR", "GRAY"]:
        """Colour order of the input."""
        return self.preprocessing.color

    def check_options(self, options: Mapping[str, Any]) -> dict[str, OptionValue]:
        """All options of the model, the given ones checked and the others at their defaults.

        Raises
        ------
        InputError
            An option the model does not have, or a value out of bounds.
        """
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise InputError(f"{self.name} has no option {name!r}: {has}")
        return {
            name: option.check(options[name], self.name) if name in options else option.default
            for name, option in known.items()
        }


_RECORDS: dict[str, ModelRecord] = {}


def register(record: ModelRecord) -> Callable[[Builder], Builder]:
    """Put a builder on the list under `record`.

    Examples
    --------
    >>> @register(ModelRecord(name="lenet5", ...))  # doctest: +SKIP
    ... def lenet5(input_shape=None, classes=10): ...
    """

    def decorate(builder: Builder) -> Builder:
        if record.name in _RECORDS:
            raise InputError(f"a model named {record.name!r} is registered already")
        _RECORDS[record.name] = replace(record, builder=builder)
        return builder

    return decorate


def records(task: str | None = None) -> tuple[ModelRecord, ...]:
    """Records of all models, or of one task, sorted by name.

    Raises
    ------
    InputError
        No model has that task.
    """
    for family in FAMILIES:
        importlib.import_module(f"edgecv.models.{family}")
    found = [_RECORDS[name] for name in sorted(_RECORDS)]
    if task is None:
        return tuple(found)
    tasks = sorted({record.task for record in found})
    if task not in tasks:
        raise InputError(f"task must be one of {', '.join(tasks)}; received {task!r}")
    return tuple(record for record in found if record.task == task)


def list_models(task: str | None = None) -> tuple[str, ...]:
    """Names of all models, or of one task, sorted. Imports no Keras.

    Parameters
    ----------
    task : str, optional
        For example ``"classification"``.

    Raises
    ------
    InputError
        No model has that task.

    Examples
    --------
    >>> "mobilenet_v2" in list_models()
    True
    """
    return tuple(record.name for record in records(task))


def get_record(name: str) -> ModelRecord:
    """The record of one model.

    Raises
    ------
    InputError
        No such model; the message lists the closest names.
    """
    known = {record.name: record for record in records()}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
    raise InputError(f"there is no model {name!r}: {hint}")
