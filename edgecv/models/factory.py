"""Build a model by name, with weights, and remember what it was built from."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.models.registry import ModelRecord, OptionValue, get_record
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

# What every builder takes beside its options; they do not come from a command line.
_STRUCTURE = ("include_top", "classifier_activation", "name")


@dataclass(frozen=True)
class Architecture:
    """What a model was built from: the manifest's ``architecture``.

    Attributes
    ----------
    record : ModelRecord
    options : Mapping
        Every option of the record, with the value used.
    classes : int
        As built; 0 for a model that has none.
    """

    record: ModelRecord
    options: Mapping[str, OptionValue]
    classes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """``{"name": "mobilenet_v2", "options": {"alpha": 1.0}}``."""
        return {"name": self.record.name, "options": dict(self.options)}


_ARCHITECTURES: weakref.WeakKeyDictionary[Any, Architecture] = weakref.WeakKeyDictionary()


def create_model(
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    weights: str | Path | None = None,
    **options: Any,
) -> keras.Model:
    """Build a model of the list.

    Parameters
    ----------
    name : str
        One of `list_models`.
    input_shape : (height, width, channels), optional
        Default: the record's.
    classes : int, optional
        Default: the record's. Refused for a model without classes.
    weights : None, "imagenet", a name or a path
        None: fresh weights. ``"imagenet"``: the official file, fetched once into the cache folder
        (``EDGECV_CACHE``, default ``~/.cache/edgecv``). A name of the record's ``shipped_weights``: a file that
        comes with the package. A path: a ``.weights.h5``, ``.h5`` or ``.keras`` file of the same architecture.
    **options
        The record's options (``alpha=0.25``, ``phi=2``), and ``include_top``, ``classifier_activation`` and
        ``name``, which every builder takes.

    Returns
    -------
    keras.Model
        A functional model from (N, height, width, channels) to (N, classes) probabilities, or whatever its task says.

    Raises
    ------
    InputError
        No such model or option; a value out of bounds; an input too small; weights that do not fit.
    MissingFileError
        The weight file does not exist, or cannot be fetched.

    Examples
    --------
    >>> model = create_model("mobilenet_v1", input_shape=(128, 128, 3), alpha=0.25)
    >>> model.output_shape
    (None, 1000)
    """
    record = get_record(name)
    structure = {key: options.pop(key) for key in _STRUCTURE if key in options}
    chosen = record.check_options(options)
    if record.builder is None:
        raise InputError(f"{name} has a record but no builder: decorate one with @register(record)")
    for key in structure:
        if key not in inspect.signature(record.builder).parameters:
            raise InputError(f"{name} has no argument {key!r}")
    include_top = bool(structure.get("include_top", True))
    if weights == "imagenet" and include_top and classes not in (None, record.classes):
        raise InputError(
            f"{name}: the official weights classify {record.classes} classes; received classes={classes}. "
            "Take include_top=False and add a classifier of your own"
        )
    counted = _classes(record, classes)
    model = record.builder(input_shape=input_shape, **counted, **chosen, **structure)
    if weights is not None:
        _load(model, weights, record, chosen, include_top)
    _ARCHITECTURES[model] = Architecture(record, chosen, counted.get("classes", 0))
    return model


def _classes(record: ModelRecord, classes: int | None) -> dict[str, int]:
    """The builder's number of classes; none for a model without classes."""
    if record.classes:
        return {"classes": record.classes if classes is None else classes}
    if classes is not None:
        raise InputError(f"{record.name} ends in no classes (task {record.task}); received classes={classes}")
    return {}


def _load(
    model: keras.Model, weights: str | Path, record: ModelRecord, options: Mapping[str, OptionValue], include_top: bool
) -> None:
    from edgecv.models.pretrained import load_weights, official_file, shipped_file

    if weights == "imagenet":
        path = official_file(record, options, model.input_shape[1:], include_top)
    elif isinstance(weights, str) and weights in record.shipped_weights:
        path = shipped_file(record, weights)
    else:
        path = Path(weights)
        if path.suffix == "" and not path.exists():
            names = [*(["imagenet"] if record.weights else []), *record.shipped_weights]
            known = f"{', '.join(map(repr, names))} or " if names else ""
            raise InputError(f"{record.name}: weights must be {known}a weight file; received {str(weights)!r}")
    load_weights(model, path, record)
    if weights == "imagenet" and record.after_official is not None:
        record.after_official(model)


def architecture_of(model: keras.Model) -> Architecture | None:
    """What `create_model` built this model object from; None for any other model, a clone or a reloaded one."""
    return _ARCHITECTURES.get(model)
