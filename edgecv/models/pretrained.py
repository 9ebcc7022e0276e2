"""Weights for a model: choose the official file, load any file, and say plainly what does not fit."""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.download import cache_folder, fetch
from edgecv.models.registry import ModelRecord, OfficialWeights, OptionValue
from edgecv_runtime.errors import InputError
from edgecv_runtime.files import existing_file

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger("edgecv")

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def choose_official(
    record: ModelRecord, options: Mapping[str, OptionValue], input_shape: tuple[int, ...], include_top: bool = True
) -> OfficialWeights:
    """The published file for these options.

    The networks are fully convolutional: where no file was trained at this input size, the one for the default
    size fits too and is taken, with a remark in the log.

    Parameters
    ----------
    record : ModelRecord
    options : Mapping
        All options of the model.
    input_shape : (height, width, channels)
    include_top : bool

    Raises
    ------
    InputError
        Nothing is published for this model or these options, or the input is not RGB.
    """
    if not record.weights:
        reason = f": {record.weights_note}" if record.weights_note else ""
        raise InputError(f"{record.name} has no official weights{reason}. Pass weights=FILE")
    height, width, channels = input_shape
    if channels != record.input_shape[2]:
        raise InputError(
            f"{record.name}: the official weights take {record.input_shape[2]} channels; received {channels}"
        )
    fitting = [
        weights
        for weights in record.weights
        if weights.include_top == include_top and all(options[key] == value for key, value in weights.options.items())
    ]
    if not fitting:
        keys = record.weights[0].options
        offered = ", ".join(f"{key} {sorted({weights.options[key] for weights in record.weights})}" for key in keys)
        wanted = ", ".join(f"{key} {options[key]}" for key in keys)
        raise InputError(f"{record.name}: official weights exist for {offered}; received {wanted}")
    exact = [weights for weights in fitting if height == width == weights.input_size]
    if exact:
        return exact[0]
    nearest = next(weights for weights in fitting if weights.input_size == record.input_shape[0])
    _LOG.warning(
        "%s: no official weights were trained at %dx%d; taking those of %dx%d",
        record.name,
        height,
        width,
        nearest.input_size,
        nearest.input_size,
    )
    return nearest


def official_file(
    record: ModelRecord, options: Mapping[str, OptionValue], input_shape: tuple[int, ...], include_top: bool = True
) -> Path:
    """Path of the official file in the cache folder, fetched if it is not there yet.

    Raises
    ------
    InputError
        Nothing is published for this model or these options, or what came is not the published file.
    MissingFileError
        It cannot be fetched; the message names the address and where to put the file by hand.
    """
    weights = choose_official(record, options, input_shape, include_top)
    path = fetch(weights.address, cache_folder() / weights.file, sha256=weights.sha256, md5=weights.md5)
    if weights.sha256 is None and weights.md5 is None:
        _LOG.info("%s: its publisher states no hash; its layers and shapes are checked instead", path.name)
    return path


def shipped_file(record: ModelRecord, name: str) -> Path:
    """Path of a weight file that comes with the package, by its name in the record."""
    return Path(__file__).with_name("weights") / record.shipped_weights[name]


def shipped_facts(record: ModelRecord, name: str) -> dict[str, Any]:
    """What the training script measured of the weights that come with the package: accuracies, settings, sha256."""
    text = shipped_file(record, name).with_name(f"{record.name}_{name}.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def load_weights(model: keras.Model, path: str | Path, record: ModelRecord | None = None) -> None:
    """Load a weight file into a model; every layer must fit.

    Parameters
    ----------
    model : keras.Model
    path : str or Path
        ``.weights.h5`` (Keras 3), ``.h5`` (Keras 1 and 2, weights or whole model) or ``.keras``. Only numbers
        are read: nothing in the file is executed.
    record : ModelRecord, optional
        Whose `after_loading` is to be applied.

    Raises
    ------
    MissingFileError
        No such file.
    InputError
        Another kind of file, a damaged one, or weights of another architecture.
    """
    path = Path(path)
    _check_kind(path)
    try:
        with warnings.catch_warnings():
            # Keras 3.15 says this of every file that an earlier Keras 3 wrote, and of containers that only
            # repeat the layers. A layer of the model that finds no weights in the file is an error all the same.
            warnings.filterwarnings("ignore", message="Skipping nested container at '_operations_by_depth/")
            model.load_weights(path)
    except (ValueError, KeyError, OSError, TypeError, AttributeError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} does not hold the weights of this {model.name}: {_reason(error)}") from None
    if record is not None and record.after_loading is not None:
        record.after_loading(model)


def _reason(error: Exception) -> str:
    """The telling line of a message of Keras, without the tensors it prints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    example = next((index for index, line in enumerate(lines) if line.startswith("A total of")), None)
    chosen = lines[example + 1] if example is not None and len(lines) > example + 1 else " ".join(lines[:1])
    return chosen.partition(" Target variable:")[0].rstrip(".") or type(error).__name__


def _check_kind(path: Path) -> None:
    """Refuse what Keras would read as something else, or not at all."""
    name = path.name.lower()
    if not name.endswith((".h5", ".keras")):
        raise InputError(f"weights must be a .weights.h5, .h5 or .keras file; received {path.name}")
    existing_file(path, "weights")
    if name.endswith(".keras"):
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path} is not a Keras file, or not all of one ({path.stat().st_size:,} bytes)")
        return
    with path.open("rb") as file:
        signature = file.read(len(_HDF5_SIGNATURE))
    if signature != _HDF5_SIGNATURE:
        raise InputError(f"{path} is not an HDF5 file ({path.stat().st_size:,} bytes)")
    legacy = _is_legacy(path)
    # Keras goes by the name: a wrong one ends in a message about something else.
    if legacy and name.endswith(".weights.h5"):
        raise InputError(f"{path} has the layout of Keras 1 and 2: rename it to {path.name[: -len('.weights.h5')]}.h5")
    if not legacy and not name.endswith(".weights.h5"):
        raise InputError(f"{path} has the layout of Keras 3: rename it to {path.stem}.weights.h5")


def _is_legacy(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "layer_names" in file.attrs or "model_weights" in file
    except OSError as error:
        raise InputError(f"{path} is a damaged HDF5 file: {' '.join(str(error).split())}") from None
