"""A whole Keras model from a file, written by Keras 3 or before."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import InputError, MissingFileError


def load_keras_file(path: str | Path) -> Any:
    """The whole model in a ``.keras`` or ``.h5`` file.

    Raises
    ------
    MissingFileError
        No such file.
    InputError
        It holds no whole model, or one with layers that Keras does not know.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no file at {path}")
    try:
        return _load(path)
    except Exception as error:  # Keras raises whatever its layers raise
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path.name} must hold a whole model that Keras 3 can read ({reason}); for weights alone, build the "
            "model by name and pass --weights"
        ) from error


def _load(path: Path) -> Any:
    import keras

    if path.suffix.lower() != ".h5":
        return keras.saving.load_model(path, compile=False)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(path, Path(folder, "model.h5")))
        copy.chmod(0o600)
        _modernise(copy)
        return keras.saving.load_model(copy, compile=False)


def _modernise(path: Path) -> None:
    """Keras 2 wrote the arguments of a convolution into its depthwise kin as well, which Keras 3 does not take."""
    import h5py

    with h5py.File(path, "r+") as file:
        if "model_config" not in file.attrs:
            raise ValueError("there is no model in it")
        file.attrs["model_config"] = json.dumps(_without_groups(json.loads(file.attrs["model_config"])))


def _without_groups(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_groups(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    cleaned = {key: _without_groups(value) for key, value in config.items()}
    inner = cleaned.get("config")
    if cleaned.get("class_name") == "DepthwiseConv2D" and isinstance(inner, dict) and inner.get("groups") == 1:
        del inner["groups"]
    return cleaned
